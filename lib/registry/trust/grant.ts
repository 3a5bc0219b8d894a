import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { parseKey, toHex } from '../../core/keys.js'
import { parseRolePattern } from '../../core/role-pattern.js'
import { isObject, parseJson, type Statement, signStatement, verifyStatement } from './statement.js'

/** What a key may do in a private registry. Any valid grant may read the whole directory. Keys are hex. */
export interface Grant extends Statement {
  type: typeof GRANT_TYPE
  subject: string
  /** Roles it may serve, `role@range`; the name may be `*` or `@scope/*`. */
  serve: string[]
  /** Roles it may connect to. */
  consume: string[]
  /** Whether it may grant and revoke in its turn. Only the registry's own key makes admins. */
  admin: boolean
  /** Ms since 1970. */
  issuedAt: number
  /** Ms since 1970, 0 for never. */
  expiresAt: number
  /** The registry's key, or an admin's. */
  issuer: string
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
export type GrantTerms = Pick<Grant, 'serve' | 'consume' | 'admin' | 'expiresAt'>

/** Largest grant, in bytes of JSON. */
export const MAX_GRANT_BYTES = 4096

const GRANT_TYPE = 'hyperseaport/grant/1'
const REVOCATION_TYPE = 'hyperseaport/revocation/1'
const MAX_PATTERNS = 64
/** Latest time taken, in ms since 1970: leaves room above, so that nobody has the last word for good. */
const MAX_TIME = 2 ** 52

/**
 * Signs a grant.
 *
 * @throws BAD_ROLE if a pattern cannot be read
 */
export function signGrant(
  registry: Buffer,
  issuer: KeyPair,
  subject: Buffer,
  terms: GrantTerms,
  issuedAt = Date.now()
): Grant {
  for (const pattern of [...terms.serve, ...terms.consume]) parseRolePattern(pattern)
  return signStatement(
    { ...terms, type: GRANT_TYPE, ...stamp(registry, issuer, subject, issuedAt) } as const,
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
  if (!isObject(value) || !isGrantType(value.type)) throw bad('type')
  if (value.registry !== toHex(registry)) throw bad('registry')
  for (const field of ['subject', 'issuer']) checkKey(value[field], field)
  if (!isTime(value.issuedAt)) throw bad('issuedAt')
  if (typeof value.signature !== 'string') throw bad('signature')
  if (value.type === GRANT_TYPE) checkTerms(value)
  if (Buffer.byteLength(JSON.stringify(value)) > MAX_GRANT_BYTES) throw bad('size')
  const statement = value as unknown as GrantStatement
  if (!verifyStatement(statement, Buffer.from(statement.issuer, 'hex'))) {
    throw SeaportError.BAD_SIGNATURE('the grant was not signed by its issuer')
  }
  return statement
}

/**
 * Reads one from the wire, and checks it the same way.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function parseGrantStatement(json: string, registry: Buffer): GrantStatement {
  return checkGrantStatement(parseJson(json, 'a grant'), registry)
}

/** Whether a value of a log is a grant or revocation. */
export function isGrantStatement(value: { type: string }): value is GrantStatement {
  return isGrantType(value.type)
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

function checkTerms(value: { [field: string]: unknown }) {
  for (const field of ['serve', 'consume']) {
    const patterns = value[field]
    if (!Array.isArray(patterns) || patterns.length > MAX_PATTERNS || !patterns.every(isPattern)) {
      throw bad(field)
    }
  }
  if (typeof value.admin !== 'boolean') throw bad('admin')
  if (!isTime(value.expiresAt)) throw bad('expiresAt')
}

function checkKey(value: unknown, field: string) {
  if (typeof value !== 'string' || !/^[0-9a-f]{64}$/.test(value)) throw bad(field)
  parseKey(value, field)
}

function isPattern(value: unknown): value is string {
  try {
    return typeof value === 'string' && parseRolePattern(value) !== null
  } catch {
    return false
  }
}

function isGrantType(type: unknown): boolean {
  return type === GRANT_TYPE || type === REVOCATION_TYPE
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TIME
}

function bad(field: string): SeaportError {
  return SeaportError.BAD_MESSAGE(`the grant has a bad ${field}`)
}
