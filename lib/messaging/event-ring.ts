import type { Body } from './body.js'
import { type Cursor, EVENT, encodeFrame } from './frames.js'

/** An event as it is kept and sent. */
export interface KeptEvent {
  seq: number
  name: string
  /** Its encoded frame. */
  bytes: Buffer
  /** When it was emitted, by `performance.now()`. */
  at: number
}

export interface EventRingOptions {
  maxEvents?: number | undefined
  maxBytes?: number | undefined
  /** In ms. */
  maxAge?: number | undefined
  /** Distinguishes runs of the service: it is greater in each. */
  epoch?: number | undefined
  now?: (() => number) | undefined
}

const MAX_EVENTS = 1024
const MAX_BYTES = 1024 * 1024
const MAX_AGE_MS = 60_000
/** For how many events that are gone it is remembered which type they had. */
const REMEMBERED_TYPES = 65_536
const MAX_TYPES = 65_535
/** Stands for the types beyond that number. */
const OTHER_TYPE = 0

/** The latest events of an instance, for listeners that come back. Whichever of its limits is reached first counts. */
export class EventRing {
  readonly epoch: number
  readonly #maxEvents: number
  readonly #maxBytes: number
  readonly #maxAge: number
  readonly #now: () => number
  #events: KeptEvent[] = []
  /** How many at the beginning of the list have been dropped. */
  #gone = 0
  #bytes = 0
  #seq = 0
  readonly #typeIds = new Map<string, number>()
  readonly #types = new Uint16Array(REMEMBERED_TYPES)

  constructor({
    maxEvents = MAX_EVENTS,
    maxBytes = MAX_BYTES,
    maxAge = MAX_AGE_MS,
    epoch = Date.now(),
    now = () => performance.now()
  }: EventRingOptions = {}) {
    this.epoch = epoch
    this.#maxEvents = maxEvents
    this.#maxBytes = maxBytes
    this.#maxAge = maxAge
    this.#now = now
  }

  /** The number of the latest event. */
  get seq(): number {
    return this.#seq
  }

  add(name: string, body: Body): KeptEvent {
    const seq = ++this.#seq
    const bytes = encodeFrame({ type: EVENT, seq, name, body })
    const event = { seq, name, bytes, at: this.#now() }
    this.#types[seq % REMEMBERED_TYPES] = this.#typeId(name)
    this.#events.push(event)
    this.#bytes += bytes.byteLength
    this.#forget()
    return event
  }

  /** The events of wanted types after a cursor, and how many of them are gone. */
  since(
    { epoch, seq }: Cursor,
    isWanted: (name: string) => boolean
  ): { missed: number; events: KeptEvent[] } {
    this.#forget()
    // A cursor of an earlier run says nothing about this one, so all events since the start are new.
    const from = epoch === this.epoch ? Math.min(seq, this.#seq) : 0
    const events = this.#events.slice(this.#gone).filter((event) => event.seq > from)
    const firstKept = this.#seq - (this.#events.length - this.#gone) + 1
    return {
      missed: this.#countGone(from + 1, firstKept, isWanted),
      events: events.filter(({ name }) => isWanted(name))
    }
  }

  /** How many of the events from `first` to below `end` were of wanted types, as far as is known. */
  #countGone(first: number, end: number, isWanted: (name: string) => boolean): number {
    if (first >= end) return 0
    const wanted = new Uint8Array(this.#typeIds.size + 1)
    wanted[OTHER_TYPE] = 1
    for (const [name, id] of this.#typeIds) if (isWanted(name)) wanted[id] = 1
    const remembered = Math.max(first, this.#seq - REMEMBERED_TYPES + 1)
    let count = Math.min(remembered, end) - first
    for (let seq = remembered; seq < end; seq++) {
      count += wanted[this.#types[seq % REMEMBERED_TYPES] ?? OTHER_TYPE] ?? 0
    }
    return count
  }

  #typeId(name: string): number {
    const known = this.#typeIds.get(name)
    if (known !== undefined) return known
    if (this.#typeIds.size >= MAX_TYPES) return OTHER_TYPE
    const id = this.#typeIds.size + 1
    this.#typeIds.set(name, id)
    return id
  }

  #forget() {
    const oldest = this.#now() - this.#maxAge
    for (;;) {
      const event = this.#events[this.#gone]
      if (!event) break
      const isTooMuch =
        this.#events.length - this.#gone > this.#maxEvents || this.#bytes > this.#maxBytes
      if (!isTooMuch && event.at >= oldest) break
      this.#bytes -= event.bytes.byteLength
      this.#gone++
    }
    if (this.#gone < this.#maxEvents) return
    this.#events = this.#events.slice(this.#gone)
    this.#gone = 0
  }
}
