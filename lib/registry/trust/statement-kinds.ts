import { SeaportError } from '../../core/errors.js'
import { printable } from '../../core/printable.js'
import { APP } from './app-statement.js'
import { CERTIFICATE } from './certificate.js'
import { DRAIN } from './drain.js'
import { FORGOTTEN } from './forgotten.js'
import { GRANT, REVOCATION } from './grant.js'
import { MODE } from './mode.js'
import { OVERRULED } from './overruled.js'
import { RECORD } from './record.js'
import { SNAPSHOT } from './snapshot.js'
import { isObject, parseJson, type Statement } from './statement.js'
import { checkStatement, MAX_STATEMENT_BYTES, type StatementKind } from './statement-kind.js'
import { VERDICT } from './verdict.js'

/** So much of an unknown type is repeated, in characters. */
const MAX_SHOWN_TYPE = 64

/** The kinds that every registry has. */
const BUILT_IN: readonly StatementKind[] = [
  RECORD,
  GRANT,
  REVOCATION,
  CERTIFICATE,
  MODE,
  SNAPSHOT,
  APP,
  DRAIN,
  FORGOTTEN,
  VERDICT,
  OVERRULED
]

/** What each kind has. */
const TEXTS = ['type', 'name', 'kept', 'verified'] as const
const NUMBERS = ['maxBytes'] as const
const METHODS = ['checkFields', 'subject', 'signer', 'mayIssue', 'merge'] as const

/** The kinds of statements that this process knows: those of every registry, and those that its user brings. */
export class StatementKinds {
  readonly #kinds = new Map<string, StatementKind>()

  /** @throws USAGE */
  constructor(more: readonly StatementKind[] = []) {
    for (const kind of [...BUILT_IN, ...more]) this.#add(kind)
  }

  /** Null for a type of a newer build, or of another program. */
  get(type: string): StatementKind | null {
    return this.#kinds.get(type) ?? null
  }

  /** The built-in ones first. */
  all(): StatementKind[] {
    return [...this.#kinds.values()]
  }

  /**
   * Reads a statement that somebody wants in a log.
   *
   * @throws UNKNOWN_KIND, BAD_MESSAGE, BAD_SIGNATURE
   */
  parse(json: string, registry: Buffer): Statement {
    const value = parseJson(json, 'a statement')
    if (!isObject(value) || typeof value.type !== 'string') {
      throw SeaportError.BAD_MESSAGE('a statement says its type')
    }
    const kind = this.get(value.type)
    if (!kind)
      throw SeaportError.UNKNOWN_KIND(`${named(value.type)} is unknown here, update the registrar`)
    if (kind.kept !== 'in logs') {
      throw SeaportError.BAD_MESSAGE(`a ${kind.name} is not put into a log by itself`)
    }
    return checkStatement(kind, value, registry)
  }

  #add(kind: StatementKind) {
    checkKind(kind)
    if (this.#kinds.has(kind.type)) {
      throw SeaportError.USAGE(`two kinds of statements are called ${kind.type}`)
    }
    if (kind.maxBytes > MAX_STATEMENT_BYTES) {
      throw SeaportError.USAGE(`${kind.type}: a statement has at most ${MAX_STATEMENT_BYTES} bytes`)
    }
    this.#kinds.set(kind.type, kind)
  }
}

/** The type of a statement from outside, as far as an error repeats it. */
function named(type: string): string {
  return printable(type.slice(0, MAX_SHOWN_TYPE))
}

/** Whoever brings one may have no types: what it lacks would be missed by a registrar that is under way. */
function checkKind(kind: StatementKind) {
  const lacking = [
    ...lackingOf(kind, TEXTS, 'string'),
    ...lackingOf(kind, NUMBERS, 'number'),
    ...lackingOf(kind, METHODS, 'function')
  ]
  if (lacking.length === 0) return
  throw SeaportError.USAGE(`a kind of statements that kinds has lacks ${lacking.join(', ')}`)
}

function lackingOf(kind: StatementKind, names: readonly (keyof StatementKind)[], type: string) {
  return names.filter((name) => typeof kind[name] !== type)
}
