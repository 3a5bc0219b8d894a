import { totalmem } from 'node:os'
import { Bag, type Place } from '../core/bag.js'
import { SeaportError } from '../core/errors.js'
import type { WindowBudget } from './window.js'

const MIB = 1024 * 1024
/** The part of the machine's memory that may be filled before each stream gets less. */
const SHARE_OF_MACHINE = 1 / 128
const MIN_PLENTY_BYTES = 8 * MIB
const MAX_PLENTY_BYTES = 32 * MIB
/** As many times that may wait before who does not read is cut. */
const LIMIT_FACTOR = 4
/** As many times that limit may be sent to us on all streams before any reader has read. */
const WINDOWS_FACTOR = 2
/** What one stream takes before its turn comes, so that small writes and the end leave together. */
const AMPLE_BYTES = 64 * 1024
/** The same when much waits. Every stream gets that, so that those whose readers read go on. */
const SCANT_BYTES = 16 * 1024
/** Who has not taken so much in this time, nor all that there was, does not read. */
const PROGRESS_BYTES = SCANT_BYTES
const STALL_MS = 30_000
/** While more waits than may, this often is looked who does not read. */
const CHECK_MS = 1000

/** What keeps bytes for a reader. */
export interface Holder {
  /** The bytes that wait for a reader who has not read since then, by the process's own clock in ms. */
  stalledSince(time: number): number
  destroy(error: SeaportError): void
}

export interface StreamMemoryOptions {
  /** Bytes to send that may wait before each stream gets less. */
  plenty: number
  /** Bytes that may wait, whichever way they go. */
  limit: number
  /** In ms. */
  stall?: number
  /** In ms. */
  interval?: number
  /** In ms. */
  now?: () => number
}

/**
 * What waits for readers, over all streams of this process. A reader that stalls costs what its stream has taken from
 * the backend and cannot send, and what came on it and cannot be handed on; a thousand of them would fill the memory.
 * So the more waits to be sent, the less each stream takes, and all links share what may be sent to us before it is read.
 *
 * Not to read is no offence: a pager is left open over night. Only while more waits than may, the streams whose readers
 * have not read for 30 s are cut, the one that holds most first.
 */
export class StreamMemory {
  readonly stats = {
    /** Streams that were cut because their readers did not read. */
    cut: 0
  }

  /** To be sent, in bytes. */
  waiting = 0
  /** Received and not read, in bytes. */
  unread = 0
  /** What the windows of all links share. */
  readonly windows: WindowBudget
  readonly now: () => number
  readonly #plenty: number
  readonly #limit: number
  readonly #stall: number
  readonly #interval: number
  readonly #holders = new Bag<Holder>()
  #timer: NodeJS.Timeout | null = null

  constructor({
    plenty,
    limit,
    stall = STALL_MS,
    interval = CHECK_MS,
    now = () => performance.now()
  }: StreamMemoryOptions) {
    this.#plenty = plenty
    this.#limit = limit
    this.#stall = stall
    this.#interval = interval
    this.now = now
    this.windows = { left: limit * WINDOWS_FACTOR }
  }

  /** So much waits that each stream should take little. */
  get isTight(): boolean {
    return this.waiting > this.#plenty
  }

  /** So much waits that sockets should be read in small pieces. */
  get isScarce(): boolean {
    return this.waiting > 2 * this.#plenty
  }

  /** What one stream may take before it has sent some of it, in bytes. */
  get share(): number {
    return this.isTight ? SCANT_BYTES : AMPLE_BYTES
  }

  /** @returns what `remove` takes */
  add(holder: Holder): Place<Holder> {
    return this.#holders.add(holder)
  }

  remove(place: Place<Holder>) {
    this.#holders.delete(place)
  }

  /** Called when more waits. */
  check() {
    if (this.#timer !== null || !this.#isOver) return
    this.#timer = setInterval(() => this.#relieve(), this.#interval).unref()
  }

  get #isOver(): boolean {
    return this.waiting + this.unread > this.#limit
  }

  #relieve() {
    const since = this.now() - this.#stall
    const stalled = this.#holders
      .values()
      .map((holder) => ({ holder, bytes: holder.stalledSince(since) }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes)
    for (const { holder } of stalled) {
      if (!this.#isOver) break
      this.stats.cut++
      holder.destroy(
        SeaportError.LIMIT_REACHED('nothing was read for long, while much waits for readers')
      )
    }
    if (this.#isOver || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}

/** The bytes of one stream that wait for a reader, one way. */
export class Held {
  bytes = 0
  readonly #memory: StreamMemory
  readonly #isUnread: boolean
  /** When its reader read last, in ms. */
  #movedAt = 0
  /** Taken since then, which is too little to count. */
  #moved = 0

  constructor(memory: StreamMemory, { isUnread }: { isUnread: boolean }) {
    this.#memory = memory
    this.#isUnread = isUnread
  }

  put(byteLength: number) {
    if (this.bytes === 0) this.#move()
    this.#count(byteLength)
    this.#memory.check()
  }

  take(byteLength: number) {
    this.#count(-byteLength)
    this.#moved += byteLength
    if (this.#moved >= PROGRESS_BYTES) this.#move()
  }

  clear() {
    this.#count(-this.bytes)
  }

  stalledSince(time: number): number {
    return this.#movedAt <= time ? this.bytes : 0
  }

  #move() {
    this.#moved = 0
    this.#movedAt = this.#memory.now()
  }

  #count(byteLength: number) {
    this.bytes += byteLength
    if (this.#isUnread) this.#memory.unread += byteLength
    else this.#memory.waiting += byteLength
  }
}

const plenty = Math.max(MIN_PLENTY_BYTES, Math.min(MAX_PLENTY_BYTES, totalmem() * SHARE_OF_MACHINE))

export const MEMORY = new StreamMemory({ plenty, limit: LIMIT_FACTOR * plenty })
