import { toHex } from '../keys.js'
import { covers, type Grant, type GrantStatement, isRevocation, type Revocation } from './grant.js'

/** Who asks, and for what. */
export type Right =
  | { kind: 'read' }
  | { kind: 'admin' }
  | { kind: 'serve' | 'consume'; role: string; version: string }

/**
 * All grants and revocations that are known, and what follows from them. Needs no registrar to be
 * there: everything in it is signed. A registry that is not private grants everything to everybody.
 */
export class Grants {
  isPrivate = false

  readonly #registry: string
  readonly #now: () => number
  readonly #grants = new Map<string, Map<string, Grant>>()
  readonly #revocations = new Map<string, Revocation>()
  readonly #listeners = new Set<(subject: string) => void>()

  constructor(registry: Buffer, now = Date.now) {
    this.#registry = toHex(registry)
    this.#now = now
  }

  /** Calls the listener with each key whose rights may have changed, until the returned function is called. */
  watch(listener: (subject: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes a statement whose signature was checked. Returns whether it was news. */
  add(statement: GrantStatement): boolean {
    const isNews = isRevocation(statement)
      ? this.#addRevocation(statement)
      : this.#addGrant(statement)
    if (isNews) for (const listener of [...this.#listeners]) listener(statement.subject)
    return isNews
  }

  /** Whether a key has a right now. */
  allows(subject: string, right: Right): boolean {
    if (subject === this.#registry) return true
    if (!this.isPrivate && right.kind !== 'admin') return true
    return this.#validGrants(subject).some((grant) => gives(grant, right))
  }

  /** Whether whoever signed a statement had the right to. */
  isAuthorized(statement: GrantStatement): boolean {
    if (statement.issuer === this.#registry) return true
    const isAboutAdmins = isRevocation(statement)
      ? this.#isAdmin(statement.subject)
      : statement.admin
    return !isAboutAdmins && this.#isAdmin(statement.issuer)
  }

  /** The grants in force, and the keys that were revoked. */
  list(): { grants: Grant[]; revoked: Revocation[] } {
    const grants = [...this.#grants.keys()].flatMap((subject) => this.#validGrants(subject))
    return { grants, revoked: [...this.#revocations.values()].filter((r) => this.isAuthorized(r)) }
  }

  /** Every statement, for a log that lacks some. */
  statements(): GrantStatement[] {
    const grants = [...this.#grants.values()].flatMap((bySubject) => [...bySubject.values()])
    return [...grants, ...this.#revocations.values()]
  }

  /** What is known of some keys, and of those who granted it to them. */
  statementsFor(subjects: readonly string[]): GrantStatement[] {
    const grants = subjects.flatMap((subject) => this.#validGrants(subject))
    const issuers = grants.flatMap(({ issuer }) => this.#validGrants(issuer))
    return [...issuers, ...grants]
  }

  #addGrant(grant: Grant): boolean {
    const bySubject = this.#grants.get(grant.subject) ?? new Map<string, Grant>()
    const known = bySubject.get(grant.issuer)
    if (known && known.issuedAt >= grant.issuedAt) return false
    this.#grants.set(grant.subject, bySubject.set(grant.issuer, grant))
    return true
  }

  /** One of the registry's own outlives an admin's, however old: it alone can take an admin's rights. */
  #addRevocation(revocation: Revocation): boolean {
    const known = this.#revocations.get(revocation.subject)
    const isByRegistry = revocation.issuer === this.#registry
    if (known && known.issuer === this.#registry && !isByRegistry) return false
    if (known && (known.issuer === this.#registry) === isByRegistry) {
      if (known.issuedAt >= revocation.issuedAt) return false
    }
    this.#revocations.set(revocation.subject, revocation)
    return true
  }

  #validGrants(subject: string): Grant[] {
    const grants = this.#grants.get(subject)
    return grants ? [...grants.values()].filter((grant) => this.#isValid(grant)) : []
  }

  #isValid(grant: Grant): boolean {
    if (grant.expiresAt !== 0 && grant.expiresAt <= this.#now()) return false
    const revocation = this.#revocations.get(grant.subject)
    if (revocation && revocation.issuedAt >= grant.issuedAt && this.isAuthorized(revocation))
      return false
    return this.isAuthorized(grant)
  }

  /** Admins are made by the registry's own key only, so this never asks in a circle. */
  #isAdmin(key: string): boolean {
    const grant = this.#grants.get(key)?.get(this.#registry)
    if (!grant?.admin || (grant.expiresAt !== 0 && grant.expiresAt <= this.#now())) return false
    const revocation = this.#revocations.get(key)
    return (
      !revocation || revocation.issuer !== this.#registry || revocation.issuedAt < grant.issuedAt
    )
  }
}

function gives(grant: Grant, right: Right): boolean {
  if (right.kind === 'read') return true
  if (right.kind === 'admin') return grant.admin
  return covers(grant[right.kind], right.role, right.version)
}
