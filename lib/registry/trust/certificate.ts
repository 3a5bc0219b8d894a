import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { checkMode, type Mode, signMode } from './mode.js'
import { isObject, type Statement, signStatement } from './statement.js'
import { badField, checkStatement, isHex, type StatementKind } from './statement-kind.js'

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
  /** Whether the registry admits only keys with a grant, as its registrar knows it. It is signed by itself, too. */
  mode: Mode
  /** When this log began, ms since 1970. */
  startedAt: number
  /** When its registrar last renewed this, ms since 1970. */
  renewedAt: number
  /** When it ends unless it is renewed, ms since 1970, by the dates that the registry signs. */
  endsAt: number
}

/** What its registrar says. */
export interface CertificateFields
  extends Pick<Certificate, 'registrarKey' | 'logKey' | 'startedAt' | 'renewedAt'> {
  /** Default: as long as that of an empty log. */
  endsAt?: number
  /** What the registry says that it is. Default: what `private` says, for the first time. */
  mode?: Mode
  private?: boolean
}

/** How long the certificate of a log holds that has no statement yet, in ms: a registrar that crashes again and again leaves many. */
export const EMPTY_LOG_MS = 10 * 60 * 1000
/** How long the certificate of a log holds otherwise, in ms. */
export const LOG_MS = 30 * 24 * 60 * 60 * 1000

const CERTIFICATE_TYPE = 'hyperseaport/certificate/2'
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
    for (const field of ['registrarKey', 'logKey']) {
      if (!isHex(value[field], 32)) throw badField('certificate', field)
    }
    for (const field of ['startedAt', 'renewedAt', 'endsAt']) {
      if (!Number.isSafeInteger(value[field])) throw badField('certificate', field)
    }
    checkMode(value.mode, Buffer.from(value.registry as string, 'hex'))
  },
  subject: ({ logKey }) => logKey,
  signer: ({ registry }) => registry,
  mayIssue: () => true,
  merge: fresher
}

/** Signs a certificate with the registry's key. */
export function signCertificate(
  registry: KeyPair,
  {
    registrarKey,
    logKey,
    startedAt,
    renewedAt,
    endsAt = renewedAt + EMPTY_LOG_MS,
    private: isPrivate = false,
    mode = signMode(registry, { count: 1, private: isPrivate })
  }: CertificateFields
): Certificate {
  const type = CERTIFICATE_TYPE
  return signStatement(
    {
      type,
      registry: toHex(registry.publicKey),
      ...{ registrarKey, logKey, mode, startedAt, renewedAt, endsAt }
    } as const,
    registry.secretKey
  )
}

/** Whether a value that was remembered is a certificate of this kind, and not of an earlier build. */
export function isCertificate(value: unknown): boolean {
  return isObject(value) && value.type === CERTIFICATE_TYPE
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
