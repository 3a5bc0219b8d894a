import { SeaportError } from '../../core/errors.js'
import { MAX_APPS } from './max-apps.js'
import type { Rights } from './rights.js'
import { SignedDates } from './signed-dates.js'
import type { Statement } from './statement.js'
import { isSigned, type StatementKind } from './statement-kind.js'
import type { StatementKinds } from './statement-kinds.js'

/** Told of a statement that counts from now on, and of the one that counted before. */
export type StatementListener<T extends Statement = Statement> = (
  statement: T,
  before: T | null
) => void

/** Told of two different statements of one subject, the one that counts first. */
export type MeetingListener = (counts: Statement, other: Statement) => void

/**
 * What all logs say together, leases apart: of each kind and subject the statement that counts. Statements of
 * unknown kinds are passed over without a word.
 */
export class Statements {
  readonly kinds: StatementKinds
  /** What the registry's key says of the time. */
  readonly dates: SignedDates
  readonly #rights: Rights
  readonly #isStrict: boolean
  /** By type, then by subject. */
  readonly #current = new Map<string, Map<string, Statement>>()
  readonly #listeners = new Set<StatementListener>()
  readonly #meetings = new Set<MeetingListener>()

  /**
   * @param isStrict whether this is a registrar, which takes nothing that is dated too far ahead. Whoever only reads
   *   may have a wrong clock, and takes what stands in a log
   */
  constructor(
    kinds: StatementKinds,
    rights: Rights,
    { dates = new SignedDates(), isStrict = false } = {}
  ) {
    this.kinds = kinds
    this.dates = dates
    this.#rights = rights
    this.#isStrict = isStrict
  }

  /** Whether a statement is dated no more than a day ahead of all that is known of the time. */
  isTimely(statement: Statement): boolean {
    const kind = this.kinds.get(statement.type)
    if (!kind?.date || kind.signer(statement) === this.#rights.registry) return true
    return kind.date(statement) <= this.dates.latest
  }

  /** The statement that counts for a subject, null if there is none. */
  get<T extends Statement>(kind: StatementKind<T>, subject: string): T | null {
    return (this.#current.get(kind.type)?.get(subject) as T | undefined) ?? null
  }

  /** The statements of a kind that count, one for each subject. */
  list<T extends Statement>(kind: StatementKind<T>): T[] {
    return [...(this.#current.get(kind.type)?.values() ?? [])] as T[]
  }

  /** The statements of all kinds that count. */
  all(): Statement[] {
    return [...this.#current.values()].flatMap((bySubject) => [...bySubject.values()])
  }

  /** Calls the listener after each change of a kind, until the returned function is called. */
  watch<T extends Statement>(kind: StatementKind<T>, listener: StatementListener<T>): () => void {
    return this.watchAll((statement, before) => {
      if (statement.type === kind.type) listener(statement as T, before as T | null)
    })
  }

  /** The same for all kinds. */
  watchAll(listener: StatementListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Calls the listener whenever a statement meets another one of its subject, whichever of them counts, until the returned
   * function is called. It is called before those that `watch` and `watchAll` call.
   */
  watchMeetings(listener: MeetingListener): () => void {
    this.#meetings.add(listener)
    return () => this.#meetings.delete(listener)
  }

  /** Which statement counts for the subject of another; that one itself if it does. */
  currentFor(statement: Statement): Statement | null {
    const kind = this.kinds.get(statement.type)
    return kind && this.get(kind, kind.subject(statement))
  }

  /**
   * Takes a statement from a log. Its issuer's right was checked by the registrar that wrote it; its signature here,
   * if its kind is verified at once.
   *
   * @returns whether it counts from now on
   */
  add(statement: Statement): boolean {
    const kind = this.kinds.get(statement.type)
    if (!kind) return false
    const known = this.currentFor(statement)
    if (known && !this.#supersedes(kind, statement, known)) {
      this.#meet(known, statement)
      return false
    }
    if (this.#isStrict && !this.isTimely(statement)) return false
    if (kind.verified === 'when used' && !isSigned(kind, statement)) return false
    if (kind.date && kind.signer(statement) === this.#rights.registry)
      this.dates.hear(kind.date(statement))
    const bySubject = this.#current.get(kind.type) ?? new Map<string, Statement>()
    this.#current.set(kind.type, bySubject.set(kind.subject(statement), statement))
    if (known) this.#meet(statement, known)
    for (const listener of [...this.#listeners]) listener(statement, known)
    return true
  }

  /**
   * Takes a statement from whoever wants it written.
   *
   * @param maxApps how many apps there may be
   * @throws NOT_GRANTED if its signer may not issue it, BAD_DATE if it is dated ahead, and what its kind refuses it with
   */
  admit(statement: Statement, maxApps = MAX_APPS) {
    const kind = this.kinds.get(statement.type)
    if (!kind) throw SeaportError.UNKNOWN_KIND(statement.type)
    if (!kind.mayIssue(statement, this.#rights)) {
      throw SeaportError.NOT_GRANTED(
        `${kind.signer(statement)} may not issue this ${kind.name}; ask an admin of the registry`
      )
    }
    if (!this.isTimely(statement)) {
      throw SeaportError.BAD_DATE(
        `this ${kind.name} is dated more than a day ahead; set the clock of whoever signed it, and sign it anew`
      )
    }
    const known = this.currentFor(statement)
    // Whoever got no answer asks again.
    if (known?.signature === statement.signature) return
    kind.checkNext?.(statement, known, {
      list: () => this.list(kind),
      now: Date.now(),
      maxApps
    })
    this.add(statement)
  }

  #meet(counts: Statement, other: Statement) {
    if (counts.signature === other.signature) return
    for (const listener of [...this.#meetings]) listener(counts, other)
  }

  #supersedes(kind: StatementKind, next: Statement, known: Statement): boolean {
    return next.signature !== known.signature && kind.merge(known, next, this.#rights) !== known
  }
}
