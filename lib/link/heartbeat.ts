import { FailureDetector } from '../core/failure-detector.js'

export interface HeartbeatOptions {
  /** Whether anybody waits for the other side. When nobody does, the heartbeat stops. */
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
 * Asks the other side of a link for a sign of life while it is silent, and says so when it counts as dead, as its
 * failure detector judges. A side that is heard is alive. But it may not hear us: after a change of its address, what
 * it sends still comes here. So a side that does not answer what it is asked is *deaf*.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions
  readonly #interval: number
  readonly #maxSilentBeats: number
  #detector: FailureDetector
  #timer: NodeJS.Timeout | null = null
  #hasHeard = false
  /** Whether this is the first interval, and nothing was answered in it yet. */
  #isFresh = false
  /** Whole intervals that the oldest open question has waited, -1 in its first; null without one. */
  #unanswered: number | null = null
  #answers = 0

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#interval = options.interval ?? INTERVAL_MS
    this.#maxSilentBeats = Math.ceil((options.deadAfter ?? DEAD_AFTER_MS) / this.#interval)
    this.#detector = this.#newDetector()
  }

  /** Whether nothing came from the other side for an interval or more. */
  get isSilent(): boolean {
    return this.#detector.isDoubtful && !this.#hasHeard
  }

  /** Whether a question has waited for its answer for an interval or more. */
  get isDeaf(): boolean {
    return this.#unanswered !== null && this.#unanswered > 0
  }

  /** Starts, if it does not run already. */
  start() {
    if (this.#timer) return
    this.#hasHeard = false
    this.#detector = this.#newDetector()
    this.#isFresh = true
    this.#unanswered = null
    this.#timer = setInterval(() => this.beat(), this.#interval)
    this.#timer.unref()
  }

  stop() {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
    this.#detector = this.#newDetector()
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

  /**
   * Whoever asked has given up waiting. The other side is deaf if it has answered nothing since, not even a ping.
   *
   * @param asked what `ask` returned
   */
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
    const isDead = this.#detector.beat(this.#hasHeard, null)
    this.#hasHeard = false
    this.#isFresh = false
    if (isDead) {
      this.stop()
      return this.#options.ondead()
    }
    if (this.#unanswered !== null) this.#unanswered++
    // The other side was heard, and owes no answer.
    if (!this.#detector.isDoubtful && this.#unanswered === null) return
    this.#unanswered ??= 0
    this.#options.ping()
  }

  #newDetector(): FailureDetector {
    return new FailureDetector({ maxSilentBeats: this.#maxSilentBeats })
  }
}
