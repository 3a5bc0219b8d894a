import { SeaportError } from '../errors.js'
import { crypto } from '../holepunch.js'
import { type KeyPair, toHex } from '../keys.js'
import { type Certificate, checkCertificate } from './certificate.js'
import { checkGrantStatement, type GrantStatement } from './grant.js'
import { Grants } from './grants.js'
import { isObject } from './statement.js'

/** Largest credentials, in bytes of JSON. */
export const MAX_CREDENTIALS_BYTES = 32 * 1024

const MEMBER_TYPE = Buffer.from('hyperseaport/member/1')
const MAX_PROOFS = 64
const MAX_GRANTS = 64

/**
 * Who this process is in the registry, and whom it lets in. Its swarm key is made afresh for each run;
 * the keys that are granted something are proven beside it, on each connection.
 */
export class Membership {
  readonly grants: Grants
  /** A registrar's own. */
  certificate: Certificate | null = null

  readonly #registry: Buffer
  readonly #identities = new Map<string, KeyPair>()

  constructor(registry: Buffer) {
    this.#registry = registry
    this.grants = new Grants(registry)
  }

  /** Keys in hex that this process proves to hold. */
  get identities(): string[] {
    return [...this.#identities.keys()]
  }

  /** Proves to hold a key too, on connections made from now on. */
  addIdentity(keyPair: KeyPair) {
    this.#identities.set(toHex(keyPair.publicKey), keyPair)
  }

  /** What goes with our hello on one connection. */
  credentials(handshakeHash: Buffer): Buffer {
    const bytes = memberBytes(this.#registry, handshakeHash)
    const proofs = [...this.#identities].slice(-MAX_PROOFS).map(([key, { secretKey }]) => ({
      key,
      signature: toHex(crypto.sign(bytes, secretKey))
    }))
    const grants = this.grants.statementsFor(this.identities).slice(-MAX_GRANTS)
    return Buffer.from(JSON.stringify({ certificate: this.certificate, proofs, grants }))
  }

  /**
   * Reads what came with a hello: the keys that the other side holds.
   *
   * @param asRegistrar whether it announces itself as one, and so needs a certificate
   * @throws NOT_GRANTED if none of them may read this registry, NOT_A_MEMBER, BAD_MESSAGE, BAD_SIGNATURE
   */
  admit(
    remoteKey: string,
    handshakeHash: Buffer,
    credentials: Buffer,
    asRegistrar = false
  ): ReadonlySet<string> {
    const { certificate, proofs, grants } = parseCredentials(credentials)
    const bytes = memberBytes(this.#registry, handshakeHash)
    const identities = new Set([remoteKey])
    for (const { key, signature } of proofs) {
      if (!crypto.verify(bytes, Buffer.from(signature, 'hex'), Buffer.from(key, 'hex'))) {
        throw SeaportError.BAD_SIGNATURE('a peer claims a key that it does not hold')
      }
      identities.add(key)
    }
    for (const grant of grants) this.learn(checkGrantStatement(grant, this.#registry))
    const isRegistrar =
      certificate !== null &&
      checkCertificate(certificate, this.#registry).registrarKey === remoteKey
    if (asRegistrar && !isRegistrar) throw impostor()
    if (!isRegistrar && !this.mayRead(identities)) throw notGranted(identities)
    return identities
  }

  /** Whether any of these keys may read this registry. */
  mayRead(identities: ReadonlySet<string>): boolean {
    return [...identities].some((key) => this.grants.allows(key, { kind: 'read' }))
  }

  /** Takes a grant or revocation whose signature was checked. Returns whether it was news. */
  learn(statement: GrantStatement): boolean {
    return this.grants.isAuthorized(statement) && this.grants.add(statement)
  }
}

function impostor(): SeaportError {
  return SeaportError.NOT_A_MEMBER('a peer announces itself as a registrar without a certificate')
}

function notGranted(identities: ReadonlySet<string>): SeaportError {
  const keys = [...identities].slice(1).map((key) => `${key.slice(0, 8)}…`)
  return SeaportError.NOT_GRANTED(
    `this registry is private, and ${keys.join(', ') || 'that key'} has no grant`
  )
}

function memberBytes(registry: Buffer, handshakeHash: Buffer): Buffer {
  return crypto.hash([MEMBER_TYPE, registry, handshakeHash])
}

interface Credentials {
  certificate: unknown
  proofs: { key: string; signature: string }[]
  grants: unknown[]
}

function parseCredentials(bytes: Buffer): Credentials {
  const bad = () => SeaportError.BAD_MESSAGE('a peer has malformed credentials')
  if (bytes.byteLength === 0) return { certificate: null, proofs: [], grants: [] }
  if (bytes.byteLength > MAX_CREDENTIALS_BYTES) throw bad()
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch {
    throw bad()
  }
  if (!isObject(value)) throw bad()
  const { certificate = null, proofs, grants } = value
  if (!Array.isArray(proofs) || proofs.length > MAX_PROOFS || !proofs.every(isProof)) throw bad()
  if (!Array.isArray(grants) || grants.length > MAX_GRANTS) throw bad()
  return { certificate, proofs, grants }
}

function isProof(value: unknown): boolean {
  return (
    isObject(value) &&
    /^[0-9a-f]{64}$/.test(String(value.key)) &&
    /^[0-9a-f]{128}$/.test(String(value.signature))
  )
}
