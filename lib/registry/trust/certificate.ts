import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { parseKey, toHex } from '../../core/keys.js'
import { checkRegistryStatement, type Statement, signStatement } from './statement.js'

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

/**
 * Checks a certificate from outside, its signature included.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkCertificate(value: unknown, registry: Buffer): Certificate {
  return checkRegistryStatement(value, registry, {
    type: CERTIFICATE_TYPE,
    name: 'certificate',
    checkFields
  })
}

function checkFields(value: { [field: string]: unknown }) {
  for (const field of ['registrarKey', 'logKey']) parseKey(value[field] as string, field)
  for (const field of ['startedAt', 'renewedAt']) {
    if (!Number.isSafeInteger(value[field]))
      throw SeaportError.BAD_MESSAGE(`the certificate has a bad ${field}`)
  }
  if (typeof value.private !== 'boolean') {
    throw SeaportError.BAD_MESSAGE('the certificate does not say whether the registry is private')
  }
}
