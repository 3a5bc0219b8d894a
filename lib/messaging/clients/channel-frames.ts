import { SeaportError } from '../../core/errors.js'
import { type Body, NO_BODY } from '../body.js'
import { LENGTH_BYTES } from '../frames.js'

/** One frame between a gateway and an instance: a short head in JSON, and a body after it. */
export interface ChannelFrame {
  head: ChannelHead
  body: Body
}

/** How far the messages of an instance were heard. */
export interface Place {
  /** When the instance was started. It counts its messages from 1 then. */
  epoch: number
  seq: number
}

/** The head of a message to browsers, with those whom it is for. */
export interface EventHead {
  seq: number
  kind: EventKind
  type: string
  /** The id of the client that a direct message is for. */
  id?: string | undefined
  /** Only for clients whose data, as `connect` returned it, has these fields. */
  filter?: unknown
  /** Only for clients in this room. */
  room?: string | undefined
}

export type EventKind = 'broadcast' | 'direct' | 'presence'

export type ChannelHead =
  // Sent by the gateway.
  | ({ t: 'hello'; gateway: string } & Place)
  | ConnectHead
  | HereHead
  | { t: 'gone'; session: string; how: string }
  | ({ t: 'resume'; session: string } & Place)
  | MessageHead
  | { t: 'got'; session: string; key: string }
  // Sent by the instance.
  | ({ t: 'welcome' } & Place)
  | { t: 'admitted'; n: number; ticket: string; secret: string; resumed: number; rooms?: unknown }
  | { t: 'refused'; n: number }
  | ({ t: 'event' } & EventHead)
  | ({ t: 'replay'; session: string } & EventHead)
  | ({ t: 'replayed'; session: string } & Place)
  | { t: 'missed'; session?: string | undefined; count?: number | undefined }
  | { t: 'at'; seq: number }
  | { t: 'leaving' }
  | AnswerHead
  | { t: 'kept'; session: string; key: string; type: string }
  | { t: 'close'; session: string; code: number }
  | { t: 'room'; session: string; name: string; isIn: number; changes?: number | undefined }

/** A page asks to be admitted. */
export interface ConnectHead {
  t: 'connect'
  n: number
  session: string
  token?: unknown
  viewer?: string | undefined
  origin?: string | undefined
  ticket?: string | undefined
  secret?: string | undefined
}

/** A page is connected, or what is known of it has changed. */
export interface HereHead {
  t: 'here'
  ticket: string
  rooms?: unknown
  /** How many changes of rooms the gateway has heard of this instance. Its rooms count only with all of them. */
  changes?: number | undefined
}

/** A message of a browser. */
export interface MessageHead {
  t: 'message'
  session: string
  n: number
  /** The browser has the answers to all its messages up to this number. */
  answered: number
  /** Whom it is for: `service`, `all` or `one`. */
  to: string
  type: string
  id?: string | undefined
}

export interface AnswerHead {
  t: 'answer'
  session: string
  n: number
  code?: string | undefined
  text?: string | undefined
}

type FieldKind = 'text' | 'count' | 'json' | 'text?' | 'count?'
type Fields = Record<string, FieldKind>

const PLACE: Fields = { epoch: 'count', seq: 'count' }
const EVENT: Fields = {
  seq: 'count',
  kind: 'text',
  type: 'text',
  id: 'text?',
  filter: 'json',
  room: 'text?'
}
/** The fields of each frame. Others are ignored. */
const FRAMES: Record<ChannelHead['t'], Fields> = {
  hello: { gateway: 'text', ...PLACE },
  connect: {
    ...{ n: 'count', session: 'text', token: 'json', viewer: 'text?', origin: 'text?' },
    ...{ ticket: 'text?', secret: 'text?' }
  },
  here: { ticket: 'text', rooms: 'json', changes: 'count?' },
  gone: { session: 'text', how: 'text' },
  resume: { session: 'text', ...PLACE },
  message: {
    ...{ session: 'text', n: 'count', answered: 'count', to: 'text', type: 'text' },
    id: 'text?'
  },
  got: { session: 'text', key: 'text' },
  welcome: PLACE,
  admitted: { n: 'count', ticket: 'text', secret: 'text', resumed: 'count', rooms: 'json' },
  refused: { n: 'count' },
  event: EVENT,
  replay: { session: 'text', ...EVENT },
  replayed: { session: 'text', ...PLACE },
  missed: { session: 'text?', count: 'count?' },
  at: { seq: 'count' },
  leaving: {},
  answer: { session: 'text', n: 'count', code: 'text?', text: 'text?' },
  kept: { session: 'text', key: 'text', type: 'text' },
  close: { session: 'text', code: 'count' },
  room: { session: 'text', name: 'text', isIn: 'count', changes: 'count?' }
}

/** The largest message from or to a browser, in bytes. */
export const MAX_MESSAGE_BYTES = 1024 * 1024
const MAX_HEAD_BYTES = 64 * 1024 - 1
export const MAX_CHANNEL_FRAME_BYTES = MAX_MESSAGE_BYTES + MAX_HEAD_BYTES + 8
const HEAD_LENGTH_BYTES = 2
const KIND_BYTES = 1
const KINDS: readonly Body['kind'][] = ['none', 'json', 'bytes']

/** @throws TOO_LARGE if the head is too large */
export function encodeChannelFrame(head: ChannelHead, body: Body = NO_BODY): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  if (text.byteLength > MAX_HEAD_BYTES) {
    throw SeaportError.TOO_LARGE(`the head of a message has ${text.byteLength} bytes`)
  }
  const length = KIND_BYTES + HEAD_LENGTH_BYTES + text.byteLength + body.bytes.byteLength
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + length)
  frame.writeUInt32LE(length, 0)
  frame[LENGTH_BYTES] = KINDS.indexOf(body.kind)
  frame.writeUInt16LE(text.byteLength, LENGTH_BYTES + KIND_BYTES)
  const at = LENGTH_BYTES + KIND_BYTES + HEAD_LENGTH_BYTES
  text.copy(frame, at)
  body.bytes.copy(frame, at + text.byteLength)
  return frame
}

/**
 * Reads a frame without its length. Returns null if its type is unknown, as a later version may have others.
 *
 * @throws BAD_MESSAGE
 */
export function decodeChannelFrame(bytes: Buffer): ChannelFrame | null {
  const kind = KINDS[bytes[0] ?? KINDS.length]
  const start = KIND_BYTES + HEAD_LENGTH_BYTES
  if (kind === undefined || bytes.byteLength < start) throw bad('one that is cut short')
  const end = start + bytes.readUInt16LE(KIND_BYTES)
  if (end > bytes.byteLength) throw bad('one with half a head')
  let head: unknown
  try {
    head = JSON.parse(bytes.toString('utf8', start, end))
  } catch {
    throw bad('one whose head is no JSON')
  }
  if (typeof head !== 'object' || head === null) throw bad('one whose head is no object')
  const { t } = head as { t?: unknown }
  if (typeof t !== 'string' || !Object.hasOwn(FRAMES, t)) return null
  const fields = FRAMES[t as ChannelHead['t']]
  for (const [name, is] of Object.entries(fields)) {
    if (!isOfKind((head as Record<string, unknown>)[name], is)) throw bad(`a bad ${name} of ${t}`)
  }
  // The body is copied, because it is part of a larger buffer, which would stay in memory with it.
  return { head: head as ChannelHead, body: { kind, bytes: Buffer.from(bytes.subarray(end)) } }
}

function isOfKind(value: unknown, kind: FieldKind): boolean {
  if (kind === 'json') return true
  if (value === undefined) return kind.endsWith('?')
  if (kind.startsWith('text')) return typeof value === 'string'
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function bad(what: string): SeaportError {
  return SeaportError.BAD_MESSAGE(`among frames of a channel, ${what}`)
}
