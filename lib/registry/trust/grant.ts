import { parseCallPattern } from '../../core/call-pattern.js'
import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { parseLabel } from '../../core/label.js'
import { parseRolePattern } from '../../core/role-pattern.js'
import type { Rights } from './rights.js'
import { isObject, type Statement, signStatement } from './statement.js'
import {
  badField,
  checkStatement,
  isHex,
  isWhole,
  later,
  type StatementKind
} from './statement-kind.js'

/** What a key may do in a private registry. Any valid grant may read the whole directory. Keys are hex. */
export interface Grant extends Statement {
  type: typeof GRANT_TYPE
  /** Whom it lets do this: a public key, hex. */
  subject: string
  /** Roles it may serve, `role@range`; the name may be `*` or `@scope/*`. */
  serve: string[]
  /** Roles it may connect to. */
  consume: string[]
  /** Commands it may call, `role@range#command`. Who may consume a role may call them all. */
  call?: string[]
  /** Whether it may run apps. Needed in an open registry, too. */
  host?: true
  /** Apps that it may deploy. Needed in an open registry, too. */
  deploy?: Deployment[]
  /** Whether it may grant and revoke in its turn. Only the registry's own key makes admins. */
  admin: boolean
  /** Ms since 1970. */
  issuedAt: number
  /** Ms since 1970, 0 for never. */
  expiresAt: number
  /** The registry's key, or an admin's. */
  issuer: string
  /**
   * Signatures of revocations by admins that do not end this grant, whatever their dates. They count in a grant by the
   * registry's own key only.
   */
  overrules?: string[]
}

/** Apps that a key may deploy, and where. */
export interface Deployment {
  /** A name, `@scope/*` or `*`. */
  apps: string
  /** Labels that a host must have, `region=eu` each. */
  on: string[]
}

/** Ends all grants of a key that were issued until then. */
export interface Revocation extends Statement {
  type: typeof REVOCATION_TYPE
  subject: string
  issuedAt: number
  issuer: string
}

export type GrantStatement = Grant | Revocation

/** What the issuer chooses. */
export type GrantTerms = Pick<
  Grant,
  'serve' | 'consume' | 'call' | 'host' | 'deploy' | 'admin' | 'expiresAt' | 'overrules'
>

/** Largest grant, in bytes of JSON. */
export const MAX_GRANT_BYTES = 4096

const GRANT_TYPE = 'hyperseaport/grant/1'
const REVOCATION_TYPE = 'hyperseaport/revocation/1'
const MAX_PATTERNS = 64
const MAX_LABELS = 8
/** A grant names so many revocations at most: each admin's latest counts, and a grant has its size. */
export const MAX_OVERRULED = 8

/** What a key may do. What each issuer granted a key counts beside what others did. */
export const GRANT: StatementKind<Grant> = {
  type: GRANT_TYPE,
  name: 'grant',
  maxBytes: MAX_GRANT_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields(value) {
    checkStamp(value, 'grant')
    for (const field of ['serve', 'consume']) {
      if (!areAll(value[field], parseRolePattern)) throw badField('grant', field)
    }
    if (value.call !== undefined && !areAll(value.call, parseCallPattern)) {
      throw badField('grant', 'call')
    }
    if (value.host !== undefined && value.host !== true) throw badField('grant', 'host')
    if (value.deploy !== undefined && !areDeployments(value.deploy)) {
      throw badField('grant', 'deploy')
    }
    if (typeof value.admin !== 'boolean') throw badField('grant', 'admin')
    if (!isWhole(value.expiresAt)) throw badField('grant', 'expiresAt')
    if (value.overrules !== undefined && !areSignatures(value.overrules))
      throw badField('grant', 'overrules')
  },
  subject: byIssuer,
  signer: ({ issuer }) => issuer,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ issuer, admin }, rights) =>
    issuer === rights.registry || (!admin && isAdmin(issuer, rights)),
  merge: later
}

/** The end of what a key may do. */
export const REVOCATION: StatementKind<Revocation> = {
  type: REVOCATION_TYPE,
  name: 'revocation',
  maxBytes: MAX_GRANT_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields: (value) => checkStamp(value, 'revocation'),
  subject: byIssuer,
  signer: ({ issuer }) => issuer,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ issuer, subject }, rights) =>
    issuer === rights.registry || (!isAdmin(subject, rights) && isAdmin(issuer, rights)),
  merge: later
}

/**
 * Signs a grant.
 *
 * @throws BAD_ROLE if a pattern cannot be read
 */
export function signGrant(
  registry: Buffer,
  issuer: KeyPair,
  subject: Buffer,
  { call = [], deploy = [], ...terms }: GrantTerms,
  issuedAt = Date.now()
): Grant {
  for (const pattern of [...terms.serve, ...terms.consume]) parseRolePattern(pattern)
  for (const pattern of call) parseCallPattern(pattern)
  for (const deployment of deploy) checkDeployment(deployment)
  return signStatement(
    {
      ...terms,
      ...(call.length > 0 && { call }),
      ...(deploy.length > 0 && { deploy }),
      type: GRANT_TYPE,
      ...stamp(registry, issuer, subject, issuedAt)
    } as const,
    issuer.secretKey
  )
}

/** Signs the end of all grants of a key. */
export function signRevocation(
  registry: Buffer,
  issuer: KeyPair,
  subject: Buffer,
  issuedAt = Date.now()
): Revocation {
  return signStatement(
    { type: REVOCATION_TYPE, ...stamp(registry, issuer, subject, issuedAt) } as const,
    issuer.secretKey
  )
}

/**
 * Checks a grant or revocation from outside, its issuer's signature included, but not the issuer's
 * right to issue it.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkGrantStatement(value: unknown, registry: Buffer): GrantStatement {
  return isObject(value) && value.type === REVOCATION_TYPE
    ? checkStatement(REVOCATION, value, registry)
    : checkStatement(GRANT, value, registry)
}

/** Whether a statement is a grant or revocation. */
export function isGrantStatement(value: { type: string }): value is GrantStatement {
  return value.type === GRANT_TYPE || value.type === REVOCATION_TYPE
}

export function isRevocation(statement: GrantStatement): statement is Revocation {
  return statement.type === REVOCATION_TYPE
}

function stamp(registry: Buffer, issuer: KeyPair, subject: Buffer, issuedAt: number) {
  return {
    registry: toHex(registry),
    subject: toHex(subject),
    issuer: toHex(issuer.publicKey),
    issuedAt
  }
}

function byIssuer({ subject, issuer }: GrantStatement): string {
  return `${subject}/${issuer}`
}

/** Whether the registry's own key made it an admin, or it is that key. */
function isAdmin(key: string, rights: Rights): boolean {
  return rights.allows(key, { kind: 'admin' })
}

function checkStamp(value: { [field: string]: unknown }, name: string) {
  for (const field of ['subject', 'issuer']) {
    if (!isHex(value[field], 32)) throw badField(name, field)
  }
  if (!isWhole(value.issuedAt)) throw badField(name, 'issuedAt')
}

function areAll(value: unknown, parse: (pattern: string) => unknown): boolean {
  if (!Array.isArray(value) || value.length > MAX_PATTERNS) return false
  try {
    return value.every((pattern) => typeof pattern === 'string' && parse(pattern) !== null)
  } catch {
    return false
  }
}

/** @throws BAD_ROLE, BAD_LABEL */
function checkDeployment({ apps, on }: Deployment) {
  const pattern = parseRolePattern(apps)
  if (!pattern.isEveryVersion) {
    throw SeaportError.BAD_ROLE(
      `apps are deployed in every version: ${JSON.stringify(apps)} names one`
    )
  }
  for (const label of on) parseLabel(label)
}

function areDeployments(value: unknown): value is Deployment[] {
  if (!Array.isArray(value) || value.length > MAX_PATTERNS) return false
  return value.every(
    (one) =>
      isObject(one) &&
      areAll([one.apps], (apps) => checkDeployment({ apps, on: [] }) ?? true) &&
      Array.isArray(one.on) &&
      one.on.length <= MAX_LABELS &&
      areAll(one.on, parseLabel)
  )
}

function areSignatures(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length <= MAX_OVERRULED && value.every((one) => isHex(one, 64))
  )
}
