import { APP, type AppStatement } from './app-statement.js'
import { isHosted, type ServiceRecord } from './record.js'
import type { Rights } from './rights.js'
import type { Statements } from './statements.js'

/**
 * Which records count. A role that has an app statement is the app's, and only what a host runs of it is an instance:
 * in an open registry anybody may register `shop@99.0.0`, and would get the traffic of the app `shop`.
 */
export class InstanceRule {
  readonly #statements: Statements
  readonly #rights: Rights
  readonly #listeners = new Set<(role: string) => void>()

  constructor(statements: Statements, rights: Rights) {
    this.#statements = statements
    this.#rights = rights
    statements.watch(APP, ({ app }) => this.#tell(app))
  }

  /** Calls the listener with each role of which other records may count from now on. */
  watch(listener: (role: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The rights of some key have changed. */
  review() {
    for (const { app } of this.#statements.list(APP)) this.#tell(app)
  }

  counts(record: ServiceRecord): boolean {
    const app = this.#statements.get(APP, record.role)
    if (!app || app.state === 'removed') return true
    return isOf(app, record) && isHosted(record, this.#rights)
  }

  #tell(role: string) {
    for (const listener of [...this.#listeners]) listener(role)
  }
}

function isOf(app: AppStatement, { version, app: proof }: ServiceRecord): boolean {
  return [app, ...app.kept].some((one) => one.version === version && one.release === proof?.release)
}
