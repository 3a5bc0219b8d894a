/** Waits between calls at a registrar that does not answer; the last one repeats. */
const BACKOFFS_MS = [5_000, 15_000, 60_000, 300_000, 900_000]

/** When to call again at those who did not answer. Keys are hex. */
export class CallBackoff {
  readonly #now: () => number
  readonly #calls = new Map<string, { count: number; nextAt: number }>()

  constructor(now = () => performance.now()) {
    this.#now = now
  }

  /** Those of them whose time has come. */
  due(keys: readonly string[]): string[] {
    return keys.filter((key) => (this.#calls.get(key)?.nextAt ?? 0) <= this.#now())
  }

  called(key: string) {
    const count = this.#calls.get(key)?.count ?? 0
    const wait = BACKOFFS_MS[Math.min(count, BACKOFFS_MS.length - 1)] as number
    this.#calls.set(key, { count: count + 1, nextAt: this.#now() + wait })
  }

  /** It answered, or is of no use any more. */
  forget(key: string) {
    this.#calls.delete(key)
  }
}
