import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'

/** A piece of a bundle. It is known by its BLAKE2b-256 hash. */
export interface ChunkEntry {
  /** Hex. */
  hash: string
  size: number
}

export const MAX_CHUNK_BYTES = 2 ** 20
/** The largest bundle in bytes, with what the archive adds to its files. */
export const MAX_BUNDLE_BYTES = 4 * 2 ** 30

const VERSION = 1
const HASH_BYTES = 32
const ENTRY_BYTES = HASH_BYTES + 4
/** How many chunks a list may have so that it is not larger than a chunk itself. */
export const MAX_CHUNKS = Math.floor((MAX_CHUNK_BYTES - 1) / ENTRY_BYTES)

/** Hex. */
export function hashOf(chunk: Uint8Array): string {
  return crypto.hash(chunk).toString('hex')
}

/** Whether a text is a hash, as `hashOf` writes it. */
export function isHash(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{64}$/.test(text)
}

/**
 * The list of a bundle's chunks, as bytes: a version, then hash and size of each. The list is a chunk itself, so it is
 * stored, fetched and checked as the others are, and its hash stands for the bundle.
 *
 * @throws BAD_BUNDLE if there are too many
 */
export function encodeChunkList(entries: readonly ChunkEntry[]): Buffer {
  if (entries.length > MAX_CHUNKS) {
    throw SeaportError.BAD_BUNDLE(
      `the bundle has ${entries.length} chunks, and ${MAX_CHUNKS} may be: leave out what the app does not need`
    )
  }
  const list = Buffer.allocUnsafe(1 + entries.length * ENTRY_BYTES)
  list[0] = VERSION
  for (const [i, { hash, size }] of entries.entries()) {
    const at = 1 + i * ENTRY_BYTES
    list.write(hash, at, 'hex')
    list.writeUInt32BE(size, at + HASH_BYTES)
  }
  return list
}

/** @throws BAD_BUNDLE if it is not such a list, or its chunks are larger than chunks and bundles may be */
export function decodeChunkList(list: Buffer): ChunkEntry[] {
  const length = (list.byteLength - 1) / ENTRY_BYTES
  if (list[0] !== VERSION || !Number.isInteger(length) || length > MAX_CHUNKS) {
    throw SeaportError.BAD_BUNDLE('this is no list of chunks')
  }
  const entries = Array.from({ length }, (_, i) => {
    const at = 1 + i * ENTRY_BYTES
    return {
      hash: list.toString('hex', at, at + HASH_BYTES),
      size: list.readUInt32BE(at + HASH_BYTES)
    }
  })
  if (entries.some(({ size }) => size === 0 || size > MAX_CHUNK_BYTES)) {
    throw SeaportError.BAD_BUNDLE(`a chunk has from 1 to ${MAX_CHUNK_BYTES} bytes`)
  }
  const size = sizeOf(entries)
  if (size > MAX_BUNDLE_BYTES) {
    throw SeaportError.BAD_BUNDLE(
      `a bundle has ${size} bytes, at most ${MAX_BUNDLE_BYTES} are allowed`
    )
  }
  return entries
}

/** The size of all chunks in bytes. A chunk that is listed twice counts twice. */
export function sizeOf(entries: readonly ChunkEntry[]): number {
  return entries.reduce((sum, { size }) => sum + size, 0)
}
