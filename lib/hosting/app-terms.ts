import type { Replica } from '../registry/replica/replica.js'
import { APP } from '../registry/trust/signed.js'

/** What apps may have and do on a host, by their statements. */
export class AppTerms {
  readonly #replica: Replica

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** What a program of an app may use: memory in bytes, 0 for no limit, and cores, null for all. */
  limitsOf(app: string): { memory: number; cpu: number | null } {
    const { memory = 0, cpu = null } = this.#replica.statements.get(APP, app)?.place ?? {}
    return { memory, cpu }
  }

  /** The host dials in its own name, so it has to see to it that nobody gains rights by deploying an app. */
  mayUse(app: string, role: string, version: string): boolean {
    const { statements, membership } = this.#replica
    const statement = statements.get(APP, app)
    return (
      !statement || membership.grants.allows(statement.issuer, { kind: 'consume', role, version })
    )
  }
}
