import { StateCopy } from './copy.js'
import type { Heritage, Offers } from './state.js'
import {
  type Claim,
  compareHeads,
  type Head,
  parseSnapshot,
  type Scope,
  verifyHead
} from './statements.js'

export interface RecoveryOptions {
  scope: Scope
  /** Whether a key is or was an instance of this role. A state of any other key may be made up. */
  isKnown: (owner: string) => boolean
  /** Our signed word that we take over from an owner. */
  claimOf: (owner: string) => Claim
}

/** Finds the latest state of instances that are gone, among those in our folder and those that watchers offer. */
export class Recovery implements Offers {
  readonly #options: RecoveryOptions
  #best: Heritage | null = null

  constructor(options: RecoveryOptions) {
    this.#options = options
  }

  /** The latest state so far; null if there is none. */
  get best(): Heritage | null {
    return this.#best
  }

  add(heritage: Heritage) {
    if (!this.#best || compareHeads(heritage.head, this.#best.head) > 0) this.#best = heritage
  }

  /** Whether a watcher's copy would be later than the best so far. */
  isWanted(head: Head): boolean {
    if (!this.#options.isKnown(head.owner)) return false
    if (this.#best && compareHeads(head, this.#best.head) <= 0) return false
    try {
      verifyHead(this.#options.scope, head)
      return true
    } catch {
      return false
    }
  }

  /** @throws BAD_MESSAGE, BAD_SIGNATURE, LIMIT_REACHED */
  async take(snapshot: unknown): Promise<boolean> {
    const { scope, claimOf } = this.#options
    const { head } = parseSnapshot(snapshot)
    if (!this.isWanted(head)) return false
    const copy = new StateCopy(scope, head.owner)
    await copy.takeSnapshot(snapshot)
    this.add({ head, entries: [...copy.entries()], claim: claimOf(head.owner) })
    return true
  }
}
