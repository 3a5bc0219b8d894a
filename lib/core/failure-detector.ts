export interface FailureDetectorOptions {
  /** Silent beats in a row after which the other side counts as dead. Default: 3, so after 3 to 4 intervals. */
  maxSilentBeats?: number
  /** In ms. */
  now?: () => number
}

const MAX_SILENT_BEATS = 3
/** For so many beats after a pause of our own, what we read may have lain there since before it. */
const RECOVERY_BEATS = 2

/**
 * Notices that the other side of a connection is dead. Counts beats, not time: a pause of our own process
 * is one beat long, and cuts nobody. But where the other side pings, a pause after which it has given us up
 * is told by the time between two beats; then the first silent one is enough.
 */
export class FailureDetector {
  readonly #maxSilentBeats: number
  readonly #now: () => number
  #silentBeats = 0
  #beatAt = Infinity
  #recovery = 0

  constructor({
    maxSilentBeats = MAX_SILENT_BEATS,
    now = () => performance.now()
  }: FailureDetectorOptions = {}) {
    this.#maxSilentBeats = maxSilentBeats
    this.#now = now
  }

  /** Whether nothing came in the interval before the last beat. */
  get isDoubtful(): boolean {
    return this.#silentBeats > 0
  }

  /**
   * An interval has passed.
   *
   * @param isHeard whether anything came in it
   * @param interval how often the other side pings, in ms; null if only we ping
   * @returns whether it counts as dead
   */
  beat(isHeard: boolean, interval: number | null): boolean {
    const away = this.#now() - this.#beatAt
    this.#beatAt = this.#now()
    if (interval !== null && away > (this.#maxSilentBeats + 1) * interval) {
      this.#recovery = RECOVERY_BEATS
      this.#silentBeats = 0
      return false
    }
    this.#silentBeats = isHeard ? 0 : this.#silentBeats + 1
    if (!isHeard && this.#recovery > 0) return true
    this.#recovery = Math.max(this.#recovery - 1, 0)
    return this.#silentBeats >= this.#maxSilentBeats
  }
}
