/** How many leases there are at the moment in which another one is lost. */
export interface Census {
  /** Leases that somebody holds, and those whose owners have a moment to come back. */
  held: number
  /** Of these, those whose owners are silent or away just now. */
  doubtful: number
}

/** If fewer leases than this are lost, it is taken for chance, whatever share of all they are. */
const MIN_LEASES = 10
/**
 * Leases that are lost within this time are lost at once, in ms. It is longer than a beat, so that every silent
 * owner is noticed in it.
 */
const WINDOW_MS = 5000

/**
 * Tells services that end from leases that vanish all at once, as they do when our own network fails:
 * at least ten, and more than half of all. Those that are about to vanish count, too: who falls silent
 * in the same moment is noticed one after the other.
 */
export class Outage {
  readonly #now: () => number
  readonly #lostAt = new Map<string, number>()
  /** Leases that were lost first, and were taken for chance. */
  readonly #misjudged = new Set<string>()

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * Takes the loss of a lease.
   *
   * @returns what is suspected to be there all the same: nothing, or this one, and others that were lost just before
   */
  suspects(key: string, { held, doubtful }: Census): string[] {
    this.#forget()
    this.#lostAt.delete(key)
    this.#lostAt.set(key, this.#now())
    this.#misjudged.add(key)
    const lost = this.#lostAt.size
    const vanishing = lost + doubtful
    if (vanishing < MIN_LEASES || vanishing * 2 <= lost + held) return []
    const suspects = [...this.#misjudged]
    this.#misjudged.clear()
    return suspects
  }

  /** The owner is back, or left for good. */
  end(key: string) {
    this.#lostAt.delete(key)
    this.#misjudged.delete(key)
  }

  #forget() {
    const since = this.#now() - WINDOW_MS
    for (const [key, at] of this.#lostAt) {
      if (at >= since) break
      this.end(key)
    }
  }
}
