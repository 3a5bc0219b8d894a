export interface HeartbeatOptions {
  /** Whether anybody waits for the other side. The heartbeat stops by itself when nobody does. */
  isNeeded: () => boolean
  ping: () => void
  /** The other side was deaf, and answers. */
  onrevived?: () => void
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
 *
 * To be heard is to live. But whoever is heard may not hear us: after a change of its address, what it sends
 * still comes. So it is deaf when it does not answer what it is asked.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #interval: number
  readonly #deadAfter: number
  #timer: NodeJS.Timeout | null = null
  #hasHeard = false
  #silentIntervals = 0
  /** Whether the first interval runs and nothing was answered yet. */
  #isFresh = false
  /** Whole intervals that the oldest open question has waited, -1 in its first; null without one. */
  #unanswered: number | null = null
  #answers = 0

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#interval = options.interval ?? INTERVAL_MS
    this.#deadAfter = options.deadAfter ?? DEAD_AFTER_MS
  }

  /** Whether the other side left us without a word for an interval or more. */
  get isSilent(): boolean {
    return this.#silentIntervals > 0 && !this.#hasHeard
  }

  /** Whether it left us without an answer for an interval or more. */
  get isDeaf(): boolean {
    return this.#unanswered !== null && this.#unanswered > 0
  }

  /** Starts, if it does not run already. */
  start() {
    if (this.#timer) return
    this.#hasHeard = false
    this.#silentIntervals = 0
    this.#isFresh = true
    this.#unanswered = null
    this.#timer = setInterval(() => this.beat(), this.#interval)
    this.#timer.unref()
  }

  stop() {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#silentIntervals = 0
    this.#unanswered = null
  }

  /**
   * Something was asked that the other side answers.
   *
   * @returns what `missed` takes
   */
  ask(): number {
    if (this.#timer) this.#unanswered ??= this.#isFresh ? 0 : -1
    return this.#answers
  }

  /** Whoever asked then has given up. If nobody was answered since, a ping neither, the other side is deaf. */
  missed(asked: number) {
    const wasPinged = this.#unanswered !== null && this.#unanswered >= 0 && !this.#isFresh
    if (wasPinged && asked === this.#answers) this.#unanswered = Math.max(1, this.#unanswered ?? 0)
  }

  /** Anything came from the other side. */
  heard() {
    this.#hasHeard = true
  }

  /** What came was an answer. */
  answered() {
    const wasDeaf = this.isDeaf
    this.#answers++
    this.#isFresh = false
    this.#unanswered = null
    if (wasDeaf) this.#options.onrevived?.()
  }

  /** An interval has passed. */
  beat() {
    if (!this.#timer) return
    if (!this.#options.isNeeded()) return this.stop()
    this.#silentIntervals = this.#hasHeard ? 0 : this.#silentIntervals + 1
    this.#hasHeard = false
    this.#isFresh = false
    if (this.#silentIntervals * this.#interval >= this.#deadAfter) {
      this.stop()
      return this.#options.ondead()
    }
    if (this.#unanswered !== null) this.#unanswered++
    // The first interval without a word may only mean that there was nothing to say.
    if (this.#silentIntervals === 0 && this.#unanswered === null) return
    this.#unanswered ??= 0
    this.#options.ping()
  }
}
