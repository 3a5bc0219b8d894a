/** How far ahead a date may be of all that is known of the time, in ms. */
const MAX_AHEAD_MS = 24 * 60 * 60 * 1000

/**
 * What time it is in the registry: the newest date that its own key signed, in a certificate, a grant or a revocation.
 * Only the registry moves it, so that no member can, and it needs no clock of ours.
 */
export class SignedDates {
  readonly #now: () => number
  readonly #uptime: () => number
  readonly #listeners = new Set<() => void>()
  #newest = 0
  /** When that was heard, by our uptime. */
  #heardAt = 0

  /**
   * @param now ms since 1970
   * @param uptime ms since some moment, and no clock that anybody sets
   */
  constructor(now = Date.now, uptime = () => performance.now()) {
    this.#now = now
    this.#uptime = uptime
  }

  /** Ms since 1970, 0 if nothing is known. */
  get newest(): number {
    return this.#newest
  }

  /** Takes a date that the registry's key signed. */
  hear(date: number) {
    if (date <= this.#newest) return
    this.#newest = date
    this.#heardAt = this.#uptime()
    for (const listener of [...this.#listeners]) listener()
  }

  /** Calls the listener after each date that is later than all before, until the returned function is called. */
  watch(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Our own clock, unless the registry is known to be later. There, too, time goes on. */
  get now(): number {
    if (this.#newest === 0) return this.#now()
    const since = Math.floor(this.#uptime() - this.#heardAt)
    return Math.max(this.#now(), this.#newest + since)
  }

  /** The latest date that a registrar takes of others: either clock may be behind, and both are not by more than this. */
  get latest(): number {
    return this.now + MAX_AHEAD_MS
  }
}
