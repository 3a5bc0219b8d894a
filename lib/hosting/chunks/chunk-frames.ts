import { SeaportError } from '../../core/errors.js'
import { LENGTH_BYTES } from '../../messaging/frames.js'
import { MAX_CHUNK_BYTES } from '../bundle/chunk.js'

/**
 * The frames of a stream for chunks of bundles, `hyperseaport/chunks/1`. Both sides may ask and answer, whoever has
 * opened it, so that a host can ask a deployer that cannot be called.
 *
 *     who asks                              who answers
 *       ── want (id, list, hash) ────────────▶   at once, or when it has it
 *       ◀──────────────────────────── progress ──   while it waits itself and something comes
 *       ◀──────────────────────── chunk (id) ──   or: no (id, code, text)
 *       ── cancel (id) ──────────────────────▶   it was had elsewhere
 *
 * A frame is a length (4 bytes, little-endian), a type and a body. Frames of unknown types are ignored.
 */
export const CHUNKS = 'hyperseaport/chunks/1'

export type ChunkFrame =
  | { type: typeof WANT; id: number; list: string; hash: string }
  | { type: typeof CHUNK; id: number; bytes: Buffer }
  | { type: typeof NO; id: number; code: string; text: string }
  | { type: typeof PROGRESS }
  | { type: typeof CANCEL; id: number }

export const WANT = 1
export const CHUNK = 2
export const NO = 3
export const PROGRESS = 4
export const CANCEL = 5

const ID_BYTES = 4
const HASH_BYTES = 32
const MAX_CODE = 40
const MAX_TEXT = 400
/** The largest frame: a type, and a chunk with the number of its question. */
export const MAX_FRAME_BYTES = 1 + ID_BYTES + MAX_CHUNK_BYTES

/** Encodes a frame as pieces to be written one after the other, so that the chunk is not copied. */
export function encodeChunkFrame(frame: ChunkFrame): Buffer[] {
  if (frame.type === PROGRESS) return [head(PROGRESS, 0)]
  const id = Buffer.alloc(ID_BYTES)
  id.writeUInt32LE(frame.id)
  const rest = restOf(frame)
  return [head(frame.type, ID_BYTES + rest.byteLength), id, rest].filter(
    ({ byteLength }) => byteLength > 0
  )
}

/**
 * Reads a frame without its length.
 *
 * @returns null if its type is unknown
 * @throws BAD_MESSAGE
 */
export function decodeChunkFrame(bytes: Buffer): ChunkFrame | null {
  const type = bytes[0]
  if (type === PROGRESS) {
    if (bytes.byteLength > 1) throw broken()
    return { type }
  }
  if (type !== WANT && type !== CHUNK && type !== NO && type !== CANCEL) return null
  if (bytes.byteLength < 1 + ID_BYTES) throw broken()
  const id = bytes.readUInt32LE(1)
  const rest = bytes.subarray(1 + ID_BYTES)
  if (type === CHUNK) return { type, id, bytes: rest }
  if (type === CANCEL && rest.byteLength === 0) return { type, id }
  if (type === NO) {
    const [code = '', text = ''] = rest.toString('utf8', 0, MAX_CODE + MAX_TEXT).split('\n', 2)
    return { type, id, code: code.slice(0, MAX_CODE), text }
  }
  if (type !== WANT || rest.byteLength !== 2 * HASH_BYTES) throw broken()
  const [list, hash] = [rest.toString('hex', 0, HASH_BYTES), rest.toString('hex', HASH_BYTES)]
  return { type, id, list, hash }
}

function restOf(frame: Exclude<ChunkFrame, { type: typeof PROGRESS }>): Buffer {
  switch (frame.type) {
    case WANT:
      return Buffer.from(frame.list + frame.hash, 'hex')
    case CHUNK:
      return frame.bytes
    case NO:
      return Buffer.from(`${frame.code}\n${frame.text.slice(0, MAX_TEXT)}`)
    case CANCEL:
      return Buffer.alloc(0)
  }
}

function head(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES + 1)
  bytes.writeUInt32LE(1 + length)
  bytes[LENGTH_BYTES] = type
  return bytes
}

function broken(): SeaportError {
  return SeaportError.BAD_MESSAGE('a frame about chunks that cannot be read')
}
