import { ChannelError } from './channel-error.js'

/** The head of a frame: all of it but its data. `t` is what kind of frame it is. */
export type WireHead = Record<string, unknown> & { t: string }

const HEAD_LENGTH_BYTES = 2
/** What a gateway takes. It would end the connection because of a larger one, whenever that is sent. */
const MAX_DATA_BYTES = 1024 * 1024
const MAX_HEAD_BYTES = 64 * 1024 - 1
/** In UTF-8, of each unit that the length of a text counts. */
const MAX_BYTES_OF_CHARACTER = 3

/**
 * Encodes a frame as JSON. With bytes it is binary: the length of the JSON in two bytes, the JSON, and the bytes.
 *
 * @throws ChannelError: TOO_LARGE
 */
export function encodeFrame(head: WireHead, data?: unknown): string | Uint8Array {
  if (!(data instanceof Uint8Array) && !(data instanceof ArrayBuffer)) {
    const text = JSON.stringify({ ...head, data })
    // A text that is short enough, whatever characters it has, is not encoded only to count its bytes.
    if (text.length * MAX_BYTES_OF_CHARACTER > MAX_HEAD_BYTES) {
      encodeWithin(MAX_DATA_BYTES, JSON.stringify(data))
      encodeWithin(MAX_HEAD_BYTES, JSON.stringify(head))
    }
    return text
  }
  const body = new Uint8Array(data as ArrayBuffer)
  checkSize(MAX_DATA_BYTES, body)
  const text = encodeWithin(MAX_HEAD_BYTES, JSON.stringify(head))
  const frame = new Uint8Array(HEAD_LENGTH_BYTES + text.byteLength + body.byteLength)
  new DataView(frame.buffer).setUint16(0, text.byteLength)
  frame.set(text, HEAD_LENGTH_BYTES)
  frame.set(body, HEAD_LENGTH_BYTES + text.byteLength)
  return frame
}

function encodeWithin(limit: number, text: string | undefined): Uint8Array {
  return checkSize(limit, new TextEncoder().encode(text))
}

function checkSize(limit: number, bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength <= limit) return bytes
  throw new ChannelError(
    'TOO_LARGE',
    `this has ${bytes.byteLength} bytes, at most ${limit} are allowed`
  )
}

/** Reads a frame, and puts its data into the head as `data`. Returns null if it cannot be read. */
export function decodeFrame(frame: string | ArrayBuffer): WireHead | null {
  try {
    if (typeof frame === 'string') return JSON.parse(frame)
    const end = HEAD_LENGTH_BYTES + new DataView(frame).getUint16(0)
    const head = JSON.parse(new TextDecoder().decode(frame.slice(HEAD_LENGTH_BYTES, end)))
    return { ...head, data: new Uint8Array(frame, end) }
  } catch {
    return null
  }
}
