import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type Pack, pack } from 'tar-stream'
import { SeaportError } from '../../core/errors.js'
import type { BundleEntry } from './contents.js'

const FILE_MODE = 0o644
const EXECUTABLE_MODE = 0o755
const TYPES = { file: 'file', link: 'symlink', folder: 'directory' } as const
const BLOCK_BYTES = 512
/** The same files have to give the same archive, so nothing in it depends on when or by whom it was made. */
const NOBODYS = { mtime: new Date(0), uid: 0, gid: 0, uname: '', gname: '' }
const READ_BYTES = 256 * 1024

/** How an archive ends: two empty blocks. */
export const END_OF_ARCHIVE = Buffer.alloc(2 * BLOCK_BYTES)

/**
 * The bytes of one entry in a tar archive: its header, its content, and the padding of its last block.
 *
 * @throws STORAGE_FAILED if the file cannot be read, or its length has changed
 */
export async function* bytesOfEntry(root: string, entry: BundleEntry): AsyncGenerator<Buffer> {
  const archive = pack()
  const feeding = feed(archive, root, entry).catch((error) => archive.destroy(error))
  let last: Buffer | null = null
  try {
    for await (const bytes of archive as AsyncIterable<Buffer>) {
      if (last) yield last
      last = bytes
    }
  } catch (error) {
    throw SeaportError.STORAGE_FAILED(
      `${entry.path} cannot be read as it was: ${(error as Error).message}; push again`,
      error
    )
  }
  await feeding
  // Each entry is made as an archive of its own, whose end is dropped because the bundle has only one. It comes as one
  // piece.
  if (last?.byteLength !== END_OF_ARCHIVE.byteLength) throw new Error('an archive without an end')
}

async function feed(archive: Pack, root: string, entry: BundleEntry) {
  const { path, kind, size, isExecutable, target } = entry
  const header = {
    ...NOBODYS,
    name: path,
    type: TYPES[kind],
    mode: kind === 'folder' || isExecutable ? EXECUTABLE_MODE : FILE_MODE,
    size
  }
  if (kind === 'file' && size <= READ_BYTES) {
    // Most files are small, and to read them in one step is twice as quick.
    const content = await readFile(join(root, path))
    if (content.byteLength !== size) throw new Error('Size mismatch')
    archive.entry(header, content)
  } else {
    const sink = archive.entry(kind === 'link' ? { ...header, linkname: target } : header)
    if (kind === 'file') {
      await pipeline(createReadStream(join(root, path), { highWaterMark: READ_BYTES }), sink)
    }
  }
  archive.finalize()
}
