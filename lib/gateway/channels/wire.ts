import { SeaportError } from '../../core/errors.js'
import { type Body, checkDepth, MAX_DEPTH, NO_BODY } from '../../messaging/body.js'
import { MAX_MESSAGE_BYTES } from '../../messaging/clients/channel-frames.js'

/** A message as the bytes of a WebSocket frame, which can be sent to many: a server does not mask its frames. */
export type WireMessage = Buffer

/** A frame of a page. */
export interface WireFrame {
  head: Record<string, unknown> & { t: string }
  /** Its data, as it came. */
  body: Body
  /** Why its data is not taken. It has none then. */
  fault?: SeaportError
}

/** Codes with which a page's connection is closed. */
export const CLOSE = {
  /** The gateway leaves. */
  LEAVING: 4001,
  /** The page broke the protocol. */
  PROTOCOL: 4002,
  /** The target is unknown, or the page may not go there. The page is not told which. */
  REFUSED: 4003,
  /** The page did not read. It comes back, and gets what it missed. */
  UNREAD: 4008,
  /** No instance is there, or there are too many pages. */
  TRY_LATER: 4013
} as const

export const SUBPROTOCOL = 'hyperseaport.channel.1'
const HEAD_LENGTH_BYTES = 2
const MAX_HEAD_BYTES = 64 * 1024 - 1
/** The largest frame with a message, its head included. */
export const MAX_WIRE_BYTES = MAX_MESSAGE_BYTES + MAX_HEAD_BYTES + HEAD_LENGTH_BYTES

/**
 * Encodes a frame: as JSON with its data in `data`, or for bytes the length of the JSON in two bytes, the JSON, and the
 * bytes.
 */
export function encodeWire(head: object, body: Body = NO_BODY): WireMessage {
  const text = JSON.stringify(head)
  if (body.kind === 'none') return webSocketFrame(TEXT, [Buffer.from(text)])
  if (body.kind === 'json') {
    const start = Buffer.from(`${text.slice(0, -1)},"data":`)
    return webSocketFrame(TEXT, [start, body.bytes, CLOSING])
  }
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(HEAD_LENGTH_BYTES)
  length.writeUInt16BE(bytes.byteLength)
  return webSocketFrame(BINARY, [length, bytes, body.bytes])
}

const CLOSING = Buffer.from('}')
/** Opcodes of a whole message (RFC 6455, 5.2). */
const TEXT = 0x81
const BINARY = 0x82
const MAX_SHORT = 125
const MAX_OF_TWO_BYTES = 0xffff

function webSocketFrame(opcode: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const header = Buffer.alloc(length <= MAX_SHORT ? 2 : length <= MAX_OF_TWO_BYTES ? 4 : 10)
  header[0] = opcode
  header[1] = length <= MAX_SHORT ? length : length <= MAX_OF_TWO_BYTES ? 126 : 127
  if (header.byteLength === 4) header.writeUInt16BE(length, 2)
  else if (header.byteLength === 10) header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, ...parts])
}

/**
 * Reads a frame. What is wrong with its data is part of the result, so that the page can be told which of its messages
 * it was; a page that is merely cut would come back and say the same again.
 *
 * @throws BAD_MESSAGE
 */
export function decodeWire(bytes: Buffer, isBinary: boolean): WireFrame {
  if (isBinary) return decodeBinary(bytes)
  const { data, ...head } = parseHead(bytes)
  return frameOf(head as WireFrame['head'], () => {
    checkDepth(bytes, MAX_DEPTH + 1)
    return data === undefined ? NO_BODY : { kind: 'json', bytes: Buffer.from(JSON.stringify(data)) }
  })
}

function decodeBinary(bytes: Buffer): WireFrame {
  const start = HEAD_LENGTH_BYTES
  const end = bytes.byteLength < start ? Infinity : start + bytes.readUInt16BE(0)
  if (end > bytes.byteLength) throw SeaportError.BAD_MESSAGE('bytes without a whole head')
  const head = bytes.subarray(start, end)
  return frameOf(parseHead(head), () => {
    checkDepth(head)
    return { kind: 'bytes', bytes: bytes.subarray(end) }
  })
}

function frameOf(head: WireFrame['head'], readBody: () => Body): WireFrame {
  try {
    const body = readBody()
    if (body.bytes.byteLength <= MAX_MESSAGE_BYTES) return { head, body }
    throw SeaportError.TOO_LARGE(`a message has at most ${MAX_MESSAGE_BYTES} bytes`)
  } catch (error) {
    return { head, body: NO_BODY, fault: error as SeaportError }
  }
}

function parseHead(bytes: Buffer): WireFrame['head'] {
  let head: unknown
  try {
    head = JSON.parse(bytes.toString())
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('what is no JSON', cause)
  }
  const { t } = (head ?? {}) as { t?: unknown }
  if (typeof t !== 'string') throw SeaportError.BAD_MESSAGE('what does not say what it is')
  return head as WireFrame['head']
}
