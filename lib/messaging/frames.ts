import { SeaportError } from '../core/errors.js'
import { type Executed, executedOf } from '../core/executed.js'
import { fitted } from '../core/fitted.js'
import type { Body } from './body.js'
import { MAX_META_BYTES, type Meta, parseMeta } from './meta.js'
import { isName } from './names.js'

/**
 * The frames of a conversation. A frame is its length in 4 bytes (little-endian, as all numbers here), its type in one,
 * and then by type:
 *
 *     HELLO    version (1)
 *     CALL     id (4), time left in ms (4), flags (1), length of the name (1), name, length of the meta (2), meta, body
 *     ANSWER   id (4), flags (1), body
 *     ITEM     id (4), flags (1), body      one of a streaming answer, whose end is an ANSWER
 *     FAILURE  id (4), executed (1), length of the code (1), code, length of the handler's own code (1), that code, text
 *     CANCEL   id (4)
 *     QUEUED   id (4)                       the call waits for its turn
 *     STARTED  id (4)                       and now it has it
 *     PARKED   id (4), token (16)           the answer is too large for a frame: FETCH it on a stream of its own
 *     FETCH    id (4), token (16)
 *     LEAVING                               no further calls are taken
 *     EMIT     flags (1), length of the type (1), type, body
 *
 * and on a stream for events:
 *
 *     SUBSCRIBE   flags (1), epoch (6), seq (6), types as JSON (["*"] for all)
 *     SUBSCRIBED  epoch (6), seq (6)       the next event has a greater one
 *     MISSED      count (4)                of events before the next one
 *     EVENT       seq (6), flags (1), length of the type (1), type, body
 *
 * Frames of unknown types, which a later version may add, are ignored.
 */
export type Frame =
  | { type: typeof HELLO; version: number }
  | Call
  | { type: typeof ANSWER | typeof ITEM; id: number; body: Body }
  | Failure
  | { type: typeof CANCEL | typeof QUEUED | typeof STARTED; id: number }
  | { type: typeof PARKED | typeof FETCH; id: number; token: Buffer }
  | { type: typeof LEAVING }
  | { type: typeof EMIT; name: string; body: Body }
  | { type: typeof SUBSCRIBE; after: Cursor | null; types: string[] }
  | { type: typeof SUBSCRIBED; epoch: number; seq: number }
  | { type: typeof MISSED; count: number }
  | { type: typeof EVENT; seq: number; name: string; body: Body }

/** How far somebody has heard the events of an instance. */
export interface Cursor {
  /** When the instance was started. It counts its events from 1 then. */
  epoch: number
  seq: number
}

export interface Call {
  type: typeof CALL
  /** The number of the call: greater than those of all earlier calls of the conversation. */
  id: number
  /** How long the caller waits, in ms from when it said so. */
  timeLeft: number
  /** Whether the answer may come in items. */
  isStreaming: boolean
  name: string
  meta: Meta
  body: Body
}

export interface Failure {
  type: typeof FAILURE
  id: number
  executed: Executed
  code: string
  /** The code of the error that the handler threw; or ''. */
  handlerCode: string
  text: string
}

export const HELLO = 0
export const CALL = 1
export const ANSWER = 2
export const ITEM = 3
export const FAILURE = 4
export const CANCEL = 5
export const QUEUED = 6
export const STARTED = 7
export const PARKED = 8
export const FETCH = 9
export const LEAVING = 10
export const EMIT = 11
export const SUBSCRIBE = 12
export const SUBSCRIBED = 13
export const MISSED = 14
export const EVENT = 15

export const VERSION = 1
/** The largest frame of a conversation. A larger body gets a stream of its own, so that nothing waits behind it. */
export const MAX_FRAME_BYTES = 64 * 1024
export const LENGTH_BYTES = 4
export const TOKEN_BYTES = 16
export const MAX_ID = 2 ** 32 - 1
const MAX_CODE_BYTES = 64
const MAX_TEXT_BYTES = 2048
/** The bytes that a call takes beside its name, its meta and its body. */
const CALL_OVERHEAD_BYTES = 17

const JSON_FLAG = 1
const BYTES_FLAG = 2
const STREAMING_FLAG = 4
/** The flag of a SUBSCRIBE that goes on after a cursor. */
const AFTER_FLAG = 1
const MAX_TYPES = 64
const EXECUTED: readonly Executed[] = ['no', 'yes', 'perhaps']
const NO_BYTES = Buffer.alloc(0)

/** The size of a call as a frame, its length field included. */
export function sizeOfCall({ name, meta, body }: Pick<Call, 'name' | 'meta' | 'body'>): number {
  return CALL_OVERHEAD_BYTES + name.length + metaBytes(meta).byteLength + body.bytes.byteLength
}

/** Encodes a frame, its length field included. */
export function encodeFrame(frame: Frame): Buffer {
  switch (frame.type) {
    case HELLO:
      return new Writer(frame.type, 1).uint8(frame.version).buffer
    case CALL: {
      const { name } = frame
      const meta = metaBytes(frame.meta)
      const { bytes } = frame.body
      const size = CALL_OVERHEAD_BYTES - 5 + name.length + meta.byteLength + bytes.byteLength
      return new Writer(frame.type, size)
        .uint32(frame.id)
        .uint32(frame.timeLeft)
        .uint8(flagsOf(frame.body) | (frame.isStreaming ? STREAMING_FLAG : 0))
        .name(name)
        .uint16(meta.byteLength)
        .bytes(meta)
        .bytes(bytes).buffer
    }
    case ANSWER:
    case ITEM: {
      const { bytes } = frame.body
      return new Writer(frame.type, 5 + bytes.byteLength)
        .uint32(frame.id)
        .uint8(flagsOf(frame.body))
        .bytes(bytes).buffer
    }
    case FAILURE: {
      const code = Buffer.from(fitted(frame.code, MAX_CODE_BYTES))
      const own = Buffer.from(fitted(frame.handlerCode, MAX_CODE_BYTES))
      const text = Buffer.from(fitted(frame.text, MAX_TEXT_BYTES))
      return new Writer(frame.type, 7 + code.byteLength + own.byteLength + text.byteLength)
        .uint32(frame.id)
        .uint8(EXECUTED.indexOf(frame.executed))
        .uint8(code.byteLength)
        .bytes(code)
        .uint8(own.byteLength)
        .bytes(own)
        .bytes(text).buffer
    }
    case CANCEL:
    case QUEUED:
    case STARTED:
      return new Writer(frame.type, 4).uint32(frame.id).buffer
    case PARKED:
    case FETCH:
      return new Writer(frame.type, 4 + TOKEN_BYTES).uint32(frame.id).bytes(frame.token).buffer
    case LEAVING:
      return new Writer(frame.type, 0).buffer
    case EMIT: {
      const { bytes } = frame.body
      return new Writer(frame.type, 2 + frame.name.length + bytes.byteLength)
        .uint8(flagsOf(frame.body))
        .name(frame.name)
        .bytes(bytes).buffer
    }
    case SUBSCRIBE: {
      const types = Buffer.from(JSON.stringify(frame.types))
      return new Writer(frame.type, 13 + types.byteLength)
        .uint8(frame.after ? AFTER_FLAG : 0)
        .uint48(frame.after?.epoch ?? 0)
        .uint48(frame.after?.seq ?? 0)
        .bytes(types).buffer
    }
    case SUBSCRIBED:
      return new Writer(frame.type, 12).uint48(frame.epoch).uint48(frame.seq).buffer
    case MISSED:
      return new Writer(frame.type, 4).uint32(Math.min(frame.count, MAX_ID)).buffer
    case EVENT: {
      const { bytes } = frame.body
      return new Writer(frame.type, 8 + frame.name.length + bytes.byteLength)
        .uint48(frame.seq)
        .uint8(flagsOf(frame.body))
        .name(frame.name)
        .bytes(bytes).buffer
    }
  }
}

/**
 * Reads a frame, without its length field, out of some bytes.
 *
 * @returns null if its type is unknown
 * @throws BAD_MESSAGE
 */
export function decodeFrame(bytes: Buffer, start = 0, end = bytes.byteLength): Frame | null {
  const reader = new Reader(bytes, start, end)
  const type = reader.uint8()
  switch (type) {
    case HELLO:
      return { type, version: reader.uint8() }
    case CALL: {
      const [id, timeLeft, flags] = [reader.uint32(), reader.uint32(), reader.uint8()]
      const name = reader.text(reader.uint8())
      const metaLength = reader.uint16()
      if (metaLength > MAX_META_BYTES) throw SeaportError.BAD_MESSAGE('a call with too much meta')
      const meta = parseMeta(reader.take(metaLength))
      const body = bodyOf(flags, reader.rest())
      return { type, id, timeLeft, isStreaming: (flags & STREAMING_FLAG) !== 0, name, meta, body }
    }
    case ANSWER:
    case ITEM: {
      const [id, flags] = [reader.uint32(), reader.uint8()]
      return { type, id, body: bodyOf(flags, reader.rest()) }
    }
    case FAILURE: {
      const [id, executed] = [reader.uint32(), executedOf(EXECUTED[reader.uint8()])]
      const code = reader.text(reader.uint8())
      const handlerCode = reader.text(reader.uint8())
      const text = reader.rest().subarray(0, MAX_TEXT_BYTES).toString()
      return { type, id, executed, code, handlerCode, text }
    }
    case CANCEL:
    case QUEUED:
    case STARTED:
      return { type, id: reader.uint32() }
    case PARKED:
    case FETCH:
      return { type, id: reader.uint32(), token: Buffer.from(reader.take(TOKEN_BYTES)) }
    case LEAVING:
      return { type }
    case EMIT: {
      const flags = reader.uint8()
      const name = reader.text(reader.uint8())
      return { type, name, body: bodyOf(flags, reader.rest()) }
    }
    case SUBSCRIBE: {
      const flags = reader.uint8()
      const [epoch, seq] = [reader.uint48(), reader.uint48()]
      const after = flags & AFTER_FLAG ? { epoch, seq } : null
      return { type, after, types: typesOf(reader.rest()) }
    }
    case SUBSCRIBED:
      return { type, epoch: reader.uint48(), seq: reader.uint48() }
    case MISSED:
      return { type, count: reader.uint32() }
    case EVENT: {
      const [seq, flags] = [reader.uint48(), reader.uint8()]
      const name = reader.text(reader.uint8())
      return { type, seq, name, body: bodyOf(flags, reader.rest()) }
    }
    default:
      return null
  }
}

/** @throws BAD_MESSAGE */
function typesOf(bytes: Buffer): string[] {
  let types: unknown
  try {
    types = JSON.parse(bytes.toString())
  } catch (cause) {
    throw SeaportError.BAD_MESSAGE('a subscription whose types are no JSON', cause)
  }
  const areTypes =
    Array.isArray(types) &&
    types.length <= MAX_TYPES &&
    types.every((type) => type === '*' || isName(type))
  if (!areTypes) throw SeaportError.BAD_MESSAGE('a subscription to what are no types')
  return types as string[]
}

function flagsOf({ kind }: Body): number {
  return kind === 'json' ? JSON_FLAG : kind === 'bytes' ? BYTES_FLAG : 0
}

function bodyOf(flags: number, bytes: Buffer): Body {
  if (flags & JSON_FLAG) return { kind: 'json', bytes }
  return flags & BYTES_FLAG ? { kind: 'bytes', bytes } : { kind: 'none', bytes: NO_BYTES }
}

/** Encodes the meta of a call. Most calls have none. */
function metaBytes(meta: Meta): Buffer {
  for (const _ in meta) return Buffer.from(JSON.stringify(meta))
  return NO_BYTES
}

class Writer {
  readonly buffer: Buffer
  #at = LENGTH_BYTES + 1

  constructor(type: number, byteLength: number) {
    this.buffer = Buffer.allocUnsafe(LENGTH_BYTES + 1 + byteLength)
    this.buffer.writeUInt32LE(1 + byteLength, 0)
    this.buffer[LENGTH_BYTES] = type
  }

  uint8(value: number): this {
    this.buffer[this.#at++] = value
    return this
  }

  uint16(value: number): this {
    this.#at = this.buffer.writeUInt16LE(value, this.#at)
    return this
  }

  uint32(value: number): this {
    this.#at = this.buffer.writeUInt32LE(value, this.#at)
    return this
  }

  uint48(value: number): this {
    this.#at = this.buffer.writeUIntLE(value, this.#at, 6)
    return this
  }

  /** Writes a name, which has ASCII characters only. */
  name(name: string): this {
    this.uint8(name.length)
    this.#at += this.buffer.write(name, this.#at, 'latin1')
    return this
  }

  bytes(bytes: Buffer): this {
    this.buffer.set(bytes, this.#at)
    this.#at += bytes.byteLength
    return this
  }
}

class Reader {
  readonly #bytes: Buffer
  readonly #end: number
  #at: number

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
  }

  uint8(): number {
    return this.#advance(1) && (this.#bytes[this.#at - 1] as number)
  }

  uint16(): number {
    return this.#advance(2) && this.#bytes.readUInt16LE(this.#at - 2)
  }

  uint32(): number {
    return this.#advance(4) && this.#bytes.readUInt32LE(this.#at - 4)
  }

  uint48(): number {
    return this.#advance(6) && this.#bytes.readUIntLE(this.#at - 6, 6)
  }

  take(byteLength: number): Buffer {
    this.#advance(byteLength)
    return this.#bytes.subarray(this.#at - byteLength, this.#at)
  }

  text(byteLength: number): string {
    this.#advance(byteLength)
    return this.#bytes.toString('utf8', this.#at - byteLength, this.#at)
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at, this.#end)
  }

  /** @throws BAD_MESSAGE */
  #advance(byteLength: number): number {
    this.#at += byteLength
    if (this.#at > this.#end) {
      throw SeaportError.BAD_MESSAGE('a frame of a conversation that ends too early')
    }
    return byteLength
  }
}
