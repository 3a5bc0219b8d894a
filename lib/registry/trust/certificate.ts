import type { KeyPair } from '../../core/keys.js'
import { parseKey, toHex } from '../../core/keys.js'
import { type Statement, signStatement } from './statement.js'
import { badField, checkStatement, type StatementKind } from './statement-kind.js'

/**
 * The registry's word that a key is a registrar, and which log is its. It travels over every
 * connection between participants, so that whoever reaches one replica learns of all logs.
 */
export interface Certificate extends Statement {
  type: typeof CERTIFICATE_TYPE
  /** The registrar's swarm key, hex. */
  registrarKey: string
  /** The key of its log, hex. */
  logKey: string
  /** Whether the registry admits only keys with a grant. */
  private: boolean
  /** When this log began, ms since 1970. */
  startedAt: number
  /** When its registrar last renewed this, ms since 1970. */
  renewedAt: number
}

const CERTIFICATE_TYPE = 'hyperseaport/certificate/1'
/** Largest certificate, in bytes of JSON. */
const MAX_CERTIFICATE_BYTES = 4096

/** Participants tell each other of certificates: whoever knows of no log reads none. */
export const CERTIFICATE: StatementKind<Certificate> = {
  type: CERTIFICATE_TYPE,
  name: 'certificate',
  maxBytes: MAX_CERTIFICATE_BYTES,
  kept: 'beside logs',
  verified: 'at once',
  isExported: false,
  checkFields(value) {
    for (const field of ['registrarKey', 'logKey']) parseKey(value[field] as string, field)
    for (const field of ['startedAt', 'renewedAt']) {
      if (!Number.isSafeInteger(value[field])) throw badField('certificate', field)
    }
    if (typeof value.private !== 'boolean') throw badField('certificate', 'private')
  },
  subject: ({ logKey }) => logKey,
  signer: ({ registry }) => registry,
  mayIssue: () => true,
  merge: fresher
}

/** Signs a certificate with the registry's key. */
export function signCertificate(
  registry: KeyPair,
  fields: Pick<Certificate, 'registrarKey' | 'logKey' | 'private' | 'startedAt' | 'renewedAt'>
): Certificate {
  return signStatement(
    { ...fields, type: CERTIFICATE_TYPE, registry: toHex(registry.publicKey) } as const,
    registry.secretKey
  )
}

/** Of two certificates of one log the one that was renewed last counts. */
export function fresher(known: Certificate, next: Certificate): Certificate {
  return next.renewedAt > known.renewedAt ? next : known
}

/**
 * Checks a certificate from outside, its signature included.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkCertificate(value: unknown, registry: Buffer): Certificate {
  return checkStatement(CERTIFICATE, value, registry)
}
