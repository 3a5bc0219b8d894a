import { SeaportError } from '../../core/errors.js'
import { crypto, type SecretStream } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { checkGrantStatement, type GrantStatement, isGrantStatement } from '../trust/grant.js'
import { Grants } from '../trust/grants.js'
import { InstanceRule } from '../trust/instance-rule.js'
import { isObject } from '../trust/statement.js'
import { StatementKinds } from '../trust/statement-kinds.js'
import { Statements } from '../trust/statements.js'

/** Largest credentials, in bytes of JSON. */
export const MAX_CREDENTIALS_BYTES = 32 * 1024

const MEMBER_TYPE = Buffer.from('hyperseaport/member/1')
const MAX_PROOFS = 64
const MAX_GRANTS = 64

/** One side's view of a connection. */
export type Handshake = Pick<SecretStream, 'handshakeHash' | 'isInitiator' | 'remotePublicKey'>

/**
 * Who this process is in the registry, and whom it lets in. Its swarm key is made afresh for each run;
 * the keys that are granted something are proven beside it, on each connection. A registrar proves the
 * registry's own, and so shows nothing of what it has before it knows who asks.
 */
export class Membership {
  readonly grants: Grants
  /** All that the logs say, grants included, and leases not. */
  readonly statements: Statements
  /** Which records count as instances. */
  readonly instances: InstanceRule

  readonly #registry: Buffer
  readonly #identities = new Map<string, KeyPair>()

  /** @param isStrict whether this is a registrar, which takes nothing that is dated too far ahead */
  constructor(registry: Buffer, kinds = new StatementKinds(), { isStrict = false } = {}) {
    this.#registry = registry
    this.grants = new Grants(registry)
    this.statements = new Statements(kinds, this.grants, { isStrict })
    this.statements.watchAll((statement) => {
      if (isGrantStatement(statement)) this.grants.add(statement)
    })
    this.instances = new InstanceRule(this.statements, this.grants)
    this.grants.watch(() => this.instances.review())
  }

  /** Keys in hex that this process proves to hold. */
  get identities(): string[] {
    return [...this.#identities.keys()]
  }

  /** Proves to hold a key too, on connections made from now on. */
  addIdentity(keyPair: KeyPair) {
    this.#identities.set(toHex(keyPair.publicKey), keyPair)
  }

  /** What goes with our hello on one connection: of many keys, those that were granted something, and the last. */
  credentials({ handshakeHash, isInitiator }: Handshake): Buffer {
    const bytes = memberBytes(this.#registry, handshakeHash, isInitiator)
    const proofs: Proof[] = []
    const grants = new Set<GrantStatement>()
    let room = MAX_CREDENTIALS_BYTES - JSON.stringify({ proofs, grants: [] }).length
    for (const [key, { secretKey }] of this.#byUse()) {
      const proof = { key, signature: toHex(crypto.sign(bytes, secretKey)) }
      const shown = this.grants.proofOf(key).filter((statement) => !grants.has(statement))
      for (const part of [proof, ...shown]) room -= Buffer.byteLength(JSON.stringify(part)) + 1
      const isFull = proofs.length === MAX_PROOFS || grants.size + shown.length > MAX_GRANTS
      if (isFull || room < 0) break
      proofs.push(proof)
      for (const statement of shown) grants.add(statement)
    }
    return Buffer.from(JSON.stringify({ proofs, grants: [...grants] }))
  }

  /**
   * Reads what came with a hello: the keys that the other side holds.
   *
   * @param asRegistrar whether it announces itself as one, and so needs the registry's own
   * @throws NOT_GRANTED if none of them may read this registry, NOT_A_MEMBER, BAD_MESSAGE, BAD_SIGNATURE
   */
  admit(
    { handshakeHash, isInitiator, remotePublicKey }: Handshake,
    credentials: Buffer,
    asRegistrar = false
  ): ReadonlySet<string> {
    const { proofs, grants } = parseCredentials(credentials)
    const bytes = memberBytes(this.#registry, handshakeHash, !isInitiator)
    const identities = new Set([toHex(remotePublicKey)])
    for (const { key, signature } of proofs) {
      if (!crypto.verify(bytes, Buffer.from(signature, 'hex'), Buffer.from(key, 'hex'))) {
        throw SeaportError.BAD_SIGNATURE('a peer claims a key that it does not hold')
      }
      identities.add(key)
    }
    for (const value of grants) {
      if (!isUnknown(value)) this.learn(checkGrantStatement(value, this.#registry))
    }
    if (asRegistrar && !identities.has(toHex(this.#registry))) throw impostor()
    if (!this.mayRead(identities)) throw notGranted(identities)
    return identities
  }

  /**
   * Whether any of these keys may read this registry. Who knows nothing of it cannot tell, and has nothing
   * to be read.
   */
  mayRead(identities: ReadonlySet<string>): boolean {
    if (this.grants.isPrivate === null) return true
    return [...identities].some((key) => this.grants.allows(key, { kind: 'read' }))
  }

  /**
   * Takes a statement from anybody whose signature was checked. No registrar has checked its date.
   *
   * @returns whether it was news
   */
  learn(statement: GrantStatement): boolean {
    if (!this.grants.isAuthorized(statement) || !this.statements.isTimely(statement)) return false
    return this.statements.add(statement)
  }

  /** Our keys, those first that were granted something, then the newest. */
  #byUse(): [string, KeyPair][] {
    const newest = [...this.#identities].reverse()
    const isGranted = ([key]: [string, KeyPair]) => this.grants.proofOf(key).length > 0
    return [...newest.filter(isGranted), ...newest.filter((one) => !isGranted(one))]
  }
}

/** Whether a statement is of a type that this build does not take with credentials. It is passed over. */
function isUnknown(value: unknown): boolean {
  return (
    isObject(value) && typeof value.type === 'string' && !isGrantStatement({ type: value.type })
  )
}

function impostor(): SeaportError {
  return SeaportError.NOT_A_MEMBER(
    'a peer announces itself as a registrar and does not hold the registry’s key'
  )
}

function notGranted(identities: ReadonlySet<string>): SeaportError {
  const keys = [...identities].slice(1).map((key) => `${key.slice(0, 8)}…`)
  return SeaportError.NOT_GRANTED(`this registry is private, and ${haveNoGrant(keys)}`)
}

function haveNoGrant(keys: string[]): string {
  if (keys.length === 2) return `neither ${keys.join(' nor ')} has a grant`
  if (keys.length > 2) return `none of ${keys.join(', ')} has a grant`
  return `${keys[0] ?? 'that key'} has no grant`
}

/** Names the side that signs, so that the other gains nothing by repeating it. */
function memberBytes(registry: Buffer, handshakeHash: Buffer, byInitiator: boolean): Buffer {
  return crypto.hash([MEMBER_TYPE, registry, handshakeHash, Buffer.of(byInitiator ? 1 : 0)])
}

interface Proof {
  key: string
  signature: string
}

interface Credentials {
  proofs: Proof[]
  grants: unknown[]
}

function parseCredentials(bytes: Buffer): Credentials {
  const bad = () => SeaportError.BAD_MESSAGE('a peer has malformed credentials')
  if (bytes.byteLength === 0) return { proofs: [], grants: [] }
  if (bytes.byteLength > MAX_CREDENTIALS_BYTES) throw bad()
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch {
    throw bad()
  }
  if (!isObject(value)) throw bad()
  const { proofs, grants } = value
  if (!Array.isArray(proofs) || proofs.length > MAX_PROOFS || !proofs.every(isProof)) throw bad()
  if (!Array.isArray(grants) || grants.length > MAX_GRANTS) throw bad()
  return { proofs, grants }
}

function isProof(value: unknown): boolean {
  return (
    isObject(value) &&
    /^[0-9a-f]{64}$/.test(String(value.key)) &&
    /^[0-9a-f]{128}$/.test(String(value.signature))
  )
}
