/** Owners that have some time to come back, before what they registered is given up. */
export class GracePeriods {
  readonly #onover: (key: string) => void
  readonly #timers = new Map<string, NodeJS.Timeout>()
  #closed = false

  constructor(onover: (key: string) => void) {
    this.#onover = onover
  }

  get size(): number {
    return this.#timers.size
  }

  /** The instances that are waited for. */
  keys(): string[] {
    return [...this.#timers.keys()]
  }

  has(key: string): boolean {
    return this.#timers.has(key)
  }

  /** Gives so many ms from now, whatever was given before. */
  give(key: string, ms: number) {
    this.end(key)
    if (this.#closed) return
    const over = () => {
      this.#timers.delete(key)
      this.#onover(key)
    }
    this.#timers.set(key, setTimeout(over, ms))
  }

  /** The owner is back, or known to be gone. */
  end(key: string) {
    clearTimeout(this.#timers.get(key))
    this.#timers.delete(key)
  }

  /** Waits for nobody any more. */
  close() {
    this.#closed = true
    for (const key of this.keys()) this.end(key)
  }
}
