import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { SeaportError } from './errors.js'
import { type KeyPair, parseKey, toHex } from './keys.js'
import { factory, Lifecycle } from './lifecycle.js'
import { Acceptor } from './link/acceptor.js'
import { type Backend, connectBackend, parseBackend } from './link/backend.js'
import type { NetworkOptions } from './network.js'
import { Lease } from './registry/lease.js'
import { Participant } from './registry/participant.js'
import { checkTags, type ServiceRecord } from './registry/record.js'
import { keepKeyPair } from './registry/storage.js'
import { parseServiceRole, type ServiceRole } from './role.js'

export interface ServiceOptions extends NetworkOptions {
  /** Hex, z-base-32 or 32 bytes. */
  registryPublicKey: Buffer | string
  /** Name and exact version, as in `couchdb@3.2.2`. */
  role: string
  /** TCP port of the backend on loopback. */
  port?: number | undefined
  /** The backend elsewhere: `host:port`. */
  target?: string | undefined
  /** The service's identity. Default: one that is kept per data folder, role and target. */
  keyPair?: KeyPair | undefined
  tags?: string[] | undefined
  /** Process keys of the only consumers that may connect. Default: all. */
  allow?: (Buffer | string)[] | undefined
  /** Folder of this process's replica and keys. Default: the user's data folder. */
  dir?: string | undefined
  /** How long `setup()` waits for a registrar, in ms; Infinity to wait on. */
  timeout?: number | undefined
}

const SETUP_TIMEOUT_MS = 30_000
/** How long another process under our key has to pick up before we take it for dead. */
const PROBE_TIMEOUT_MS = 1500
const VERB = 'service'

/**
 * A backend on this machine, registered and reachable. Emits `listening` (links are accepted),
 * `connecting`, `registered` (the ServiceRecord, whenever a registrar confirmed it), `lost` (no registrar
 * holds it any more; it goes on trying), `denied` and `notice` (a SeaportError each) and `refused` (a
 * SeaportError: a stream that the backend did not take).
 */
class ServiceInstance extends Lifecycle {
  readonly role: ServiceRole

  readonly #registry: Buffer
  readonly #backend: Backend
  readonly #tags: string[]
  readonly #allow: Set<string> | null
  readonly #timeout: number
  readonly #participant: Participant
  #keyPair: KeyPair | undefined
  #acceptor: Acceptor | null = null
  #lease: Lease | null = null
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE */
  constructor(options: ServiceOptions) {
    super()
    const {
      registryPublicKey,
      role,
      port,
      target,
      keyPair,
      tags = [],
      allow,
      dir,
      bootstrap,
      host
    } = options
    this.role = parseServiceRole(role)
    this.#registry = parseKey(registryPublicKey, 'registry public key')
    this.#backend = parseBackend(target ?? port)
    this.#keyPair = keyPair
    this.#tags = checkTags(tags)
    this.#allow = allow ? new Set(allow.map((key) => toHex(parseKey(key, 'allowed key')))) : null
    this.#timeout = options.timeout ?? SETUP_TIMEOUT_MS
    this.#participant = Participant.acquire({
      registry: this.#registry,
      bootstrap,
      host,
      dir,
      verb: VERB
    })
  }

  /** The service's public key: its address. Known after `listening`. */
  get publicKey(): Buffer {
    if (!this.#keyPair) throw SeaportError.CLOSED('the service was not set up')
    return this.#keyPair.publicKey
  }

  get servicePublicKey(): string {
    return toHex(this.publicKey)
  }

  /** The record as it was last signed. */
  get record(): ServiceRecord | null {
    return this.#lease?.record ?? null
  }

  /**
   * Resolves once a registrar confirmed the service.
   *
   * @throws REGISTRAR_NOT_FOUND, KEY_IN_USE, STORAGE_FAILED, CLOSED
   */
  async setup(): Promise<this> {
    await this.ready()
    return this
  }

  getStats() {
    return { registrars: this.#lease?.registrars ?? 0, ...this.#acceptor?.stats }
  }

  override async _open() {
    const { membership, storage, replica } = this.#participant
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    replica.on('rights', this.#onrights)
    try {
      this.#keyPair ??= await this.#keepKey()
      membership.addIdentity(this.#keyPair)
      await this.#participant.ready()
      if (storage.temporary) this.emit('notice', temporaryNotice(storage.dir))
      await this.#probe()
      await this.#accept(this.#keyPair)
      this.emit('listening')
      await this.#register(this.#keyPair)
    } catch (error) {
      await this.#closeAll()
      throw error
    }
  }

  override async _close() {
    await this.#closeAll()
  }

  async #closeAll() {
    await this.#lease?.close()
    await this.#acceptor?.close()
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    this.#participant.replica.off('rights', this.#onrights)
    await this.#participant.release()
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  readonly #ondenied = (reason: SeaportError) => {
    this.#denial = reason
    this.emit('denied', reason)
  }

  readonly #onrights = () => this.#acceptor?.recheck()

  async #accept(keyPair: KeyPair) {
    this.#acceptor = new Acceptor({
      dht: this.#participant.network.dht,
      keyPair,
      connect: () => connectBackend(this.#backend),
      authorize: (key) => this.#authorize(key)
    })
    this.#acceptor.on('refused', (error) => this.emit('refused', error))
    this.#acceptor.on('notice', this.#onnotice)
    await this.waitFor(this.#acceptor.ready(), Infinity, lateRegistrar)
  }

  #authorize(key: Buffer): boolean | SeaportError {
    const consumer = toHex(key)
    if (this.#allow && !this.#allow.has(consumer)) return false
    const { grants } = this.#participant.membership
    if (grants.allows(consumer, { kind: 'consume', ...this.role })) return true
    const { role, version } = this.role
    return SeaportError.NOT_GRANTED(
      `this registry is private, and ${consumer} may not consume ${role}@${version}`
    )
  }

  async #register(keyPair: KeyPair) {
    const lease = new Lease({
      replica: this.#participant.replica,
      keyPair,
      fields: { ...this.role, tags: this.#tags, status: 'passing', direct: [] }
    })
    this.#lease = lease
    const settled = new Promise<void>((resolve, reject) => {
      lease.on('registered', () => resolve())
      lease.on('denied', (error: SeaportError) =>
        error.code === 'KEY_IN_USE' ? reject(error) : null
      )
    })
    settled.catch(() => {})
    lease.on('registered', (record) => this.emit('registered', record))
    lease.on('denied', this.#ondenied)
    lease.on('lost', () => this.emit('lost'))
    this.emit('connecting')
    await lease.ready()
    await this.waitFor(settled, this.#timeout, () => this.#denial ?? lateRegistrar())
  }

  /** Two servers of one key would steal each other's callers, so ask whether one is there first. */
  async #probe() {
    const { dht } = this.#participant.network
    const connection = dht.connect(this.publicKey)
    connection.on('error', () => {})
    const signal = AbortSignal.any([this.signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)])
    const answered = await Promise.race([
      once(connection, 'open', { signal }).then(() => true),
      once(connection, 'close', { signal }).then(() => false)
    ]).catch(() => false)
    connection.destroy()
    if (this.signal.aborted) throw this.signal.reason
    if (answered) {
      throw SeaportError.KEY_IN_USE(
        `another running process serves under ${this.servicePublicKey}; stop it, or give this one another seed`
      )
    }
  }

  /** A service keeps its address over restarts, without being told a seed. */
  #keepKey(): Promise<KeyPair> {
    const { role, version } = this.role
    const name = `${role}@${version} ${this.#backend.host}:${this.#backend.port}`
    return keepKeyPair(
      this.#participant.dir,
      createHash('sha256').update(name).digest('hex').slice(0, 32)
    )
  }
}

export type Service = ServiceInstance
/** Makes a service; `new` works as well. */
export const Service = factory(ServiceInstance)

/** Says that a replica could not use its folder. */
export function temporaryNotice(dir: string): SeaportError {
  return SeaportError.STORAGE_LOCKED(
    `the data folder is in use by another process, this one works in ${dir} and forgets it at the end`
  )
}

function lateRegistrar(): SeaportError {
  return SeaportError.REGISTRAR_NOT_FOUND(
    "no registrar answered in time; is `hyperseaport registry` running with this registry's seed, on the same DHT?"
  )
}
