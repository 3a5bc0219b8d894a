/** The head of a frame: all of it but its data. */
export type WireHead = Record<string, unknown> & { t: string }

const HEAD_LENGTH_BYTES = 2

/** Encodes a frame as JSON. With bytes it is binary: the length of the JSON in two bytes, the JSON, and the bytes. */
export function encodeFrame(head: WireHead, data?: unknown): string | Uint8Array {
  if (!(data instanceof Uint8Array) && !(data instanceof ArrayBuffer)) {
    return JSON.stringify({ ...head, data })
  }
  const body = new Uint8Array(data as ArrayBuffer)
  const text = new TextEncoder().encode(JSON.stringify(head))
  const frame = new Uint8Array(HEAD_LENGTH_BYTES + text.byteLength + body.byteLength)
  new DataView(frame.buffer).setUint16(0, text.byteLength)
  frame.set(text, HEAD_LENGTH_BYTES)
  frame.set(body, HEAD_LENGTH_BYTES + text.byteLength)
  return frame
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
