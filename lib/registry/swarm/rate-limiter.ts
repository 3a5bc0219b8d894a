export interface RateLimiterOptions {
  /** Messages a second. */
  rate: number
  /** Messages at once. */
  burst: number
  now?: () => number
}

/** Keys whose budget is remembered. Those that spent the least lately are forgotten first. */
const MAX_KEYS = 10_000

/**
 * How much each key may send: a rate, and more of it in a burst. It is the key's, whatever connections
 * it comes by, and outlives them. One number each: when all of the budget will be there again (ITU-T
 * I.371, the generic cell rate algorithm).
 */
export class RateLimiter {
  readonly #interval: number
  readonly #tolerance: number
  readonly #now: () => number
  readonly #fullAt = new Map<string, number>()

  constructor({ rate, burst, now = () => performance.now() }: RateLimiterOptions) {
    this.#interval = 1000 / rate
    this.#tolerance = burst * this.#interval
    this.#now = now
  }

  /** How many keys have spent something of late. */
  get size(): number {
    return this.#fullAt.size
  }

  /** Takes one message, or so many of them, and tells how long the next one should wait, in ms; 0 if it need not. */
  spend(key: string, count = 1): number {
    const now = this.#now()
    const fullAt = Math.max(this.#fullAt.get(key) ?? now, now) + this.#interval * count
    this.#fullAt.delete(key)
    this.#fullAt.set(key, fullAt)
    if (this.#fullAt.size > MAX_KEYS) this.#forget(now)
    return Math.max(fullAt - this.#tolerance - now, 0)
  }

  /** Those who have all of it again, and then half of the rest: who was silent the longest. */
  #forget(now: number) {
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key)
    const excess = this.#fullAt.size - MAX_KEYS / 2
    for (const key of [...this.#fullAt.keys()].slice(0, Math.max(excess, 0))) {
      this.#fullAt.delete(key)
    }
  }
}
