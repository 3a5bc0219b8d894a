import { once } from 'node:events'
import { SeaportError } from './errors.js'
import { type KeyPair, parseKey, toHex } from './keys.js'
import { factory, Lifecycle } from './lifecycle.js'
import { Acceptor } from './link/acceptor.js'
import { type Backend, connectBackend, parseBackend } from './link/backend.js'
import { type DirectReach, directHosts, parseDirectReach } from './link/direct-address.js'
import { DirectListener } from './link/direct-listener.js'
import type { NetworkOptions } from './network.js'
import { withAdvice } from './registry/denial.js'
import { Lease } from './registry/lease.js'
import { keepServiceKey } from './registry/own-keys.js'
import { Participant } from './registry/participant.js'
import { checkTags, type ServiceRecord } from './registry/record.js'
import { temporaryNotice } from './registry/storage.js'
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
  /**
   * Whether consumers may come by TCP, and from where: `lan`, the default, from this machine and private
   * networks; `any`, from public ones too. On loopback alone if the DHT node is.
   */
  direct?: DirectReach | undefined
  /** TCP port for that. Default: free ones. */
  directPort?: number | undefined
  /** Folder of this process's replica and keys. Default: the user's data folder. */
  dir?: string | undefined
  /** How long `setup()` waits for a registrar, in ms; Infinity to wait on. */
  timeout?: number | undefined
}

const SETUP_TIMEOUT_MS = 30_000
/** How long another process under our key has to pick up before we take it for dead. */
const PROBE_TIMEOUT_MS = 1500
const VERB = 'service'
const DIRECT_REACH: DirectReach = 'lan'

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
  readonly #reach: DirectReach
  readonly #directPort: number | undefined
  readonly #timeout: number
  readonly #dir: string | undefined
  readonly #participant: Participant
  #keyPair: KeyPair | undefined
  #acceptor: Acceptor | null = null
  #listener: DirectListener | null = null
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
      direct = DIRECT_REACH,
      directPort,
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
    this.#reach = parseDirectReach(direct)
    this.#directPort = directPort
    this.#dir = dir
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
      await this.#listen(this.#keyPair)
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
    await this.#listener?.close()
    await this.#acceptor?.close()
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    this.#participant.replica.off('rights', this.#onrights)
    await this.#participant.release()
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  readonly #ondenied = (reason: SeaportError) => {
    const { role, version } = this.role
    this.#denial = withAdvice(reason, { key: this.publicKey, serve: [`${role}@${version}`] })
    this.emit('denied', this.#denial)
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

  /** Takes links by TCP, too, for as long as it is open. */
  async #listen(keyPair: KeyPair) {
    const { host } = this.#participant.network
    this.#listener = new DirectListener({
      keyPair,
      hosts: () => directHosts({ reach: this.#reach, host }),
      port: this.#directPort,
      onconnection: (connection) => this.#acceptor?.take(connection, 'direct')
    })
    this.#listener.on('notice', this.#onnotice)
    this.#listener.on('addresses', () => this.#lease?.update({ direct: this.#addresses }))
    await this.#listener.ready()
  }

  get #addresses(): string[] {
    return this.#listener?.addresses ?? []
  }

  #authorize(key: Buffer): boolean | SeaportError {
    const consumer = toHex(key)
    if (this.#allow && !this.#allow.has(consumer)) return false
    const { grants } = this.#participant.membership
    if (grants.allows(consumer, { kind: 'consume', ...this.role })) return true
    const { role, version } = this.role
    const denial = SeaportError.NOT_GRANTED(
      `this registry is private, and ${consumer} may not consume ${role}@${version}`
    )
    return withAdvice(denial, { key, consume: [`${role}@${version}`] })
  }

  async #register(keyPair: KeyPair) {
    const lease = new Lease({
      replica: this.#participant.replica,
      keyPair,
      fields: { ...this.role, tags: this.#tags, status: 'passing', direct: this.#addresses }
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
    const backend = `${this.#backend.host}:${this.#backend.port}`
    return keepServiceKey(this.#registry, { ...this.role, backend }, this.#dir)
  }
}

export type Service = ServiceInstance
/** Makes a service; `new` works as well. */
export const Service = factory(ServiceInstance)

function lateRegistrar(): SeaportError {
  return SeaportError.REGISTRAR_NOT_FOUND(
    "no registrar answered in time; is `hyperseaport registry` running with this registry's seed, on the same DHT?"
  )
}
