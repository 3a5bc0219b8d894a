/** How far ahead a date may be of all that is known of the time, in ms. */
const MAX_AHEAD_MS = 24 * 60 * 60 * 1000

/**
 * What time it is in the registry: the newest date that its own key signed, in a certificate, a grant or a revocation.
 * Only the registry moves it, so that no member can, and it needs no clock of ours.
 */
export class SignedDates {
  readonly #now: () => number
  #newest = 0

  constructor(now = Date.now) {
    this.#now = now
  }

  /** Ms since 1970, 0 if nothing is known. */
  get newest(): number {
    return this.#newest
  }

  /** Takes a date that the registry's key signed. */
  hear(date: number) {
    this.#newest = Math.max(this.#newest, date)
  }

  /** Our own clock, unless the registry is known to be later. */
  get now(): number {
    return Math.max(this.#now(), this.#newest)
  }

  /** The latest date that a registrar takes of others: either clock may be behind, and both are not by more than this. */
  get latest(): number {
    return this.now + MAX_AHEAD_MS
  }
}
