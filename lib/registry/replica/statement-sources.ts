import type { Statement } from '../trust/statement.js'
import { placeOf } from '../trust/statement-kind.js'
import type { Statements } from '../trust/statements.js'

/** Which logs hold which statements, so that none is dropped that alone holds one which counts. Keys are hex. */
export class StatementSources {
  readonly #statements: Statements
  /** By log, the signature of the statement that stands at each place. */
  readonly #held = new Map<string, Map<string, string>>()

  constructor(statements: Statements) {
    this.#statements = statements
  }

  /** A log says this. */
  add(logKey: string, statement: Statement) {
    const kind = this.#statements.kinds.get(statement.type)
    if (!kind) return
    const held = this.#held.get(logKey) ?? new Map<string, string>()
    this.#held.set(logKey, held.set(placeOf(kind, statement), statement.signature))
  }

  /** The log is of no use any more. */
  drop(logKey: string) {
    this.#held.delete(logKey)
  }

  /** Whether a log holds a statement that counts and stands in no other. */
  holdsAlone(logKey: string): boolean {
    const held = this.#held.get(logKey)
    if (!held || held.size === 0) return false
    const current = new Map<string, Statement>()
    for (const statement of this.#statements.all()) current.set(statement.signature, statement)
    return [...held].some(([place, signature]) => {
      if (!current.has(signature)) return false
      return ![...this.#held].some(
        ([other, places]) => other !== logKey && places.get(place) === signature
      )
    })
  }
}
