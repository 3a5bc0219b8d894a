import type { Body } from '../body.js'
import { type EventHead, encodeChannelFrame, type Place } from './channel-frames.js'

/** A message to browsers as it is kept. */
export interface KeptMessage {
  head: EventHead
  body: Body
  /** As all gateways are sent it. */
  frame: Buffer
  /** By `performance.now()`. */
  at: number
}

export interface ChannelRingOptions {
  maxBytes?: number | undefined
  /** In ms. */
  maxAge?: number | undefined
  /** By which restarts are told apart; greater in each. */
  epoch?: number | undefined
  now?: (() => number) | undefined
}

const MAX_BYTES = 16 * 1024 * 1024
const MAX_AGE_MS = 60_000
/** What an entry takes beside its frame. */
const ENTRY_BYTES = 256

/** The latest messages of an instance to browsers, for those who come back through whatever gateway. */
export class ChannelRing {
  readonly epoch: number
  readonly #maxBytes: number
  readonly #maxAge: number
  readonly #now: () => number
  #kept: KeptMessage[] = []
  /** How many at the beginning of these are gone. */
  #gone = 0
  #bytes = 0
  #seq = 0
  /** The last that is gone and was not for everybody: of what is gone after it, the number is known. */
  #lastTargetedGone = 0

  constructor({
    maxBytes = MAX_BYTES,
    maxAge = MAX_AGE_MS,
    epoch = Date.now(),
    now = () => performance.now()
  }: ChannelRingOptions = {}) {
    this.epoch = epoch
    this.#maxBytes = maxBytes
    this.#maxAge = maxAge
    this.#now = now
  }

  /** The number of the latest message. */
  get seq(): number {
    return this.#seq
  }

  /** @throws TOO_LARGE */
  add(event: Omit<EventHead, 'seq'>, { kind, bytes }: Body): KeptMessage {
    const head = { ...event, seq: this.#seq + 1 }
    const frame = encodeChannelFrame({ t: 'event', ...head }, { kind, bytes })
    const body = { kind, bytes: frame.subarray(frame.byteLength - bytes.byteLength) }
    const kept = { head, body, frame, at: this.#now() }
    this.#seq++
    this.#kept.push(kept)
    this.#bytes += costOf(kept)
    this.#forget()
    return kept
  }

  /** The number of the first message that is kept; one above the last if none is. */
  get first(): number {
    this.#forget()
    return this.#seq - (this.#kept.length - this.#gone) + 1
  }

  /** The message of a number, or null if it is gone or yet to come. */
  at(seq: number): KeptMessage | null {
    const place = this.#gone + seq - (this.#seq - (this.#kept.length - this.#gone) + 1)
    return place < this.#gone ? null : (this.#kept[place] ?? null)
  }

  /**
   * How many messages after a place are gone: 0 if none is, and undefined if some are and nobody knows how many of
   * them were for a certain browser.
   */
  missedAfter({ epoch, seq }: Place): number | undefined {
    if (epoch !== this.epoch || seq > this.#seq) return undefined
    const missed = this.first - 1 - seq
    if (missed <= 0) return 0
    return seq >= this.#lastTargetedGone ? missed : undefined
  }

  #forget() {
    const oldest = this.#now() - this.#maxAge
    for (;;) {
      const kept = this.#kept[this.#gone]
      if (!kept || (this.#bytes <= this.#maxBytes && kept.at >= oldest)) break
      this.#bytes -= costOf(kept)
      if (isTargeted(kept)) this.#lastTargetedGone = kept.head.seq
      this.#gone++
    }
    if (this.#gone === 0 || this.#gone < this.#kept.length / 2) return
    this.#kept = this.#kept.slice(this.#gone)
    this.#gone = 0
  }
}

function costOf({ frame }: KeptMessage): number {
  return frame.byteLength + ENTRY_BYTES
}

function isTargeted({ head: { kind, filter, room } }: KeptMessage): boolean {
  return kind !== 'broadcast' || filter !== undefined || room !== undefined
}
