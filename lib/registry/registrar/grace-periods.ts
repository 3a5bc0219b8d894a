import { startTimer } from '../../core/timer.js'

/** A timer for each owner that has some time to come back before its record is removed. */
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

  /** The instances whose owners are waited for. */
  keys(): string[] {
    return [...this.#timers.keys()]
  }

  has(key: string): boolean {
    return this.#timers.has(key)
  }

  /** Starts a period of so many ms, in place of one that runs. */
  give(key: string, ms: number) {
    this.end(key)
    if (this.#closed) return
    const over = () => {
      this.#timers.delete(key)
      this.#onover(key)
    }
    this.#timers.set(key, startTimer(over, ms))
  }

  /** Stops the period: the owner is back, or is known to have left. */
  end(key: string) {
    clearTimeout(this.#timers.get(key))
    this.#timers.delete(key)
  }

  /** Stops all periods, and starts no more. */
  close() {
    this.#closed = true
    for (const key of this.keys()) this.end(key)
  }
}
