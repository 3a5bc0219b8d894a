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
    return this.heldAlone(logKey).length > 0
  }

  /** The statements that count and stand in this log only. */
  heldAlone(logKey: string): Statement[] {
    const held = this.#held.get(logKey)
    if (!held || held.size === 0) return []
    const others = [...this.#held].filter(([other]) => other !== logKey)
    return this.#statements.all().filter((statement) => {
      const kind = this.#statements.kinds.get(statement.type)
      const place = kind ? placeOf(kind, statement) : ''
      const stands = (places: Map<string, string>) => places.get(place) === statement.signature
      return stands(held) && !others.some(([, places]) => stands(places))
    })
  }
}
