import { SeaportError } from '../../core/errors.js'
import { StateMap } from './map.js'
import {
  compareHeads,
  type Head,
  isRightful,
  parseEntry,
  parseHead,
  parseSnapshot,
  type Scope,
  type SignedEntry,
  type Succession,
  verifyEntry,
  verifyHead
} from './statements.js'

/** A name whose value has changed. */
export interface CopyChange {
  name: string
  entry: SignedEntry | null
}

/** The term and revision of an owner that never wrote anything. */
const NOTHING = { term: 1, rev: 0 }
/** How many entries are verified before other work gets a turn. */
const VERIFIED_AT_ONCE = 64

/**
 * A watcher's copy of an owner's map. Everything in it was verified, and it is complete according to one head of the
 * owner. It never goes back to an earlier head.
 */
export class StateCopy {
  readonly #scope: Scope
  readonly #owner: string
  #map = new StateMap()
  #head: Head | null = null
  #succession: Succession | null = null
  #isRightful = true

  /** @param owner service key, in hex */
  constructor(scope: Scope, owner: string) {
    this.#scope = scope
    this.#owner = owner
  }

  get head(): Head | null {
    return this.#head
  }

  get succession(): Succession | null {
    return this.#succession
  }

  /** Whether the owner has rightfully succeeded another one. If not, its term does not count. */
  get isRightful(): boolean {
    return this.#isRightful
  }

  get size(): number {
    return this.#map.size
  }

  get bytes(): number {
    return this.#map.bytes
  }

  get(name: string): SignedEntry | undefined {
    return this.#map.get(name)
  }

  entries(): Iterable<SignedEntry> {
    return this.#map.entries()
  }

  /**
   * Takes a whole map. One that is not later than the copy changes nothing.
   *
   * @returns what has changed
   * @throws BAD_MESSAGE, BAD_SIGNATURE, LIMIT_REACHED, CONFLICT for a head that contradicts one that was signed before
   */
  async takeSnapshot(value: unknown): Promise<CopyChange[]> {
    const { head, entries, succession } = parseSnapshot(value)
    this.#checkHead(head)
    const known = this.#head
    if (known && compareHeads(head, known) < 0) {
      throw SeaportError.CONFLICT(
        `${head.owner} shows an earlier state (${head.term}, ${head.rev}) than it had (${known.term}, ${known.rev})`
      )
    }
    if (known && compareHeads(head, known) === 0) return []
    const map = await this.#verified(head, entries)
    let rightful = true
    if (succession && succession.former.owner !== this.#owner) {
      rightful =
        succession.former.term < head.term && isRightful(this.#scope, this.#owner, succession)
    }
    // Single changes may have made the copy later meanwhile.
    if (this.#head && compareHeads(head, this.#head) <= 0) return []
    const before = this.#map
    this.#map = map
    this.#head = head
    this.#succession = succession
    this.#isRightful = rightful
    return differences(before, map)
  }

  /**
   * Takes one change.
   *
   * @returns what has changed; `known` if it was there already, `gap` if changes before it are missing
   * @throws as `takeSnapshot` does
   */
  takeChange(value: unknown): CopyChange | 'known' | 'gap' {
    const { entry: rawEntry, head: rawHead } = (value ?? {}) as { [field: string]: unknown }
    // A head without an entry says that the owner has signed everything anew.
    if (rawEntry === undefined && rawHead !== undefined) return 'gap'
    const [entry, head] = [parseEntry(rawEntry), parseHead(rawHead)]
    this.#checkHead(head)
    const known = this.#head
    if (known && compareHeads(head, known) <= 0) return 'known'
    const { term, rev } = known ?? NOTHING
    if (head.term !== term || head.rev !== rev + 1 || entry.rev !== head.rev) return 'gap'
    verifyEntry(this.#scope, head, entry)
    const before = this.#map.get(entry.name)
    this.#map.put(entry)
    if (this.#map.hash() !== head.hash) {
      before ? this.#map.put(before) : this.#map.remove(entry.name)
      throw notAsSigned(head)
    }
    this.#head = head
    return { name: entry.name, entry: entry.json === null ? null : entry }
  }

  /** @throws BAD_MESSAGE, BAD_SIGNATURE, CONFLICT */
  #checkHead(head: Head) {
    if (head.owner !== this.#owner) {
      throw SeaportError.BAD_MESSAGE(`a state of ${head.owner} from ${this.#owner}`)
    }
    verifyHead(this.#scope, head)
    const known = this.#head
    if (known && compareHeads(head, known) === 0 && head.hash !== known.hash) {
      throw SeaportError.CONFLICT(
        `${head.owner} has signed two states with term ${head.term} and revision ${head.rev}`
      )
    }
  }

  async #verified(head: Head, entries: readonly SignedEntry[]): Promise<StateMap> {
    const map = new StateMap()
    let count = 0
    for (const entry of entries) {
      if (entry.json === null || entry.rev > head.rev || map.get(entry.name))
        throw notAsSigned(head)
      verifyEntry(this.#scope, head, entry)
      map.put(entry)
      if (++count % VERIFIED_AT_ONCE === 0) await new Promise(setImmediate)
    }
    if (map.hash() !== head.hash) throw notAsSigned(head)
    return map
  }
}

function notAsSigned({ owner }: Head): SeaportError {
  return SeaportError.BAD_SIGNATURE(`the state of ${owner} is not what its head says`)
}

function differences(before: StateMap, after: StateMap): CopyChange[] {
  const changes: CopyChange[] = []
  for (const { name } of before.entries()) if (!after.get(name)) changes.push({ name, entry: null })
  for (const entry of after.entries()) {
    const known = before.get(entry.name)
    if (known?.rev !== entry.rev || known.json !== entry.json) {
      changes.push({ name: entry.name, entry })
    }
  }
  return changes
}
