import { bytesOfEntry, END_OF_ARCHIVE } from './archive.js'
import { type ChunkEntry, encodeChunkList, MAX_CHUNK_BYTES } from './chunk.js'
import type { ChunkStore } from './chunk-store.js'
import { type BundleEntry, contentsOf, type LeftOut } from './contents.js'
import { groupsOf } from './groups.js'
import { platformsOf } from './native.js'
import type { PackMemory } from './pack-memory.js'

/** A packed folder. All its chunks are in the store. */
export interface Bundle {
  /** The hash of the list of chunks, which identifies the bundle. */
  list: string
  chunks: ChunkEntry[]
  /** The platforms that it runs on, as in `linux-x64`; null for all. */
  platforms: string[] | null
  leftOut: LeftOut[]
  files: number
  /** The size of its files in bytes. */
  size: number
}

export interface PackOptions {
  /** The store that the chunks are written to. */
  store: ChunkStore
  /** What earlier packing found, so that files which have not changed are not read again. */
  memory?: PackMemory | undefined
}

/**
 * Packs a folder. The same files give the same bundle on every machine and at any time, and one file more or less
 * changes few of its chunks. No more than about one chunk is in memory at a time.
 *
 * @throws BAD_BUNDLE if the folder is too large; DISK_FULL, STORAGE_FAILED
 */
export async function packFolder(root: string, { store, memory }: PackOptions): Promise<Bundle> {
  const { entries, natives, leftOut, size } = await contentsOf(root, memory, (entry, head) =>
    memory?.setHead(entry, head)
  )
  const chunks: ChunkEntry[] = []
  for (const group of groupsOf(entries)) {
    const known = memory?.chunksOf(group)
    if (known && (await store.missing(known)).length === 0) {
      chunks.push(...known)
      continue
    }
    const made = await write(store, cut(bytesOf(root, group)))
    memory?.setChunks(group, made)
    chunks.push(...made)
  }
  chunks.push(...(await write(store, [END_OF_ARCHIVE])))
  const list = await store.write(encodeChunkList(chunks))
  await memory?.save()
  return { list, chunks, platforms: platformsOf(natives), leftOut, files: entries.length, size }
}

async function write(
  store: ChunkStore,
  pieces: AsyncIterable<Buffer> | Iterable<Buffer>
): Promise<ChunkEntry[]> {
  const entries: ChunkEntry[] = []
  for await (const piece of pieces) {
    entries.push({ hash: await store.write(piece), size: piece.byteLength })
  }
  return entries
}

async function* bytesOf(root: string, group: readonly BundleEntry[]): AsyncGenerator<Buffer> {
  for (const entry of group) yield* bytesOfEntry(root, entry)
}

/** Cuts bytes into pieces of the largest size of a chunk. The last piece may be smaller. */
async function* cut(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const piece = Buffer.allocUnsafe(MAX_CHUNK_BYTES)
  let filled = 0
  for await (const bytes of source) {
    for (let at = 0; at < bytes.byteLength; ) {
      const copied = bytes.copy(piece, filled, at)
      at += copied
      filled += copied
      if (filled < MAX_CHUNK_BYTES) continue
      yield piece
      filled = 0
    }
  }
  if (filled > 0) yield piece.subarray(0, filled)
}
