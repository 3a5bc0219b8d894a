import { isImpliedByConsume, parseCallPattern } from '../../core/call-pattern.js'
import { toHex } from '../../core/keys.js'
import { parseRolePattern } from '../../core/role-pattern.js'
import {
  GRANT,
  type Grant,
  type GrantStatement,
  isRevocation,
  REVOCATION,
  type Revocation
} from './grant.js'
import { HOST_ROLE, type Right, type Rights } from './rights.js'
import { later } from './statement-kind.js'

/** Told of a key whose rights may have changed; undefined if it may be anybody's. */
export type RightsListener = (subject: string | undefined) => void

/** Statements about one key, by who made them. */
type ByIssuer<T> = Map<string, T>

/**
 * All grants and revocations that are known, and what follows from them. Needs no registrar to be
 * there: everything in it is signed. A registry that is not private lets everybody read, serve, consume and call.
 */
export class Grants implements Rights {
  readonly registry: string
  readonly #now: () => number
  readonly #grants = new Map<string, ByIssuer<Grant>>()
  readonly #revocations = new Map<string, ByIssuer<Revocation>>()
  /** The keys that each issuer granted something. */
  readonly #subjects = new Map<string, Set<string>>()
  readonly #listeners = new Set<RightsListener>()
  #isPrivate: boolean | null = null
  /** Listeners were told of all grants that expired until then, ms since 1970. */
  #expiredUntil: number

  constructor(registry: Buffer, now = Date.now) {
    this.registry = toHex(registry)
    this.#now = now
    this.#expiredUntil = now()
  }

  /** Whether only keys with a grant are admitted; null as long as no certificate is known, which says so. */
  get isPrivate(): boolean | null {
    return this.#isPrivate
  }

  set isPrivate(isPrivate: boolean | null) {
    if (isPrivate === this.#isPrivate) return
    this.#isPrivate = isPrivate
    for (const listener of [...this.#listeners]) listener(undefined)
  }

  get isEmpty(): boolean {
    return this.#grants.size === 0
  }

  /**
   * Calls the listener with each key whose rights may have changed, until the returned function is called.
   */
  watch(listener: RightsListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Takes a statement from a log: its signature was checked here, and its issuer's right by the registrar
   * that wrote it. Returns whether it was news.
   */
  add(statement: GrantStatement): boolean {
    const isNews = isRevocation(statement)
      ? keepNewest(this.#revocations, statement)
      : keepNewest(this.#grants, statement)
    if (!isNews) return false
    if (!isRevocation(statement)) {
      const { issuer, subject } = statement
      this.#subjects.set(issuer, (this.#subjects.get(issuer) ?? new Set()).add(subject))
    }
    this.#tell(statement.subject)
    return true
  }

  /**
   * Whether a key has a right now. While it is not known who may what, only those have it who were granted it. Nor
   * does an open registry let everybody run apps or deploy them: its admins may, and who was granted it.
   */
  allows(subject: string, right: Right): boolean {
    if (subject === this.registry) return true
    if (right.kind === 'admin') return this.#isAdmin(subject)
    const isForAll = right.kind !== 'host' && right.kind !== 'deploy'
    if (isForAll ? this.#isPrivate === false : this.#isAdmin(subject)) return true
    return this.#validGrants(subject).some((grant) => gives(grant, right))
  }

  /** Whether whoever signed a statement has the right to, now. */
  isAuthorized(statement: GrantStatement): boolean {
    return isRevocation(statement)
      ? REVOCATION.mayIssue(statement, this)
      : GRANT.mayIssue(statement, this)
  }

  /** Whether a key was put out of a private registry, and not let in again. */
  isRevoked(subject: string): boolean {
    if (this.#isPrivate !== true || !this.#revocations.has(subject)) return false
    return this.#validGrants(subject).length === 0
  }

  /** When a key was first put out of a private registry, in ms since 1970; null if it is not out. */
  revokedAt(subject: string): number | null {
    if (!this.isRevoked(subject)) return null
    const all = [...(this.#revocations.get(subject)?.values() ?? [])]
    return Math.min(...all.map(({ issuedAt }) => issuedAt))
  }

  /** The grants in force, and the keys that were revoked, each with the last time. */
  list(): { grants: Grant[]; revoked: Revocation[] } {
    const grants = [...this.#grants.keys()].flatMap((subject) => this.#validGrants(subject))
    const revoked = [...this.#revocations.values()].map((byIssuer) => newest(byIssuer))
    return { grants, revoked }
  }

  /** Every statement, for a log that lacks some. */
  statements(): GrantStatement[] {
    return [...this.#grants.values(), ...this.#revocations.values()].flatMap((byIssuer) => [
      ...byIssuer.values()
    ])
  }

  /** Every statement about a key. */
  statementsAbout(subject: string): GrantStatement[] {
    return [this.#grants.get(subject), this.#revocations.get(subject)].flatMap((byIssuer) => [
      ...(byIssuer?.values() ?? [])
    ])
  }

  /** What shows others that a key was granted something, and that it was granted by who may. */
  proofOf(subject: string): GrantStatement[] {
    const grants = this.#validGrants(subject)
    const issuers = grants.flatMap(({ issuer }) => this.#validGrants(issuer))
    return [...issuers, ...grants]
  }

  /**
   * When the last statement about a key was made, in ms since 1970; 0 if there is none.
   *
   * @param until later dates count for nothing
   */
  lastWordOn(subject: string, until = Infinity): number {
    const dates = this.statementsAbout(subject).map(({ issuedAt }) => issuedAt)
    return Math.max(0, ...dates.filter((date) => date <= until))
  }

  /** The revocations of a key that admins made, the latest first. */
  revocationsByAdmins(subject: string): Revocation[] {
    const all = [...(this.#revocations.get(subject)?.values() ?? [])]
    return all
      .filter(({ issuer }) => issuer !== this.registry)
      .sort((a, b) => b.issuedAt - a.issuedAt)
  }

  /** Tells of those whose grants have ended by themselves since this was called last. */
  expire() {
    const [since, now] = [this.#expiredUntil, this.#now()]
    this.#expiredUntil = now
    for (const [subject, byIssuer] of this.#grants) {
      const ends = [...byIssuer.values()].map(({ expiresAt }) => expiresAt)
      if (ends.some((end) => end > since && end <= now)) this.#tell(subject)
    }
  }

  /** Tells the listeners of a key, and of those that it granted something: their rights depend on its own. */
  #tell(subject: string) {
    const concerned = new Set([subject, ...(this.#subjects.get(subject) ?? [])])
    for (const listener of [...this.#listeners]) for (const key of concerned) listener(key)
  }

  #validGrants(subject: string): Grant[] {
    const byIssuer = this.#grants.get(subject)
    return byIssuer ? [...byIssuer.values()].filter((grant) => this.#isValid(grant)) : []
  }

  #isValid(grant: Grant): boolean {
    if (grant.expiresAt !== 0 && grant.expiresAt <= this.#now()) return false
    return !this.#isEnded(grant) && this.isAuthorized(grant)
  }

  /**
   * An admin's rights are the registry's to take. A revocation outlives the rights of whoever made it, unless the
   * registry overrules it.
   */
  #isEnded({ subject, issuer, admin, issuedAt, overrules = [] }: Grant): boolean {
    const isRegistrys = issuer === this.registry
    const isOverruled = (revocation: Revocation) =>
      isRegistrys &&
      revocation.issuer !== this.registry &&
      (admin || overrules.includes(revocation.signature))
    return [...(this.#revocations.get(subject)?.values() ?? [])].some(
      (revocation) => revocation.issuedAt >= issuedAt && !isOverruled(revocation)
    )
  }

  /** Only the registry's own key makes admins, so this does not depend on the rights of others. */
  #isAdmin(key: string): boolean {
    const grant = this.#grants.get(key)?.get(this.registry)
    return grant?.admin === true && this.#isValid(grant)
  }
}

/** Puts a statement in the place of an older one, and tells whether it was newer. */
function keepNewest<T extends GrantStatement>(
  all: Map<string, ByIssuer<T>>,
  statement: T
): boolean {
  const { subject, issuer } = statement
  const byIssuer = all.get(subject) ?? new Map<string, T>()
  const known = byIssuer.get(issuer)
  if (known && later(known, statement) === known) return false
  all.set(subject, byIssuer.set(issuer, statement))
  return true
}

function newest<T extends GrantStatement>(byIssuer: ByIssuer<T>): T {
  return [...byIssuer.values()].reduce(later)
}

function gives(grant: Grant, right: Exclude<Right, { kind: 'admin' }>): boolean {
  if (right.kind === 'read') return true
  if (right.kind === 'host') return grant.host === true
  if (right.kind === 'deploy') return givesDeploy(grant, right)
  if (right.role === HOST_ROLE && givesHostRole(grant, right.kind)) return true
  const { role, version } = right
  if (right.kind === 'call') return givesCall(grant, right)
  return grant[right.kind].some((pattern) => parseRolePattern(pattern).has(role, version))
}

function givesDeploy(
  { deploy = [] }: Grant,
  { app, labels }: Extract<Right, { kind: 'deploy' }>
): boolean {
  return deploy.some(
    ({ apps, on }) =>
      parseRolePattern(apps).hasRole(app) && (!labels || on.every((label) => labels.has(label)))
  )
}

function givesCall(grant: Grant, right: Extract<Right, { kind: 'call' }>): boolean {
  const { role, version, command } = right
  if (grant.call?.some((pattern) => parseCallPattern(pattern).has(role, version, command)))
    return true
  return isImpliedByConsume(command) && gives(grant, { kind: 'consume', role, version })
}

/** Hosts serve each other chunks, and deployers command them. Each request is asked for by itself there. */
function givesHostRole({ host, deploy = [], admin }: Grant, kind: 'serve' | 'consume' | 'call') {
  return host === true || admin || (kind !== 'serve' && deploy.length > 0)
}
