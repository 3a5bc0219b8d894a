import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { Journal, type JournalFile } from './journal.js'
import { StateMap } from './map.js'
import {
  type Head,
  type Scope,
  type SignedEntry,
  type Succession,
  signEntry,
  signHead
} from './statements.js'
import { changeLine, mapLines, overLine, readStored, type Stored } from './stored.js'

export interface LedgerOptions {
  scope: Scope
  successors: readonly string[]
  keyPair: KeyPair
  onnotice: (notice: SeaportError) => void
}

/** A change to be made. */
export interface Change {
  name: string
  /** The value as JSON; null deletes the name. */
  json: string | null
  /** Makes the change only if the entry has this revision, or does not exist for 0. */
  if: number | undefined
}

/** A journal is compacted when it is this many times as large as its content. */
const COMPACT_FACTOR = 4
const MIN_COMPACTED_BYTES = 64 * 1024
/** About how much a line takes beside its name and value. */
const LINE_BYTES = 300
const FIRST_TERM = 1

/**
 * An owner's map and its journal. Readers see a prepared change only once it is on the disk. Callers may make only one
 * change at a time.
 */
export class Ledger {
  readonly #options: LedgerOptions
  readonly #journal: Journal
  #map = new StateMap()
  /** The head of what is on the disk. */
  #head: Head | null = null
  #succession: Succession | null = null
  /** The head that includes prepared changes. */
  #nextHead: Head | null = null
  #term = FIRST_TERM
  /** Entries as they are on the disk, for names with prepared changes. */
  readonly #before = new Map<string, SignedEntry | undefined>()
  #lines: string[] = []

  private constructor(journal: Journal, options: LedgerOptions) {
    this.#journal = journal
    this.#options = options
  }

  /** @throws STORAGE_FAILED */
  static async open(file: JournalFile, options: LedgerOptions): Promise<Ledger> {
    try {
      const { journal, lines, isDamaged } = await Journal.open(file)
      const ledger = new Ledger(journal, options)
      await ledger.#restore(lines, isDamaged)
      return ledger
    } catch (cause) {
      file.release()
      throw cannotKeep(cause)
    }
  }

  /** Null if nothing was ever written. */
  get head(): Head | null {
    return this.#head
  }

  get succession(): Succession | null {
    return this.#succession
  }

  get rev(): number {
    return this.#head?.rev ?? 0
  }

  get size(): number {
    return [...this.entries()].length
  }

  get(name: string): SignedEntry | undefined {
    return this.#before.has(name) ? this.#before.get(name) : this.#map.get(name)
  }

  /** The entries on the disk. */
  *entries(): Iterable<SignedEntry> {
    for (const entry of this.#map.entries()) if (!this.#before.has(entry.name)) yield entry
    for (const entry of this.#before.values()) if (entry) yield entry
  }

  /**
   * Signs a change. `commit` writes it.
   *
   * @throws CONFLICT, LIMIT_REACHED
   */
  prepare({ name, json, if: wanted }: Change): { entry: SignedEntry; head: Head } {
    const { scope, keyPair } = this.#options
    const known = this.#map.get(name)
    const rev = known?.rev ?? 0
    if (wanted !== undefined && wanted !== rev) {
      throw SeaportError.CONFLICT(
        rev === 0
          ? `there is no entry ${name}, so it has not revision ${wanted}`
          : `${name} has revision ${rev}, not ${wanted}: read it again, and write what follows from that`
      )
    }
    const term = this.#term
    const next = (this.#nextHead?.rev ?? 0) + 1
    const entry = signEntry(scope, { term }, { name, rev: next, json }, keyPair)
    this.#map.put(entry)
    if (!this.#before.has(name)) this.#before.set(name, known)
    const head = this.#sign(next)
    this.#nextHead = head
    this.#lines.push(changeLine(entry, head))
    return { entry, head }
  }

  /**
   * Writes the prepared changes. If it fails, none of them was made.
   *
   * @throws STORAGE_FAILED
   */
  async commit() {
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    try {
      if (this.#journal.isTorn) await this.#journal.rewrite(this.#committedLines())
      await this.#journal.append(lines)
    } catch (cause) {
      this.#revert()
      throw cannotKeep(cause)
    }
    this.#head = this.#nextHead
    this.#before.clear()
    await this.#compactMaybe()
  }

  /**
   * Signs a whole map anew: our own in a later term, or that of another owner.
   *
   * @throws STORAGE_FAILED, LIMIT_REACHED; nothing was changed then
   */
  async renew({
    term,
    rev,
    entries = this.#map.entries(),
    succession = this.#succession
  }: {
    term: number
    rev: number
    entries?: Iterable<SignedEntry>
    succession?: Succession | null
  }) {
    const { scope, keyPair } = this.#options
    const map = new StateMap()
    for (const entry of entries) map.put(signEntry(scope, { term }, entry, keyPair))
    const before = { map: this.#map, term: this.#term }
    this.#map = map
    this.#term = term
    const head = this.#sign(rev)
    try {
      await this.#journal.rewrite([...mapLines(map, head, succession)])
    } catch (cause) {
      this.#map = before.map
      this.#term = before.term
      throw cannotKeep(cause)
    }
    this.#head = head
    this.#nextHead = head
    this.#succession = succession
  }

  /**
   * Notes that another owner has the map from now on.
   *
   * @throws STORAGE_FAILED
   */
  async noteOver(owner: string) {
    try {
      await this.#journal.append([overLine(owner)])
    } catch (cause) {
      throw cannotKeep(cause)
    }
  }

  async close() {
    await this.#journal.close().catch(() => {})
  }

  #revert() {
    // First all of them are removed. Otherwise the map could be too large in between, and would not take an entry back.
    for (const name of this.#before.keys()) this.#map.remove(name)
    for (const entry of this.#before.values()) if (entry) this.#map.put(entry)
    this.#before.clear()
    this.#nextHead = this.#head
  }

  #sign(rev: number): Head {
    const { scope, successors, keyPair } = this.#options
    const fields = { term: this.#term, rev, hash: this.#map.hash(), successors }
    return signHead(scope, fields, keyPair)
  }

  #committedLines(): string[] {
    const map = new StateMap()
    for (const entry of this.entries()) map.put(entry)
    return this.#head ? [...mapLines(map, this.#head, this.#succession)] : []
  }

  /** Compacts the journal if it has grown too large. If that fails, it is used as it is. */
  async #compactMaybe() {
    if (!this.#head) return
    const needed = this.#map.bytes + this.#map.size * LINE_BYTES
    if (this.#journal.size < Math.max(COMPACT_FACTOR * needed, MIN_COMPACTED_BYTES)) return
    try {
      await this.#journal.rewrite([...mapLines(this.#map, this.#head, this.#succession)])
    } catch (cause) {
      this.#options.onnotice(cannotKeep(cause))
    }
  }

  async #restore(lines: readonly unknown[], isDamaged: boolean) {
    const { keyPair, successors, onnotice } = this.#options
    const stored = await this.#read(lines)
    if (isDamaged) {
      onnotice(cannotKeep(new Error('the end of its journal was damaged, and is lost')))
      // What was lost may have been of the first term.
      if (!stored) this.#term = Math.max(this.#term, FIRST_TERM + 1)
    }
    if (!stored || stored.head.owner !== toHex(keyPair.publicKey)) return
    const { map, head, succession, over } = stored
    if (over !== null) {
      // Another owner has this map. Ours begins anew, in a later term than the one that was handed over.
      return this.renew({ term: head.term + 1, rev: head.rev, entries: [], succession: null })
    }
    this.#map = map
    this.#head = head
    this.#nextHead = head
    this.#term = head.term
    this.#succession = succession
    if (isDamaged) {
      await this.renew({ term: head.term + 1, rev: head.rev })
    } else if (JSON.stringify(head.successors) !== JSON.stringify(successors)) {
      await this.renew({ term: head.term, rev: head.rev + 1 })
    }
  }

  /** Reads a journal. One that is not ours, or whose signatures are wrong, is set aside. */
  async #read(lines: readonly unknown[]): Promise<Stored | null> {
    try {
      return readStored(lines, this.#options.scope)
    } catch (cause) {
      this.#term = termOf(lines) + 1
      this.#options.onnotice(cannotKeep(cause))
      await this.#journal.setAside()
      return null
    }
  }
}

function termOf(lines: readonly unknown[]): number {
  let term = FIRST_TERM
  for (const line of lines) {
    const value = (line as { head?: { term?: unknown } } | null)?.head?.term
    if (Number.isSafeInteger(value)) term = Math.max(term, value as number)
  }
  return Math.min(term, 2 ** 50)
}

function cannotKeep(cause: unknown): SeaportError {
  if (cause instanceof SeaportError && cause.code === 'LIMIT_REACHED') return cause
  const { message } = cause as Error
  return SeaportError.STORAGE_FAILED(
    `the state cannot be kept (${message}); make room in the service's folder, or choose another with --dir`,
    cause
  )
}
