/** Silent beats after which the other side counts as dead: between 3 and 4 intervals. */
const MAX_SILENT_BEATS = 3
/** Beats until what comes is certain to have been sent after a pause, and not found waiting. */
const RECOVERY_BEATS = 2

/**
 * Notices that the other side of a connection is dead. Counts beats, not time: a pause of our own process
 * is one beat long, and cuts nobody. But where the other side pings, a pause after which it has given us up
 * is told by the time between two beats; then the first silent one is enough.
 */
export class FailureDetector {
  readonly #now: () => number
  #silentBeats = 0
  #beatAt = Infinity
  #recovery = 0

  /** @param now in ms */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Whether nothing came since the last beat. */
  get isDoubtful(): boolean {
    return this.#silentBeats > 0
  }

  /**
   * An interval has passed.
   *
   * @param isHeard whether anything came in it
   * @param interval how often the other side pings, in ms; null if it is pinged
   * @returns whether it counts as dead
   */
  beat(isHeard: boolean, interval: number | null): boolean {
    const away = this.#now() - this.#beatAt
    this.#beatAt = this.#now()
    if (interval !== null && away > (MAX_SILENT_BEATS + 1) * interval) {
      this.#recovery = RECOVERY_BEATS
      this.#silentBeats = 0
      return false
    }
    this.#silentBeats = isHeard ? 0 : this.#silentBeats + 1
    if (!isHeard && this.#recovery > 0) return true
    this.#recovery = Math.max(this.#recovery - 1, 0)
    return this.#silentBeats >= MAX_SILENT_BEATS
  }
}
