import { EventEmitter } from 'node:events'
import { type Callable, callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { type KeyPair, parseKey, registryKeysOf, toHex } from './core/keys.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import type { NetworkOptions } from './core/network.js'
import { checkOptions } from './option-shapes.js'
import type { RegistrarView } from './registry/replica/known-logs.js'
import { Participant } from './registry/replica/participant.js'
import {
  type Forgotten,
  type Grant,
  type GrantTerms,
  MAX_OVERRULED,
  type Revocation,
  type StatementKind,
  signForgotten,
  signGrant,
  signRevocation
} from './registry/trust/signed.js'

/** What an administration is told. */
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
/** How long registrars that are known may take to be heard of. */
const HEARING_TIMEOUT_MS = 1000
/** The same where one that is heard of late matters: before one is struck off, and for a backup. */
const LATE_TIMEOUT_MS = 5000
const VERB = 'admin'
/** What a replica emits when more is known of registrars. */
const NEWS = ['registrar', 'peer', 'applied']

/** What an administration emits. */
export interface AdminEvents {
  /** The registry does not let us in. */
  denied: [reason: SeaportError]
  /** Something that may need a person's attention; the administration goes on. */
  notice: [notice: SeaportError]
}

/** Grants and revokes, in the name of the registry or of one of its admins. */
class AdminFace extends EventEmitter<AdminEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  readonly #registry: Buffer
  readonly #participant: Participant
  #timeout: number
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, OFFLINE, USAGE */
  constructor(options: AdminOptions) {
    super()
    checkOptions(options)
    const { seed, registryPublicKey, dir, bootstrap, host, kinds } = options
    const { registry, keyPair } = registryKeysOf(seed, registryPublicKey)
    this.#registry = registry
    this.#timeout = options.timeout ?? TIMEOUT_MS
    this.#participant = Participant.acquire({
      registry: this.#registry,
      bootstrap,
      host,
      dir,
      verb: VERB,
      as: 'observer',
      kinds,
      keyPair
    })
  }

  /** @throws REGISTRAR_NOT_FOUND, NOT_GRANTED, STORAGE_FAILED, CLOSED */
  async setup({ timeout }: SetupOptions = {}): Promise<this> {
    this.#timeout = timeout ?? this.#timeout
    await this.#lifecycle.begin()
    return this
  }

  /**
   * Leaves the registry. May be called at any time, and more than once; a `setup()` that is under way is rejected with
   * CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /**
   * Lets a key do something, from now on; it replaces what this issuer granted it before.
   *
   * @throws BAD_ROLE, USAGE, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async grant(subject: Buffer | string, terms: Partial<GrantTerms>): Promise<Grant> {
    const { serve = [], consume = [], call = [], deploy = [], admin = false, expiresAt = 0 } = terms
    const key = parseKey(subject, 'granted key')
    const overrules = terms.overrules ?? this.#overruledBy(key)
    const grant = signGrant(
      this.#registry,
      this.#issuer,
      key,
      {
        ...{ serve, consume, call, deploy, admin, expiresAt },
        ...(terms.host && { host: true }),
        ...(overrules.length > 0 && { overrules })
      },
      this.#timeOn(key)
    )
    await this.#write(grant)
    return grant
  }

  /**
   * Lets a key do something beside what this issuer granted it before. The end is that of the new grant.
   *
   * @throws BAD_ROLE, USAGE, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async grantMore(subject: Buffer | string, terms: Partial<GrantTerms>): Promise<Grant> {
    const key = toHex(parseKey(subject, 'granted key'))
    const issuer = toHex(this.#issuer.publicKey)
    const known = this.list().grants.find(
      (grant) => grant.subject === key && grant.issuer === issuer
    )
    const both = (field: 'serve' | 'consume' | 'call') => [
      ...new Set([...(known?.[field] ?? []), ...(terms[field] ?? [])])
    ]
    return this.grant(key, {
      ...terms,
      serve: both('serve'),
      consume: both('consume'),
      call: both('call'),
      deploy: unique([...(known?.deploy ?? []), ...(terms.deploy ?? [])]),
      ...((terms.host || known?.host) && { host: true }),
      admin: terms.admin || known?.admin || false
    })
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
   * The registrars that are known, the newest first, and which of them are heard of.
   *
   * @param timeout how long those that are not are waited for, in ms
   */
  async registrars(timeout = HEARING_TIMEOUT_MS): Promise<RegistrarView[]> {
    const { replica } = this.#participant
    await this.#heard(timeout, ({ live, isForgotten }) => live || isForgotten)
    return replica.knownRegistrars.sort((a, b) => b.since - a.since)
  }

  /**
   * Strikes a registrar off that is gone for good. Hosts wait for it no longer before they start what runs once only.
   *
   * @param registrar its key, or the first digits of it
   * @throws NOT_FOUND, CONFLICT if it is heard of, NOT_GRANTED, REGISTRAR_NOT_FOUND
   */
  async forget(registrar: string): Promise<Forgotten> {
    const isMeant = ({ registrarKey }: RegistrarView) => registrarKey.startsWith(registrar)
    const isNone = (one: RegistrarView) => !isMeant(one) || one.isForgotten
    await this.#heard(LATE_TIMEOUT_MS, (one) => isNone(one) || one.live)
    const matching = this.#participant.replica.knownRegistrars.filter(isMeant)
    const [found] = matching
    if (!found || matching.length > 1) {
      throw SeaportError.NOT_FOUND(
        `${found ? 'more than one registrar' : 'no registrar'} has the key ${registrar}; see 'hyperseaport registrars'`
      )
    }
    if (found.live) {
      throw SeaportError.CONFLICT(
        `the registrar ${found.registrarKey} is running; stop it for good before it is struck off`
      )
    }
    const statement = signForgotten(this.#registry, this.#issuer, found.registrarKey)
    await this.#write(statement)
    return statement
  }

  /**
   * Waits until each registrar that is known, but for those that were struck off, is heard of, and what it wrote is read.
   *
   * @param timeout how long, in ms
   * @returns those of which that is not so: an `export()` lacks what they alone know
   */
  async missing(timeout = LATE_TIMEOUT_MS): Promise<RegistrarView[]> {
    const { replica } = this.#participant
    const isMissing = ({ registrarKey, live, isForgotten }: RegistrarView) =>
      !isForgotten &&
      !(live && replica.logs().every((log) => log.registrarKey !== registrarKey || !log.behind))
    await this.#heard(timeout, (registrar) => !isMissing(registrar))
    return replica.knownRegistrars.filter(isMissing)
  }

  /**
   * All that is known of what the registry says, a signed JSON object each: its records, grants, revocations and statements
   * of other kinds. A backup of all but the records, which come back by themselves, with their owners. Wait for
   * `missing()` first: the registrar that was heard first may have begun a moment ago, and know nothing yet.
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

  /** Waits until all registrars are as is expected of them, or the time is over. */
  async #heard(timeout: number, isSo: (registrar: RegistrarView) => boolean) {
    const { replica } = this.#participant
    await new Promise<void>((resolve) => {
      const check = () => {
        if (replica.knownRegistrars.every(isSo)) end()
      }
      const end = () => {
        clearTimeout(timer)
        for (const event of NEWS) replica.off(event, check)
        resolve()
      }
      const timer = setTimeout(end, timeout)
      for (const event of NEWS) replica.on(event, check)
      check()
    })
  }

  /**
   * Later than all that was said of a key before, whatever clock that was said by. A date that no registrar would take
   * counts for nothing.
   */
  #timeOn(key: Buffer): number {
    const { grants, statements } = this.#participant.membership
    const { latest } = statements.dates
    const after = grants.lastWordOn(toHex(key), latest) + 1
    return Math.max(Date.now(), Math.min(after, latest))
  }

  /** The revocations that a grant by the registry's own key ends, whatever their dates. */
  #overruledBy(key: Buffer): string[] {
    if (!this.#issuer.publicKey.equals(this.#registry)) return []
    const { grants } = this.#participant.membership
    const revocations = grants.revocationsByAdmins(toHex(key))
    return revocations.slice(0, MAX_OVERRULED).map(({ signature }) => signature)
  }

  get #issuer(): KeyPair {
    return this.#participant.keyPair
  }

  async #start() {
    this.#participant.on('denied', this.#ondenied)
    this.#participant.on('notice', this.#onnotice)
    const deadline = performance.now() + this.#timeout
    const { replica, network } = this.#participant
    const late = () => this.#denial ?? noRegistrar(network.fault)
    await this.#lifecycle.waitFor(this.#participant.ready(), deadline - performance.now(), late)
    const found = new Promise<void>((resolve) => {
      replica.once('registrar', () => resolve())
    })
    await this.#lifecycle.waitFor(
      Promise.all([replica.registrars.length > 0 ? null : found, replica.synced()]),
      deadline - performance.now(),
      late
    )
  }

  async #stop() {
    this.#participant.off('denied', this.#ondenied)
    this.#participant.off('notice', this.#onnotice)
    await this.#participant.release()
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  /** What a mere member says is told when nothing better comes in time. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    this.#denial = this.#participant.withAdvice(reason)
    this.emit('denied', this.#denial)
    if (byRegistry) this.#lifecycle.hurry(DENIAL_TIMEOUT_MS)
  }

  async #write(statement: Grant | Revocation | Forgotten) {
    const { replica } = this.#participant
    if (replica.registrars.length === 0) throw noRegistrar()
    await replica.put(statement)
  }
}

export interface Admin extends AdminFace {}

/** Makes an administration of a registry; `new` works as well, and so does `extends`. */
export const Admin: Callable<[options: AdminOptions], Admin> = callable('Admin', AdminFace)

/** Each once, as it is written in JSON. */
function unique<T>(values: T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
}

function noRegistrar(fault: SeaportError | null = null): SeaportError {
  return SeaportError.REGISTRAR_NOT_FOUND(
    fault?.text ??
      "no registrar answered in time, and grants are theirs to write; is 'hyperseaport registry' running?",
    fault
  )
}
