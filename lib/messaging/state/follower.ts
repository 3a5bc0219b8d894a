import type { SeaportError } from '../../core/errors.js'
import { SerialQueue } from '../../core/serial-queue.js'
import type { CopyChange, StateCopy } from './copy.js'
import type { Head } from './statements.js'

export interface FollowerOptions {
  copy: StateCopy
  /** Asks the owner for its whole state, unless it still has the head that we have. */
  read: (have: Head | null, timeout: number) => Promise<unknown>
  onchange: (change: CopyChange) => void
  /** Called when the owner has answered, with its state or a denial. */
  onsettled: () => void
  onnotice: (notice: SeaportError) => void
  /** After what time an owner that gave no answer, or a bad one, is asked again, in ms. */
  retry?: number | undefined
}

const RETRY_MS = 2000
/**
 * Timeouts for an answer, by how often none came. The first is short, because a new link may be dead; the others are
 * long, because a large state takes its time on a slow link.
 */
const TIMEOUTS_MS = [3000, 10_000, 60_000]
/** How many changes may wait while the whole state is read. If there are more, it is read again. */
const MAX_WAITING = 1024
const DENIALS = new Set<string>(['NOT_GRANTED', 'NOT_ALLOWED'])
/** Codes of errors that are the owner's own fault. */
const OFFENCES = new Set<string>(['BAD_SIGNATURE', 'BAD_MESSAGE', 'CONFLICT', 'LIMIT_REACHED'])

/**
 * Keeps a copy of one owner's state up to date. It reads all of it first and then applies changes; if some are missing,
 * it reads all again.
 */
export class Follower {
  readonly #options: FollowerOptions
  readonly #turns = new SerialQueue()
  #waiting: unknown[] | null = null
  #timer: NodeJS.Timeout | null = null
  #failures = 0
  #isPaused = false
  #isSettled = false
  #denial: SeaportError | null = null

  constructor(options: FollowerOptions) {
    this.#options = options
  }

  /** Whether the owner has answered. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  /** Why the owner does not let us read; null if it does. */
  get denial(): SeaportError | null {
    return this.#denial
  }

  /** Reads the whole state. Called when the owner's changes are heard from now on, so that nothing falls in between. */
  sync() {
    this.#isPaused = false
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    // A read that is under way began before these changes were heard, so it does not count.
    this.#waiting = []
    void this.#turns.run(() => this.#read())
  }

  take(change: unknown) {
    if (!this.#waiting) {
      if (!this.#apply(change)) this.sync()
      return
    }
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(change)
  }

  deny(reason: SeaportError) {
    this.#denial = reason
    this.#settle()
  }

  /** Called when the owner is gone. */
  pause() {
    this.#isPaused = true
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
  }

  close() {
    this.pause()
    this.#settle()
  }

  /** Never rejects. */
  async #read() {
    const { copy, read, onchange } = this.#options
    if (this.#isPaused) return
    try {
      const timeout = TIMEOUTS_MS[Math.min(this.#failures, TIMEOUTS_MS.length - 1)] as number
      const answer = (await read(copy.head, timeout)) as
        | { head?: unknown; same?: unknown }
        | undefined
      const isNews = answer?.head && answer.same !== true
      if (isNews) for (const change of await copy.takeSnapshot(answer)) onchange(change)
      this.#denial = null
      this.#failures = 0
      this.#settle()
      const waiting = this.#waiting ?? []
      this.#waiting = null
      // If changes are missing because too many were waiting, the state is read again.
      if (!waiting.every((change) => this.#apply(change))) this.#syncLater()
    } catch (error) {
      this.#onfailed(error as SeaportError)
    }
  }

  /** @returns false if changes before it are missing */
  #apply(value: unknown): boolean {
    try {
      const change = this.#options.copy.takeChange(value)
      if (change === 'gap') return false
      if (change !== 'known') this.#options.onchange(change)
    } catch (error) {
      this.#options.onnotice(error as SeaportError)
      this.#syncLater()
    }
    return true
  }

  #onfailed(error: SeaportError) {
    this.#failures++
    if (DENIALS.has(error.code)) return this.deny(error)
    // An instance of an older build has no state.
    if (error.code === 'UNKNOWN_COMMAND') return this.#settle()
    if (OFFENCES.has(error.code)) {
      this.#options.onnotice(error)
      this.#settle()
    }
    this.#syncLater()
  }

  #syncLater() {
    if (this.#isPaused || this.#timer) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.sync()
    }, this.#options.retry ?? RETRY_MS)
    this.#timer.unref()
  }

  #settle() {
    this.#isSettled = true
    this.#options.onsettled()
  }
}
