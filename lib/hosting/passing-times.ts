import type { Instance } from '../registry/replica/directory.js'

/** For how long instances of other hosts have passed, as we have seen it. */
export class PassingTimes {
  /** When each was first seen to pass, by `performance.now()`. */
  readonly #since = new Map<string, number>()

  /**
   * @param steady in ms
   * @returns how long until an instance has passed for this time, in ms; Infinity if it does not pass. One that is stale is
   *   not known to have stopped
   */
  left({ servicePublicKey: key, status }: Instance, steady: number): number {
    if (status !== 'passing') {
      this.#since.delete(key)
      return status === 'stale' ? 0 : Number.POSITIVE_INFINITY
    }
    const since = this.#since.get(key) ?? performance.now()
    this.#since.set(key, since)
    return since + steady - performance.now()
  }
}
