import { EventEmitter } from 'node:events'
import type { Agent } from 'node:http'
import type { Duplex } from 'node:stream'
import { SeaportError } from './core/errors.js'
import { parseKey, toHex } from './core/keys.js'
import { factory, Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { parseRoleRange, type RoleRange } from './core/role.js'
import type { BalanceMode } from './dialing/balancer.js'
import { Dialer } from './dialing/dialer.js'
import { type CallerOptions, linksOf } from './dialing/links.js'
import { StreamClient } from './http/client.js'
import type { LinkPool, LinkView, PathView } from './link/pool.js'
import { TcpProxy } from './proxy/tcp-proxy.js'
import { temporaryNotice } from './registry/log/storage.js'
import type { DirectoryListener, Instance, Versions } from './registry/replica/directory.js'
import { Participant } from './registry/replica/participant.js'
import { withAdvice } from './registry/swarm/denial.js'

export { BALANCE_MODES } from './dialing/balancer.js'

export interface ConsumerOptions extends CallerOptions {
  /** Local port of each role's proxy, in the order of the roles. Default: free ones. */
  ports?: number[] | undefined
  /** Address the proxies listen on. Default: loopback. */
  listen?: string | undefined
  /**
   * How instances are chosen, for each connection: `p2c`, the default (of two at random the one that is
   * quicker and has less to do), `first`, `round-robin` or `hash` (the same one each time). `entry.setMode`
   * changes it later.
   */
  loadBalanceOptions?: { mode?: BalanceMode | undefined } | undefined
  /** Whether older versions are only there for when the newest has failed, or have their share (`all`). */
  versions?: Versions | undefined
  /** What it is called in the default folder. */
  verb?: string | undefined
  /** Whether to serve the replica to others for as long as this lives. Default: true. */
  serve?: boolean | undefined
  /** How long `setup()` waits for the registry and for an instance of each role, in ms; Infinity to wait on. */
  timeout?: number | undefined
  /**
   * How long it goes on after a private registry denied it, in ms: somebody else there may know of a newer grant, or one
   * may come. Default: as long as `timeout`.
   */
  denialTimeout?: number | undefined
}

const SETUP_TIMEOUT_MS = 30_000
const LOOPBACK = '127.0.0.1'

/**
 * What some roles' instances are reached through, one entry a role. Emits `connecting`, `connected` (the
 * directory is ready), `waiting` (the role ranges nobody serves yet), `found` (an Instance, its entry),
 * `listening` (an entry), `registrar` (another one is alive), `denied` (a SeaportError: the registry does not let us in), `refused` (a SeaportError, the entry: a connection that found no instance)
 * and `notice` (a SeaportError).
 */
class ConsumerInstance extends Lifecycle {
  readonly entries: readonly ConsumerEntry[]

  #timeout: number
  readonly #denialTimeout: number
  readonly #participant: Participant
  readonly #pool: LinkPool
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE */
  constructor(roles: string[], options: ConsumerOptions) {
    super()
    const {
      registryPublicKey,
      ports = [],
      listen = LOOPBACK,
      loadBalanceOptions: { mode } = {},
      versions,
      dir,
      verb = 'consumer',
      serve = true,
      bootstrap,
      host
    } = options
    const wanted = checkRoles(roles).map(parseRoleRange)
    const registry = parseKey(registryPublicKey, 'registry public key')
    this.#timeout = options.timeout ?? SETUP_TIMEOUT_MS
    this.#denialTimeout = options.denialTimeout ?? Infinity
    const as = serve ? 'replica' : 'passer-by'
    this.#participant = Participant.acquire({ registry, bootstrap, host, dir, verb, as })
    this.#pool = linksOf(this.#participant, options.direct)
    this.entries = wanted.map((role, i) => {
      const { directory } = this.#participant.replica
      const resolve = () => directory.resolve(role.role, role.range, versions)
      const dialer = new Dialer({
        role: `${role.role}@${role.range}`,
        pool: this.#pool,
        resolve,
        watch: (listener) => directory.watch(listener),
        mode,
        versions,
        consumerKey: () => toHex(this.#participant.keyPair.publicKey)
      })
      const proxy = new TcpProxy({
        port: ports[i] ?? 0,
        host: listen,
        dial: (options) => dialer.dial(options)
      })
      const client = new StreamClient({
        dialer,
        pool: this.#pool,
        directory: this.#participant.replica.directory,
        host: role.role
      })
      const entry = new ConsumerEntry(role, resolve, dialer, proxy, client)
      proxy.on('refused', (error) => this.emit('refused', error, entry))
      return entry
    })
  }

  /**
   * Resolves with an entry for each role, in the order of the roles, once each has an instance.
   *
   * @throws REGISTRY_NOT_FOUND, NO_INSTANCE, PORT_IN_USE, CLOSED
   */
  async setup({ timeout }: SetupOptions = {}): Promise<readonly ConsumerEntry[]> {
    this.#timeout = timeout ?? this.#timeout
    await this.begin()
    return this.entries
  }

  /**
   * The instances that are known now: of one role range, in the order in which they would be tried, or
   * all, by role and version.
   *
   * @throws BAD_ROLE
   */
  list(role?: string): readonly Instance[] {
    const { directory } = this.#participant.replica
    if (role === undefined) return directory.list()
    const wanted = parseRoleRange(role)
    return directory.resolve(wanted.role, wanted.range)
  }

  /** Calls the listener after each change of any instance, until the returned function is called. */
  watch(listener: DirectoryListener): () => void {
    return this.#participant.replica.directory.watch(listener)
  }

  /** The links to services, and which path carries each. */
  links(): LinkView[] {
    return this.#pool.links()
  }

  /**
   * Links with an instance, and tells on which path.
   *
   * @throws LINK_LOST, CLOSED, or the signal's reason
   */
  reach({ servicePublicKey }: Instance, signal?: AbortSignal): Promise<PathView> {
    return this.#pool.reach(parseKey(servicePublicKey), signal)
  }

  /** The links to services; the registrars, which of them are alive, and how far our copy is behind. */
  getStats() {
    const { replica } = this.#participant
    return {
      registrars: replica.registrars.length,
      behind: replica.behind,
      peers: replica.peering.peers.size,
      links: { ...this.#pool.stats },
      logs: replica.logs()
    }
  }

  protected override async start() {
    const deadline = performance.now() + this.#timeout
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    this.#participant.replica.on('registrar', this.#onregistrar)
    this.emit('connecting')
    for (const { proxy } of this.entries) await proxy.check()
    const notFound = () => this.#denial ?? this.#participant.notFound()
    await this.waitFor(this.#participant.ready(), deadline - performance.now(), notFound)
    const { storage, replica } = this.#participant
    if (storage.temporary) this.emit('notice', temporaryNotice(storage.dir))
    await this.waitFor(replica.synced(), deadline - performance.now(), notFound)
    this.emit('connected')
    await this.waitFor(this.#allFound(), deadline - performance.now(), () => this.#missing())
  }

  protected override async stop() {
    for (const { proxy, client } of this.entries) {
      client.close()
      await proxy.close()
    }
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    this.#participant.replica.off('registrar', this.#onregistrar)
    await this.#participant.release(() => this.#pool.close())
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  readonly #onregistrar = () => this.emit('registrar')

  /** What a mere member says is told when nothing better comes in time. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    const key = this.#participant.keyPair.publicKey
    this.#denial = withAdvice(reason, { key, consume: this.entries.map(String) })
    if (!byRegistry) return
    this.emit('denied', this.#denial)
    if (!this.#participant.replica.isSynced) this.hurry(this.#denialTimeout)
  }

  /** Each entry listens as soon as its first instance is there, whatever the others wait for. */
  async #allFound() {
    const waiting = this.entries.filter((entry) => entry.instances().length === 0)
    if (waiting.length > 0) this.emit('waiting', waiting.map(String))
    await Promise.all(
      this.entries.map(async (entry) => {
        const instance = await this.#firstInstance(entry)
        if (this.signal.aborted) return
        this.emit('found', instance, entry)
        await entry.proxy.ready()
        this.emit('listening', entry, instance)
      })
    )
  }

  #firstInstance(entry: ConsumerEntry): Promise<Instance> {
    return new Promise((resolve) => {
      const check = () => {
        const [instance] = entry.instances()
        if (!instance) return
        stop()
        resolve(instance)
      }
      const stop = this.#participant.replica.directory.watch(check)
      check()
    })
  }

  #missing(): SeaportError {
    const missing = this.entries.filter((entry) => entry.instances().length === 0).map(String)
    const others = this.#participant.replica.directory.roles()
    const hint =
      others.length > 0
        ? `; the registry has ${others.slice(0, 10).join(', ')}`
        : '; the registry is empty'
    return SeaportError.NO_INSTANCE(`nobody serves ${missing.join(', ')} yet${hint}`)
  }
}

/** One role of a consumer: a local port, a URL, or streams without either. */
class ConsumerEntry extends EventEmitter {
  readonly role: string
  readonly range: string
  /** Not for callers: the consumer opens and closes it. */
  readonly proxy: TcpProxy
  /** The instances that match now, in the order in which they would be tried. */
  readonly instances: () => readonly Instance[]
  /** As the proxy, not for callers: `agent` and `fetch` are. */
  readonly client: StreamClient
  readonly #dialer: Dialer

  constructor(
    { role, range }: RoleRange,
    instances: () => readonly Instance[],
    dialer: Dialer,
    proxy: TcpProxy,
    client: StreamClient
  ) {
    super()
    this.role = role
    this.range = range
    this.instances = instances
    this.#dialer = dialer
    this.proxy = proxy
    this.client = client
  }

  /** How instances are chosen. */
  get mode(): BalanceMode {
    return this.#dialer.mode
  }

  /**
   * Chooses otherwise from the next connection on.
   *
   * @throws USAGE
   */
  setMode(mode: BalanceMode) {
    this.#dialer.setMode(mode)
  }

  /** The local port. */
  get port(): number {
    return this.proxy.port
  }

  /** Where an HTTP client finds the service, as in `http://127.0.0.1:40123`. */
  get url(): string {
    const { host } = this.proxy
    return `http://${host.includes(':') ? `[${host}]` : host}:${this.port}`
  }

  /**
   * Opens a stream to an instance, without a local port.
   *
   * @throws NO_INSTANCE with what each instance answered
   */
  async connect({ signal }: { signal?: AbortSignal } = {}): Promise<Duplex> {
    const stream = await this.#dialer.dial(signal ? { signal } : {})
    return stream.toDuplex()
  }

  /** For `http.request`: its sockets are streams to instances, without a local port. */
  get agent(): Agent {
    return this.client.agent
  }

  /** `fetch` over such streams: a path, or a URL whose host goes into the Host field only. */
  get fetch(): StreamClient['fetch'] {
    return this.client.fetch
  }

  getStats() {
    return {
      instances: this.instances().length,
      proxy: { ...this.proxy.stats },
      dialer: { ...this.#dialer.stats }
    }
  }

  override toString(): string {
    return `${this.role}@${this.range}`
  }
}

/** Whoever has no types may give one role only. */
function checkRoles(roles: unknown): string[] {
  if (Array.isArray(roles)) return roles
  throw SeaportError.USAGE(
    `a consumer takes a list of roles, as in ['couchdb@3.x'], not ${typeof roles}`
  )
}

export type Consumer = ConsumerInstance
export type { ConsumerEntry }
/** Makes a consumer of some roles; `new` works as well. */
export const Consumer = factory(ConsumerInstance)
