import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import {
  chmod,
  lchown,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  symlink,
  writeFile
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { extract } from 'tar-stream'
import { SeaportError } from '../../core/errors.js'
import { MAX_BUNDLE_BYTES } from './chunk.js'
import { EntryTable } from './entry-table.js'

const run = promisify(execFile)

const FOLDER_MODE = 0o755
const FILE_MODE = 0o644
const EXECUTABLE_MODE = 0o755
const EXECUTABLE = 0o111
const READABLE = 0o444
/** Files up to this size are written in one step, which is four times as quick for the many small ones. */
const SMALL_BYTES = 256 * 1024
const WRITABLE = 0o222
/** The owner's mode bits of a folder. */
const OWNERS = 0o700
/** What a file system gives out at a time, in bytes: a small file takes that much. */
const BLOCK_BYTES = 4096
/** For how much more than the next file there has to be room, in bytes, so that not each of many small ones is asked for. */
const AHEAD_BYTES = 64 * BLOCK_BYTES

/** Makes sure that this many bytes can be written; throws DISK_FULL if not. */
export type CheckRoom = (bytes: number) => Promise<void>

/**
 * Unpacks a bundle that came from others. Afterwards the folder has all of it, or does not exist, and nothing was
 * written elsewhere. Everybody may read it. `seal` removes the owner's right to write.
 *
 * @param source the bytes of the archive
 * @param folder must not exist yet
 * @param checkRoom is asked again and again, since others write to the disk meanwhile
 * @throws BAD_BUNDLE, and what the source throws; DISK_FULL, STORAGE_FAILED
 */
export async function unpack(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  folder: string,
  checkRoom: CheckRoom = async () => {}
) {
  const partial = `${folder}.${process.pid}.part`
  try {
    // A process that was killed may have had the same pid, as in a container.
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { recursive: true, mode: FOLDER_MODE })
    await unpackInto(source, partial, checkRoom)
    await flushFolder(partial)
    await rename(partial, folder)
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => {})
    throw failure(error)
  }
}

/**
 * Has all that is in a folder written to the disk, so that a power cut does not leave files empty that count as whole.
 * The system is asked once for all of them: for 10 000 small files one by one takes 10 s, where that takes 50 ms.
 *
 * @throws STORAGE_FAILED, DISK_FULL
 */
export async function flushFolder(folder: string) {
  try {
    await run('sync', ['-f', folder]).catch(() => flushEach(folder))
  } catch (error) {
    throw failure(error)
  }
}

/**
 * Removes the right to write to a folder and to everything in it. What its owner could read or run, all can.
 *
 * @throws STORAGE_FAILED
 */
export async function seal(folder: string) {
  await changeModes(folder, (mode) => {
    const owners = mode & (READABLE | EXECUTABLE) & OWNERS
    return (mode & ~WRITABLE) | owners | (owners >> 3) | (owners >> 6)
  })
}

/**
 * Gives a folder and everything in it to a user. Links are given themselves, and not what they lead to.
 *
 * @throws STORAGE_FAILED
 */
export async function giveTo(uid: number, folder: string) {
  try {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      await lchown(join(entry.parentPath, entry.name), uid, uid)
    }
    await lchown(folder, uid, uid)
  } catch (error) {
    throw failure(error)
  }
}

/** Removes a folder that may be sealed. */
export async function removeSealed(folder: string) {
  await changeModes(folder, (mode, isFolder) => (isFolder ? mode | OWNERS : mode)).catch(() => {})
  await rm(folder, { recursive: true, force: true })
}

async function unpackInto(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  folder: string,
  checkRoom: CheckRoom
) {
  let room = 0
  const table = new EntryTable(MAX_BUNDLE_BYTES)
  const links: { path: string; target: string }[] = []
  const made = new Set([folder])
  const archive = extract()
  const feeding = feed(source, archive)
  feeding.catch((error) => archive.destroy(error))
  for await (const entry of archive) {
    const { header } = entry
    const { path, kind } = table.add(header)
    const taken = (1 + Math.ceil(header.size / BLOCK_BYTES)) * BLOCK_BYTES
    if (taken > room) {
      await checkRoom(taken + AHEAD_BYTES)
      room = taken + AHEAD_BYTES
    }
    room -= taken
    // Links come last: until then nothing can be written through one.
    if (kind === 'link') links.push({ path, target: header.linkname })
    await makeFolder(folder, kind === 'folder' ? path : dirname(path), made)
    const mode = (header.mode & EXECUTABLE) !== 0 ? EXECUTABLE_MODE : FILE_MODE
    const content = entry as unknown as Readable
    if (kind === 'file') {
      await writeNew(join(folder, path), content, header.size)
      // The mode is set explicitly, because the umask of this process must not change it.
      await chmod(join(folder, path), mode)
    } else content.resume()
  }
  await feeding
  for (const { path, target } of links) await symlink(target, join(folder, path))
}

async function writeNew(path: string, content: Readable, size: number) {
  if (size > SMALL_BYTES) {
    return await pipeline(content, createWriteStream(path, { flags: 'wx' }))
  }
  const pieces: Buffer[] = []
  for await (const piece of content) pieces.push(piece)
  await writeFile(path, Buffer.concat(pieces), { flag: 'wx' })
}

async function feed(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  archive: ReturnType<typeof extract>
) {
  for await (const bytes of source) {
    if (archive.destroyed) return
    if (!archive.write(Buffer.from(bytes))) await drained(archive)
  }
  archive.end(undefined)
}

/** Resolves when the archive takes more, or has ended. */
async function drained(archive: ReturnType<typeof extract>) {
  const settled = new AbortController()
  const { signal } = settled
  const emitter = archive as unknown as NodeJS.EventEmitter
  await Promise.race([
    once(emitter, 'drain', { signal }),
    once(emitter, 'close', { signal })
  ]).catch(() => {})
  settled.abort()
}

async function flushEach(folder: string) {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const isMeant = entry.isFile() || entry.isDirectory()
    if (isMeant) await flush(join(entry.parentPath, entry.name))
  }
  await flush(folder)
}

async function flush(path: string) {
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    // What setup made so that nobody may read it is nothing that an app could miss.
    if (error.code !== 'EACCES') throw error
  })
  if (!file) return
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

async function makeFolder(root: string, path: string, made: Set<string>) {
  const full = join(root, path)
  if (made.has(full)) return
  await makeFolder(root, dirname(path), made)
  await mkdir(full, { mode: FOLDER_MODE })
  await chmod(full, FOLDER_MODE)
  made.add(full)
}

async function changeModes(
  path: string,
  change: (mode: number, isFolder: boolean) => number
): Promise<void> {
  try {
    const stat = await lstat(path)
    if (stat.isSymbolicLink()) return
    if (!stat.isDirectory()) return await chmod(path, change(stat.mode, false))
    await chmod(path, stat.mode | OWNERS)
    for (const name of await readdir(path)) await changeModes(join(path, name), change)
    await chmod(path, change(stat.mode, true))
  } catch (error) {
    throw failure(error)
  }
}

function failure(error: unknown): SeaportError {
  if (error instanceof SeaportError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return SeaportError.DISK_FULL(`the disk has no room for the bundle (${code})`)
  }
  if (code !== undefined) {
    return SeaportError.STORAGE_FAILED(`a bundle cannot be unpacked: ${message}`, error)
  }
  // An error without a code comes from the archive itself: a header that cannot be read, or an end that comes too
  // early.
  return SeaportError.BAD_BUNDLE(`the bundle is no archive that can be read: ${message}`, error)
}
