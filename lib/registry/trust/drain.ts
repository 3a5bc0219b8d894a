import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { type Statement, signStatement } from './statement.js'
import { badField, isHex, later, type StatementKind } from './statement-kind.js'

/** Whether a host is to be emptied of its apps, and given none. Keys are hex. */
export interface Drain extends Statement {
  type: typeof DRAIN_TYPE
  host: string
  isDraining: boolean
  issuer: string
  /** Ms since 1970. */
  issuedAt: number
}

const DRAIN_TYPE = 'hyperseaport/drain/1'
const MAX_DRAIN_BYTES = 1024
const MAX_TIME = 2 ** 52

/** A host says it of itself, or an admin of the registry does. */
export const DRAIN: StatementKind<Drain> = {
  type: DRAIN_TYPE,
  name: 'drain statement',
  maxBytes: MAX_DRAIN_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields({ host, isDraining, issuer, issuedAt }) {
    const bad = (field: string) => badField('drain statement', field)
    if (!isHex(host, 32)) throw bad('host')
    if (typeof isDraining !== 'boolean') throw bad('isDraining')
    if (!isHex(issuer, 32)) throw bad('issuer')
    if (!Number.isSafeInteger(issuedAt) || Math.abs(issuedAt as number) > MAX_TIME)
      throw bad('issuedAt')
  },
  subject: ({ host }) => host,
  signer: ({ issuer }) => issuer,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ host, issuer }, rights) =>
    rights.allows(issuer, { kind: 'admin' }) ||
    (issuer === host && rights.allows(host, { kind: 'host' })),
  merge: later
}

/** Signs that a host is to be emptied, or not any more. */
export function signDrain(
  registry: Buffer,
  issuer: KeyPair,
  {
    host,
    isDraining,
    issuedAt = Date.now()
  }: { host: Buffer; isDraining: boolean; issuedAt?: number }
): Drain {
  return signStatement(
    {
      type: DRAIN_TYPE,
      registry: toHex(registry),
      host: toHex(host),
      isDraining,
      issuer: toHex(issuer.publicKey),
      issuedAt
    } as const,
    issuer.secretKey
  )
}
