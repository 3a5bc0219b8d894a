import { SeaportError } from '../core/errors.js'
import { fitted } from '../core/fitted.js'
import { c, type Encoding, type State } from '../core/holepunch.js'
import { BYTES } from '../core/purpose.js'

/**
 * `hyperseaport/streams/2` on the wire. One message is a packet: frames of any streams, one after
 * the other. A frame is its type in one byte, a number, then what the table says:
 *
 * | type | frame     | number | then                                                       |
 * |------|-----------|--------|------------------------------------------------------------|
 * | 0    | open      | id     | purpose; window: what the opener may be sent before it     |
 * |      |           |        | grants more                                                |
 * | 1    | connected | id     | window: the same for the acceptor                          |
 * | 2    | refused   | id     | code, text                                                 |
 * | 3    | data      | id     | length, bytes                                              |
 * | 4    | credit    | id     | amount: how much more may be sent                          |
 * | 5    | blocked   | id     | –, the sender has data and no credit                       |
 * | 6    | end       | id     | –, no more data will come                                  |
 * | 7    | reset     | id     | code                                                       |
 * | 8    | ping      | token  | –                                                          |
 * | 9    | pong      | token  | –                                                          |
 * | 16…  | of later  | any    | length, as many bytes. Who does not know it passes it by   |
 */
export type Frame =
  | { type: typeof OPEN; id: number; purpose: string; window: number }
  | { type: typeof CONNECTED; id: number; window: number }
  | { type: typeof REFUSED; id: number; code: string; text: string }
  | { type: typeof DATA; id: number; bytes: Buffer }
  | { type: typeof CREDIT; id: number; amount: number }
  | { type: typeof BLOCKED | typeof END; id: number }
  | { type: typeof RESET; id: number; code: string }
  | { type: typeof PING | typeof PONG; id: number }

/** Data as it is sent: many small writes leave as one frame. */
export interface Gather {
  type: typeof DATA
  id: number
  parts: Buffer[]
  byteLength: number
}

export type OutgoingFrame = Exclude<Frame, { type: typeof DATA }> | Gather

export const OPEN = 0
export const CONNECTED = 1
export const REFUSED = 2
export const DATA = 3
export const CREDIT = 4
export const BLOCKED = 5
export const END = 6
export const RESET = 7
export const PING = 8
export const PONG = 9
/** Frames of this type and above say how long they are. */
const FIRST_LATER_TYPE = 16

/**
 * Data in one packet. UDX is fastest with messages of about this size. Encrypted it fits in one piece of what the
 * kernel sends at a time by TCP, 65 483 bytes on loopback and 65 160 on Ethernet: what is a little longer costs two.
 */
export const PACKET_BYTES = 64 * 1024 - 512
/** A packet that is larger breaks the protocol. The last frame of one may reach over its end. */
export const MAX_PACKET_BYTES = 65 * 1024
/** No message on a link is longer, whatever its protocol: a packet, and what Protomux says of it. */
export const MAX_MESSAGE_BYTES = MAX_PACKET_BYTES + 1024
/** A frame of no data costs this much credit, so that many tiny ones cannot pile up at a reader. */
export const FRAME_COST = 64
/** No window is larger, however much credit is granted. */
export const MAX_CREDIT = 2 ** 30
const NO_BUFFER = Buffer.alloc(0)
const MAX_CODE_BYTES = 40
/** A denial that names two keys, a role twice, and what to do, is not cut off. */
const MAX_TEXT_BYTES = 1024
/** More than a purpose may have here: what a later version allows is refused then, and cuts nothing. */
const MAX_PURPOSE_BYTES = 255

/** What a data frame takes from its stream's window. */
export function costOf(byteLength: number): number {
  return byteLength + FRAME_COST
}

/** Sends packets; what it reads is left to `readPacket`. */
export const packetEncoding: Encoding<OutgoingFrame[] | Buffer> = {
  preencode(state, frames) {
    for (const frame of frames as OutgoingFrame[]) sizeFrame(state, frame)
  },
  encode(state, frames) {
    for (const frame of frames as OutgoingFrame[]) writeFrame(state, frame)
  },
  decode: (state) => c.raw.decode(state)
}

/**
 * Reads a packet, frame by frame.
 *
 * @throws BAD_MESSAGE
 */
export function* readPacket(packet: Buffer): Generator<Frame> {
  if (packet.byteLength > MAX_PACKET_BYTES) {
    throw SeaportError.BAD_MESSAGE(`a packet of ${packet.byteLength} bytes`)
  }
  const state = { buffer: packet, start: 0, end: packet.byteLength }
  while (state.start < state.end) {
    const frame = readFrame(state)
    if (frame !== null) yield frame
  }
}

/** The bytes a frame takes in a packet. */
export function sizeOf(frame: OutgoingFrame): number {
  const state = { buffer: NO_BUFFER, start: 0, end: 0 }
  sizeFrame(state, frame)
  return state.end
}

/** Why a stream ended that the other side cut. */
export function resetError(code: string): SeaportError {
  return SeaportError.STREAM_RESET(`the other side cut the stream (${printable(code)})`)
}

/** That a frame came where none of its type may. */
export function outOfPlace({ type, id }: Frame): SeaportError {
  return SeaportError.BAD_MESSAGE(`a frame of type ${type} out of place, on stream ${id}`)
}

/** A code of the other side that may stand in a log. */
export function printable(code: string): string {
  return SeaportError.remote(code, '').code
}

function sizeFrame(state: State, frame: OutgoingFrame) {
  state.end++
  c.uint.preencode(state, frame.id)
  switch (frame.type) {
    case OPEN:
      c.string.preencode(state, frame.purpose)
      return c.uint.preencode(state, frame.window)
    case CONNECTED:
      return c.uint.preencode(state, frame.window)
    case CREDIT:
      return c.uint.preencode(state, frame.amount)
    case REFUSED:
      c.string.preencode(state, frame.code)
      return c.string.preencode(state, fitted(frame.text, MAX_TEXT_BYTES))
    case RESET:
      return c.string.preencode(state, frame.code)
    case DATA:
      c.uint.preencode(state, frame.byteLength)
      state.end += frame.byteLength
  }
}

function writeFrame(state: State, frame: OutgoingFrame) {
  state.buffer[state.start++] = frame.type
  c.uint.encode(state, frame.id)
  switch (frame.type) {
    case OPEN:
      c.string.encode(state, frame.purpose)
      return c.uint.encode(state, frame.window)
    case CONNECTED:
      return c.uint.encode(state, frame.window)
    case CREDIT:
      return c.uint.encode(state, frame.amount)
    case REFUSED:
      c.string.encode(state, frame.code)
      return c.string.encode(state, fitted(frame.text, MAX_TEXT_BYTES))
    case RESET:
      return c.string.encode(state, frame.code)
    case DATA:
      c.uint.encode(state, frame.byteLength)
      for (const part of frame.parts) {
        state.buffer.set(part, state.start)
        state.start += part.byteLength
      }
  }
}

/** Null if it is of a later version. */
function readFrame(state: State): Frame | null {
  const type = state.buffer[state.start++] as number
  const id = readUint(state)
  switch (type) {
    case OPEN:
      return { type, id, purpose: readPurpose(state), window: readCredit(state) }
    case CONNECTED:
      return { type, id, window: readCredit(state) }
    case REFUSED:
      return {
        type,
        id,
        code: readText(state, MAX_CODE_BYTES),
        text: readText(state, MAX_TEXT_BYTES)
      }
    case DATA:
      return { type, id, bytes: readBytes(state, MAX_PACKET_BYTES) }
    case CREDIT:
      return { type, id, amount: readCredit(state) }
    case BLOCKED:
    case END:
    case PING:
    case PONG:
      return { type, id }
    case RESET:
      return { type, id, code: readText(state, MAX_CODE_BYTES) }
    default:
      if (type < FIRST_LATER_TYPE)
        throw SeaportError.BAD_MESSAGE(`a frame of the unknown type ${type}`)
      readBytes(state, MAX_PACKET_BYTES)
      return null
  }
}

function readUint(state: State): number {
  let value: number
  try {
    value = c.uint.decode(state)
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('a frame that ends too early', cause)
  }
  if (!Number.isSafeInteger(value)) throw SeaportError.BAD_MESSAGE('a number out of range')
  return value
}

function readCredit(state: State): number {
  const amount = readUint(state)
  if (amount > MAX_CREDIT) throw SeaportError.BAD_MESSAGE(`a credit of ${amount}`)
  return amount
}

function readBytes(state: State, max: number): Buffer {
  const length = readUint(state)
  if (length > max || length > state.end - state.start) {
    throw SeaportError.BAD_MESSAGE(`a field of ${length} bytes where there are fewer`)
  }
  const start = state.start
  state.start += length
  return state.buffer.subarray(start, state.start)
}

function readPurpose(state: State): string {
  // One that is too long is none, whatever its end is: the stream is refused, and the link goes on.
  const bytes = readBytes(state, MAX_PACKET_BYTES).subarray(0, MAX_PURPOSE_BYTES)
  return bytes.byteLength === 0 ? BYTES : bytes.toString()
}

function readText(state: State, max: number): string {
  return readBytes(state, max).toString()
}
