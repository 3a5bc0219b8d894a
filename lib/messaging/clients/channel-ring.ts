import type { Body } from '../body.js'
import { type EventHead, encodeChannelFrame, type Place } from './channel-frames.js'

/** A message to browsers that is kept. */
export interface KeptMessage {
  head: EventHead
  body: Body
  /** The encoded frame, the same for all gateways. */
  frame: Buffer
  /** When it was sent, by `performance.now()`. */
  at: number
}

export interface ChannelRingOptions {
  maxBytes?: number | undefined
  /** In ms. */
  maxAge?: number | undefined
  /** Distinguishes runs of the service: it is greater in each. */
  epoch?: number | undefined
  now?: (() => number) | undefined
}

const MAX_BYTES = 16 * 1024 * 1024
const MAX_AGE_MS = 60_000
/** The memory that an entry takes beside its frame. */
const ENTRY_BYTES = 256

/** The latest messages of an instance to browsers, for browsers that come back through whichever gateway. */
export class ChannelRing {
  readonly epoch: number
  readonly #maxBytes: number
  readonly #maxAge: number
  readonly #now: () => number
  #kept: KeptMessage[] = []
  /** How many at the beginning of the list have been dropped. */
  #gone = 0
  #bytes = 0
  #seq = 0
  /**
   * The number of the last dropped message that was not for everybody. All that were dropped after it were for
   * everybody, so a browser missed exactly those.
   */
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
   * How many messages after a place were dropped. Undefined if some of them were not for everybody, so that nobody
   * knows how many a certain browser missed.
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
  return kind === 'direct' || filter !== undefined || room !== undefined
}
