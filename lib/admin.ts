import { SeaportError } from './core/errors.js'
import { KeyPair, parseKey, toHex } from './core/keys.js'
import { factory, Lifecycle, type SetupOptions } from './core/lifecycle.js'
import type { NetworkOptions } from './core/network.js'
import { Participant } from './registry/replica/participant.js'
import { withAdvice } from './registry/swarm/denial.js'
import {
  type Grant,
  type GrantTerms,
  type Revocation,
  signGrant,
  signRevocation
} from './registry/trust/grant.js'
import type { StatementKind } from './registry/trust/statement-kind.js'

export interface AdminOptions extends NetworkOptions {
  /** The registry's seed; or leave it out and administer with this process's key, if that is an admin's. */
  seed?: Buffer | string | undefined
  /** Hex, z-base-32 or 32 bytes. Needed without the seed. */
  registryPublicKey?: Buffer | string | undefined
  /** Folder of this process's replica and key. Default: the user's data folder. */
  dir?: string | undefined
  /** Kinds of statements that it exports and imports beside those of every registry. */
  kinds?: readonly StatementKind[] | undefined
  /** How long to look for a registrar, in ms. */
  timeout?: number | undefined
}

const TIMEOUT_MS = 10_000
/** After one registrar denied us: another may know of a newer grant. */
const DENIAL_TIMEOUT_MS = 1500
const VERB = 'admin'

/** Grants and revokes, in the name of the registry or of one of its admins. */
class AdminInstance extends Lifecycle {
  readonly #registry: Buffer
  readonly #participant: Participant
  #timeout: number
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, OFFLINE, USAGE */
  constructor({
    seed,
    registryPublicKey,
    dir,
    bootstrap,
    host,
    kinds,
    timeout = TIMEOUT_MS
  }: AdminOptions) {
    super()
    const keyPair = seed === undefined ? undefined : KeyPair(parseKey(seed, 'registry seed'))
    if (!keyPair && registryPublicKey === undefined) {
      throw SeaportError.USAGE('which registry? Give its seed, or its public key')
    }
    this.#registry = keyPair?.publicKey ?? parseKey(registryPublicKey ?? '', 'registry public key')
    this.#timeout = timeout
    this.#participant = Participant.acquire({
      registry: this.#registry,
      bootstrap,
      host,
      dir,
      verb: VERB,
      as: 'passer-by',
      kinds,
      keyPair
    })
  }

  /** @throws REGISTRAR_NOT_FOUND, NOT_GRANTED, STORAGE_FAILED, CLOSED */
  async setup({ timeout }: SetupOptions = {}): Promise<this> {
    this.#timeout = timeout ?? this.#timeout
    await this.begin()
    return this
  }

  /**
   * Lets a key do something, from now on; it replaces what this issuer granted it before.
   *
   * @throws BAD_ROLE, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async grant(subject: Buffer | string, terms: Partial<GrantTerms>): Promise<Grant> {
    const { serve = [], consume = [], admin = false, expiresAt = 0 } = terms
    const key = parseKey(subject, 'granted key')
    const grant = signGrant(
      this.#registry,
      this.#issuer,
      key,
      { serve, consume, admin, expiresAt },
      this.#timeOn(key)
    )
    await this.#write(grant)
    return grant
  }

  /**
   * Ends all grants of a key. Its links and its replication are cut.
   *
   * @throws NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async revoke(subject: Buffer | string): Promise<Revocation> {
    const key = parseKey(subject, 'revoked key')
    const revocation = signRevocation(this.#registry, this.#issuer, key, this.#timeOn(key))
    await this.#write(revocation)
    return revocation
  }

  /** The grants in force, and the keys that were revoked. */
  list() {
    const { grants } = this.#participant.membership
    return { private: grants.isPrivate !== false, ...grants.list() }
  }

  /**
   * All that the registry says now, a signed JSON object each: its records, grants, revocations and statements of
   * other kinds. A backup of all but the records, which come back by themselves, with their owners.
   */
  export(): string[] {
    return this.#participant.replica.backup.export()
  }

  /**
   * Brings what an export holds back, as it was signed. Later statements stay; records, and kinds that are unknown
   * here, are passed over.
   *
   * @returns how many were taken
   * @throws BAD_MESSAGE, BAD_SIGNATURE, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async import(lines: Iterable<string>): Promise<number> {
    if (this.#participant.replica.registrars.length === 0) throw noRegistrar()
    return this.#participant.replica.backup.import(lines)
  }

  /** Later than all that was said of a key before, whatever clock that was said by. */
  #timeOn(key: Buffer): number {
    const { grants } = this.#participant.membership
    return Math.max(Date.now(), grants.lastWordOn(toHex(key)) + 1)
  }

  get #issuer(): KeyPair {
    return this.#participant.keyPair
  }

  protected override async start() {
    this.#participant.on('denied', this.#ondenied)
    const deadline = performance.now() + this.#timeout
    const { replica, network } = this.#participant
    const late = () => this.#denial ?? noRegistrar(network.fault)
    await this.waitFor(this.#participant.ready(), deadline - performance.now(), late)
    const found = new Promise<void>((resolve) => {
      replica.once('registrar', () => resolve())
    })
    await this.waitFor(
      Promise.all([replica.registrars.length > 0 ? null : found, replica.synced()]),
      deadline - performance.now(),
      late
    )
  }

  protected override async stop() {
    this.#participant.off('denied', this.#ondenied)
    await this.#participant.release()
  }

  /** What a mere member says is told when nothing better comes in time. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    this.#denial = withAdvice(reason, { key: this.#issuer.publicKey })
    if (byRegistry) this.hurry(DENIAL_TIMEOUT_MS)
  }

  async #write(statement: Grant | Revocation) {
    const { replica } = this.#participant
    if (replica.registrars.length === 0) throw noRegistrar()
    await replica.put(statement)
  }
}

export type Admin = AdminInstance
/** Makes an administration of a registry; `new` works as well. */
export const Admin = factory(AdminInstance)

function noRegistrar(fault: SeaportError | null = null): SeaportError {
  return SeaportError.REGISTRAR_NOT_FOUND(
    fault?.text ??
      "no registrar answered in time, and grants are theirs to write; is 'hyperseaport registry' running?",
    fault
  )
}
