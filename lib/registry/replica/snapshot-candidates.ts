import type { Snapshot } from '../trust/snapshot.js'

/** So many snapshots are remembered; the oldest are forgotten first. */
const MAX_CANDIDATES = 4

/** The snapshots of one log that others say they have, and which is to be tried next. */
export class SnapshotCandidates {
  /** How often each failed. */
  readonly #failures = new Map<Snapshot, number>()

  /** Returns whether the snapshot was unknown. */
  add(snapshot: Snapshot): boolean {
    for (const { key } of this.#failures.keys()) if (key === snapshot.key) return false
    this.#failures.set(snapshot, 0)
    if (this.#failures.size > MAX_CANDIDATES)
      this.#failures.delete(this.#sorted().at(-1) as Snapshot)
    return true
  }

  /**
   * The newest of those that failed the fewest times. One that failed may be tried again, because whoever had it may
   * come back.
   *
   * @param length what it has to go beyond
   */
  best(length: number): Snapshot | null {
    const useful = this.#sorted().filter((snapshot) => snapshot.length > length)
    const least = Math.min(...useful.map((snapshot) => this.#failures.get(snapshot) ?? 0))
    return useful.find((snapshot) => this.#failures.get(snapshot) === least) ?? null
  }

  hasFailed(snapshot: Snapshot): boolean {
    return this.#failures.get(snapshot) !== 0
  }

  failed(snapshot: Snapshot) {
    this.#failures.set(snapshot, (this.#failures.get(snapshot) ?? 0) + 1)
  }

  /** Newest first. */
  #sorted(): Snapshot[] {
    return [...this.#failures.keys()].sort((a, b) => b.length - a.length)
  }
}
