export interface HeartbeatOptions {
  /** Whether anybody waits for the other side. The heartbeat stops by itself when nobody does. */
  isNeeded: () => boolean
  ping: () => void
  /** Nothing was heard for as long as `deadAfter`. */
  ondead: () => void
  /** In ms. */
  interval?: number | undefined
  /** In ms. */
  deadAfter?: number | undefined
}

const INTERVAL_MS = 1000
const DEAD_AFTER_MS = 10_000

/**
 * Notices that the other side has fallen silent, and asks whether it is still there. Counts
 * intervals and does not compare clocks: after a pause of our own process (a debugger, a laptop's
 * sleep) the other side has its full time to answer.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #interval: number
  readonly #deadAfter: number
  #timer: NodeJS.Timeout | null = null
  #hasHeard = false
  #silentIntervals = 0

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#interval = options.interval ?? INTERVAL_MS
    this.#deadAfter = options.deadAfter ?? DEAD_AFTER_MS
  }

  /** Whether the other side left us without an answer for an interval or more. */
  get isSilent(): boolean {
    return this.#silentIntervals > 0 && !this.#hasHeard
  }

  /** Starts, if it does not run already. */
  start() {
    if (this.#timer) return
    this.#hasHeard = false
    this.#silentIntervals = 0
    this.#timer = setInterval(() => this.beat(), this.#interval)
    this.#timer.unref()
  }

  stop() {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#silentIntervals = 0
  }

  /** Anything came from the other side. */
  heard() {
    this.#hasHeard = true
  }

  /** An interval has passed. */
  beat() {
    if (!this.#timer) return
    if (!this.#options.isNeeded()) return this.stop()
    this.#silentIntervals = this.#hasHeard ? 0 : this.#silentIntervals + 1
    this.#hasHeard = false
    if (this.#silentIntervals * this.#interval >= this.#deadAfter) {
      this.stop()
      return this.#options.ondead()
    }
    // The first interval without a word may only mean that there was nothing to say.
    if (this.#silentIntervals > 0) this.#options.ping()
  }
}
