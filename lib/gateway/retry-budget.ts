export interface RetryBudgetOptions {
  /** Retries that each request adds. */
  ratio?: number
  /** Retries that each second adds, so that a quiet gateway has some too. */
  perSecond?: number
  /** Retries that can be saved up. */
  max?: number
  /** How often one request is sent at most. */
  maxAttempts?: number
  /** In ms. */
  now?: () => number
}

const RATIO = 0.2
const PER_SECOND = 10
const MAX_SAVED = 500
const MAX_ATTEMPTS = 3

/**
 * Bounds what retries add to the load, so that they cannot bring down what is struggling already: a
 * fifth of the requests, and ten a second. (Finagle's retry budget.)
 */
export class RetryBudget {
  readonly stats = {
    retries: 0,
    /** Retries that were called for and not made. */
    denied: 0
  }

  readonly #ratio: number
  readonly #perSecond: number
  readonly #max: number
  readonly #maxAttempts: number
  readonly #now: () => number
  #saved: number
  #filledAt: number

  constructor({
    ratio = RATIO,
    perSecond = PER_SECOND,
    max = MAX_SAVED,
    maxAttempts = MAX_ATTEMPTS,
    now = () => performance.now()
  }: RetryBudgetOptions = {}) {
    this.#ratio = ratio
    this.#perSecond = perSecond
    this.#max = max
    this.#maxAttempts = maxAttempts
    this.#now = now
    this.#saved = perSecond
    this.#filledAt = now()
  }

  /** A request came. */
  deposit() {
    this.#saved = Math.min(this.#max, this.#saved + this.#ratio)
  }

  /** Takes one retry, if there is one, for a request that was sent so often. */
  withdraw(attempts: number): boolean {
    if (attempts >= this.#maxAttempts) return false
    const now = this.#now()
    const earned = ((now - this.#filledAt) / 1000) * this.#perSecond
    this.#saved = Math.min(this.#max, this.#saved + earned)
    this.#filledAt = now
    if (this.#saved < 1) {
      this.stats.denied++
      return false
    }
    this.#saved--
    this.stats.retries++
    return true
  }
}
