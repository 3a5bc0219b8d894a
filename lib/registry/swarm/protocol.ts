import { isIPv4 } from 'node:net'
import { SeaportError } from '../../core/errors.js'
import { fitted } from '../../core/fitted.js'
import { c, type Encoding, type State } from '../../core/holepunch.js'
import type { RelayOffer } from '../../core/relay-offer.js'
import { MAX_RECORD_BYTES } from '../trust/record.js'
import { isObject } from '../trust/statement.js'
import { MAX_STATEMENT_BYTES } from '../trust/statement-kind.js'

/**
 * What participants say to each other once the hellos are through, on one Protomux channel:
 *
 *     replica                                  registrar
 *        │ ◀──────── logs (both ways) ────────────▶ │   certificates, and what one has of each log, in pages
 *        │ ◀──────── ping {interval, length} ────── │   also tells that the registrar is live
 *        │ ──────── pong ────────────────────────▶  │
 *        │ ◀──────── relay {key, host, port} ────── │   for pairs that cannot meet otherwise
 *        │ ──────── lease {record} ──────────────▶  │   signed by its owner for this connection's holder
 *        │ ──────── put {statement} ─────────────▶  │   of a kind that is kept in logs, as a grant
 *        │ ◀──────── answer {code, seq} ─────────── │   to either; a second one takes a lease back
 *        │ ◀──────── mail (both ways) ────────────▶ │   what lib/messaging/mail/member-frames.ts says
 *
 * Beside it, Hypercore's own channels replicate the logs.
 */
export const REGISTRY_PROTOCOL = 'hyperseaport/registry/3'

/** A certificate, and up to which block the sender can serve its log: from this snapshot on, if there is one. */
export interface LogNotice {
  certificate: unknown
  length: number
  /** What the log's own key signed last, as far as the sender has it: the length is nobody's proof. */
  head?: unknown
  snapshot?: unknown
}

/** Part of a list of logs. The list that each side begins with has an end; what comes later is news. */
export interface LogPage {
  logs: LogNotice[]
  isLast: boolean
}

export interface Ping {
  /** How often pings come, in ms. */
  interval: number
  /** Blocks in the registrar's own log. */
  length: number
}

export interface LeaseRequest {
  id: number
  /** As JSON. */
  record: string
}

export interface PutRequest {
  id: number
  /** As JSON. */
  statement: string
}

/** To a lease or put request; or, with the id 0, what the other side has to say unasked. */
export interface Answer {
  id: number
  /** '' if granted, else an error code. */
  code: string
  text: string
  /** Highest sequence number known of the key, 0 if none. */
  seq: number
}

/** The largest letter, and what is said beside it. */
const MAX_MAIL_BYTES = 68 * 1024
const MAX_LOGS_BYTES = 256 * 1024
const MAX_HOST_BYTES = 15
/** Each notice has at most three statements of 4 KiB. */
const LOGS_PER_PAGE = 16
/** A list has at most so many logs, in all its pages. */
export const MAX_LISTED_LOGS = 256
const MAX_CODE_BYTES = 40
const MAX_TEXT_BYTES = 1024
const MAX_INTERVAL_MS = 60_000
const MIN_INTERVAL_MS = 50

export const logsEncoding: Encoding<LogPage> = {
  preencode(state, { logs, isLast }) {
    c.uint.preencode(state, isLast ? 1 : 0)
    c.string.preencode(state, JSON.stringify(logs))
  },
  encode(state, { logs, isLast }) {
    c.uint.encode(state, isLast ? 1 : 0)
    c.string.encode(state, JSON.stringify(logs))
  },
  decode(state) {
    const isLast = c.uint.decode(state) === 1
    const logs = parseList(text(state, MAX_LOGS_BYTES))
    if (!logs?.every(isLogNotice)) throw SeaportError.BAD_MESSAGE('a list of logs is malformed')
    return { logs, isLast }
  }
}

export const pingEncoding: Encoding<Ping> = {
  preencode(state, { interval, length }) {
    c.uint.preencode(state, interval)
    c.uint.preencode(state, length)
  },
  encode(state, { interval, length }) {
    c.uint.encode(state, interval)
    c.uint.encode(state, length)
  },
  decode(state) {
    const interval = Math.min(Math.max(c.uint.decode(state), MIN_INTERVAL_MS), MAX_INTERVAL_MS)
    return { interval, length: c.uint.decode(state) }
  }
}

export const relayEncoding: Encoding<RelayOffer> = {
  preencode(state, { key, host, port }) {
    c.fixed32.preencode(state, key)
    c.string.preencode(state, host)
    c.uint.preencode(state, port)
  },
  encode(state, { key, host, port }) {
    c.fixed32.encode(state, key)
    c.string.encode(state, host)
    c.uint.encode(state, port)
  },
  decode(state) {
    const offer = {
      key: c.fixed32.decode(state),
      host: text(state, MAX_HOST_BYTES),
      port: c.uint.decode(state)
    }
    if (!isIPv4(offer.host) || offer.port < 1 || offer.port > 65_535) {
      throw SeaportError.BAD_MESSAGE('a relay is offered that has no address')
    }
    return offer
  }
}

export const leaseEncoding: Encoding<LeaseRequest> = {
  preencode(state, { id, record }) {
    c.uint.preencode(state, id)
    c.string.preencode(state, record)
  },
  encode(state, { id, record }) {
    c.uint.encode(state, id)
    c.string.encode(state, record)
  },
  decode: (state) => ({ id: c.uint.decode(state), record: text(state, MAX_RECORD_BYTES) })
}

export const putEncoding: Encoding<PutRequest> = {
  preencode(state, { id, statement }) {
    c.uint.preencode(state, id)
    c.string.preencode(state, statement)
  },
  encode(state, { id, statement }) {
    c.uint.encode(state, id)
    c.string.encode(state, statement)
  },
  decode: (state) => ({ id: c.uint.decode(state), statement: text(state, MAX_STATEMENT_BYTES) })
}

export const answerEncoding: Encoding<Answer> = {
  preencode(state, { id, code, text, seq }) {
    c.uint.preencode(state, id)
    c.string.preencode(state, code)
    c.string.preencode(state, fitted(text, MAX_TEXT_BYTES))
    c.uint.preencode(state, seq)
  },
  encode(state, { id, code, text, seq }) {
    c.uint.encode(state, id)
    c.string.encode(state, code)
    c.string.encode(state, fitted(text, MAX_TEXT_BYTES))
    c.uint.encode(state, seq)
  },
  decode(state) {
    return {
      id: c.uint.decode(state),
      code: text(state, MAX_CODE_BYTES),
      text: text(state, MAX_TEXT_BYTES),
      seq: c.uint.decode(state)
    }
  }
}

export const mailEncoding: Encoding<Buffer> = {
  preencode(state, frame) {
    c.uint.preencode(state, frame.byteLength)
    state.end += frame.byteLength
  },
  encode(state, frame) {
    c.uint.encode(state, frame.byteLength)
    frame.copy(state.buffer, state.start)
    state.start += frame.byteLength
  },
  decode(state) {
    const length = c.uint.decode(state)
    if (length > MAX_MAIL_BYTES || length > state.end - state.start) {
      throw SeaportError.BAD_MESSAGE(`${length} bytes of mail, at most ${MAX_MAIL_BYTES} are taken`)
    }
    const frame = Buffer.from(state.buffer.subarray(state.start, state.start + length))
    state.start += length
    return frame
  }
}

/** A list of logs in pages, the last of which says so. */
export function pagesOf(logs: readonly LogNotice[]): LogPage[] {
  const pages: LogPage[] = []
  for (let i = 0; i < logs.length; i += LOGS_PER_PAGE) {
    pages.push({ logs: logs.slice(i, i + LOGS_PER_PAGE), isLast: false })
  }
  return [...pages.slice(0, -1), { logs: pages.at(-1)?.logs ?? [], isLast: true }]
}

/** Null for what is no list. Protomux takes a SyntaxError for a mistake of ours, and ends the process. */
function parseList(json: string): unknown[] | null {
  try {
    const value: unknown = JSON.parse(json)
    return Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

function isLogNotice(value: unknown): value is LogNotice {
  return isObject(value) && Number.isSafeInteger(value.length) && (value.length as number) >= 0
}

/** A string whose length was checked before it was made. */
function text(state: State, max: number): string {
  const peek = { ...state }
  const length = c.uint.decode(peek)
  if (length > max)
    throw SeaportError.BAD_MESSAGE(`a field of ${length} bytes, at most ${max} are taken`)
  return c.string.decode(state)
}
