import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { type Statement, signStatement } from './statement.js'
import { badField, isHex, isWhole, later, type StatementKind } from './statement-kind.js'

/** That a registrar is gone for good, and is not waited for any more. Keys are hex. */
export interface Forgotten extends Statement {
  type: typeof FORGOTTEN_TYPE
  /** The registrar's swarm key. One that began anew on an empty disk has another one. */
  registrar: string
  issuer: string
  /** Ms since 1970. */
  issuedAt: number
}

const FORGOTTEN_TYPE = 'hyperseaport/forgotten/1'
const MAX_FORGOTTEN_BYTES = 1024

/** Only an admin can tell a registrar that is gone from one that cannot be reached. */
export const FORGOTTEN: StatementKind<Forgotten> = {
  type: FORGOTTEN_TYPE,
  name: 'statement that a registrar is gone',
  maxBytes: MAX_FORGOTTEN_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields({ registrar, issuer, issuedAt }) {
    const bad = (field: string) => badField(FORGOTTEN.name, field)
    if (!isHex(registrar, 32)) throw bad('registrar')
    if (!isHex(issuer, 32)) throw bad('issuer')
    if (!isWhole(issuedAt)) throw bad('issuedAt')
  },
  subject: ({ registrar }) => registrar,
  signer: ({ issuer }) => issuer,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ issuer }, rights) => rights.allows(issuer, { kind: 'admin' }),
  merge: later
}

/** Signs that a registrar is gone for good. */
export function signForgotten(
  registry: Buffer,
  issuer: KeyPair,
  registrar: string,
  issuedAt = Date.now()
): Forgotten {
  return signStatement(
    {
      type: FORGOTTEN_TYPE,
      registry: toHex(registry),
      registrar,
      issuer: toHex(issuer.publicKey),
      issuedAt
    } as const,
    issuer.secretKey
  )
}
