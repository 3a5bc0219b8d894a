export interface KeepingOptions {
  /** Asks mailboxes to keep one letter. Never rejects. */
  ask: (id: string) => Promise<void>
  /** The letters whose receivers are away. */
  away: () => string[]
}

/** Has mailboxes asked to keep letters, about each letter once at a time. */
export class Keeping {
  readonly #options: KeepingOptions
  readonly #asking = new Map<string, Promise<void>>()
  #isReviewing = false
  /** Whether a review was asked for while one was under way, so that another one follows. */
  #isStale = false

  constructor(options: KeepingOptions) {
    this.#options = options
  }

  /** Asks about one letter. Never rejects. */
  keep(id: string): Promise<void> {
    const asking =
      this.#asking.get(id) ?? this.#options.ask(id).finally(() => this.#asking.delete(id))
    this.#asking.set(id, asking)
    return asking
  }

  /** Asks about all letters whose receivers are away, one after the other. Never rejects. */
  async review() {
    this.#isStale = this.#isReviewing
    if (this.#isReviewing) return
    this.#isReviewing = true
    do {
      this.#isStale = false
      for (const id of this.#options.away()) await this.keep(id)
    } while (this.#isStale)
    this.#isReviewing = false
  }
}
