import { EventEmitter } from 'node:events'
import { ConsumerEntry, type EntryParts, PortlessEntry } from './consumer-entry.js'
import { callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { type KeyPair, parseKey, toHex } from './core/keys.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { LOOPBACK } from './core/listen.js'
import { parseRoleRange } from './core/role.js'
import { type BalanceMode, balancerOf } from './dialing/balancer.js'
import { Dialer } from './dialing/dialer.js'
import { type CallerOptions, checkCaller, linksOf } from './dialing/links.js'
import { StreamClient } from './http/client.js'
import type { LinkPool, LinkView, PathView } from './link/pool.js'
import { ConsumerTalk } from './messaging/consumer-talk.js'
import { ConsumerMail } from './messaging/mail/consumer-mail.js'
import { forwarderOf } from './messaging/mail/forwarding.js'
import { checkOptions } from './option-shapes.js'
import { TcpProxy } from './proxy/tcp-proxy.js'
import type { DirectoryListener, Instance, Versions } from './registry/replica/directory.js'
import { Participant } from './registry/replica/participant.js'

export { BALANCE_MODES } from './dialing/balancer.js'

/** Where the local ports of a consumer are: an address, or false for no ports. */
export type Listen = string | false | undefined

/** What a consumer is told. */
export interface ConsumerOptions<L extends Listen = Listen> extends CallerOptions {
  /** Local port of each role's proxy, in the order of the roles. Default: free ones. */
  ports?: number[] | undefined
  /**
   * Address the proxies listen on. False for no proxies: the entries have `connect`, `fetch` and `agent` then, and
   * neither `port` nor `url`. Default: loopback.
   */
  listen?: L
  /**
   * How instances are chosen, for each connection: `p2c`, the default (of two at random the one that is
   * quicker and has less to do), `first`, `round-robin` or `hash` (the same one each time). `entry.setMode`
   * changes it later.
   */
  loadBalanceOptions?: { mode?: BalanceMode | undefined } | undefined
  /** Whether older versions are only there for when the newest has failed, or have their share (`all`). */
  versions?: Versions | undefined
  /** Whom it is in the registry, and to the services. Default: this process's own key. */
  keyPair?: KeyPair | undefined
  /** What it is called in the default folder. */
  verb?: string | undefined
  /** Whether to serve the replica to others for as long as this lives. Default: true. */
  serve?: boolean | undefined
  /** The largest body of a command or an answer, in bytes. Default: 16 MiB, and 64 at most. */
  maxBody?: number | undefined
  /**
   * How long `destroy()` lets connections to the local ports go on, in ms, after it takes no new ones. Default: 0, so
   * that they are cut at once.
   */
  drainTimeout?: number | undefined
  /** How long `setup()` waits for the registry and for an instance of each role, in ms; Infinity to wait on. */
  timeout?: number | undefined
  /**
   * How long it goes on after a private registry denied it, in ms: somebody else there may know of a newer grant, or one
   * may come. Default: as long as `timeout`.
   */
  denialTimeout?: number | undefined
}

const SETUP_TIMEOUT_MS = 30_000

/** What a consumer emits. */
export interface ConsumerEvents<E extends PortlessEntry = ConsumerEntry> {
  /** The registry is looked for. */
  connecting: []
  /** The directory is ready. */
  connected: []
  /** Nobody serves these role ranges yet. */
  waiting: [roles: string[]]
  /** An entry has its first instance. */
  found: [instance: Instance, entry: E]
  /** An entry's local port takes connections. */
  listening: [entry: E, instance: Instance]
  /** Another registrar is alive. */
  registrar: []
  /** The registry does not let us in. */
  denied: [reason: SeaportError]
  /** A connection to an entry's local port found no instance. */
  refused: [reason: SeaportError, entry: E]
  /** It is being destroyed, and waits for so many connections to its local ports to end. */
  draining: [connections: number]
  /** Something that may need a person's attention; the consumer goes on. */
  notice: [notice: SeaportError]
}

/** An entry for each role: a tuple as long as that of the roles, if that is known. */
export type EntriesOf<R extends readonly string[], E extends PortlessEntry> = {
  readonly [I in keyof R]: E
}

/** The kind of entry that goes with `listen`. */
export type EntryFor<L extends Listen> = L extends false ? PortlessEntry : ConsumerEntry

/** What some roles' instances are reached through, one entry a role. */
class ConsumerFace<
  R extends readonly string[] = readonly string[],
  E extends PortlessEntry = ConsumerEntry
> extends EventEmitter<ConsumerEvents<E>> {
  /** One for each role, in the order of the roles. */
  readonly entries: EntriesOf<R, E>

  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  /** The local port of each entry, by its place; none if nothing listens. */
  readonly #proxies: TcpProxy[] = []
  readonly #clients: StreamClient[] = []
  #timeout: number
  readonly #denialTimeout: number
  readonly #drainTimeout: number
  readonly #participant: Participant
  readonly #pool: LinkPool
  readonly #talk: ConsumerTalk
  readonly #mail: ConsumerMail
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE */
  constructor(roles: R, options: ConsumerOptions) {
    super()
    checkOptions(options)
    const {
      registryPublicKey,
      ports = [],
      listen = LOOPBACK,
      loadBalanceOptions: { mode } = {},
      versions,
      dir,
      verb = 'consumer',
      serve = true,
      maxBody,
      bootstrap,
      host
    } = options
    const wanted = checkRoles(roles).map(parseRoleRange)
    const registry = parseKey(registryPublicKey, 'registry public key')
    this.#timeout = options.timeout ?? SETUP_TIMEOUT_MS
    this.#denialTimeout = options.denialTimeout ?? Infinity
    this.#drainTimeout = options.drainTimeout ?? 0
    const as = serve ? 'replica' : 'observer'
    checkCaller(options)
    if (mode !== undefined) balancerOf(mode)
    const member = { registry, bootstrap, host, dir, verb, as, keyPair: options.keyPair } as const
    this.#participant = Participant.acquire(member)
    if (serve) forwarderOf(this.#participant.replica, options.forward)
    this.#pool = linksOf(this.#participant, options.direct)
    const { directory } = this.#participant.replica
    const [onnotice, participant] = [this.#onnotice, this.#participant]
    this.#mail = new ConsumerMail({ ...options, dir, verb, participant, onnotice })
    this.#talk = new ConsumerTalk({
      registry,
      pool: this.#pool,
      watch: (listener) => directory.watch(listener),
      maxBody,
      onnotice,
      call: (to, outgoing, signal) => this.#mail.call(to, outgoing, signal)
    })
    const entries = wanted.map((role, i) => {
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
      const client = new StreamClient({ dialer, pool: this.#pool, directory, host: role.role })
      this.#clients.push(client)
      const parts = {
        role,
        instances: resolve,
        dialer,
        client,
        ...this.#talk.partsFor(role.role, dialer, resolve)
      }
      return listen === false
        ? new PortlessEntry(parts)
        : this.#listeningEntry(parts, ports[i] ?? 0, listen)
    })
    // Which kind of entry it is follows from `listen`, and how many there are from the roles.
    this.entries = entries as readonly PortlessEntry[] as EntriesOf<R, E>
  }

  /**
   * Resolves with an entry for each role, in the order of the roles, once each has an instance.
   *
   * @throws REGISTRY_NOT_FOUND, NO_INSTANCE, PORT_IN_USE, CLOSED
   */
  async setup({ timeout }: SetupOptions = {}): Promise<EntriesOf<R, E>> {
    this.#timeout = timeout ?? this.#timeout
    await this.#lifecycle.begin()
    return this.entries
  }

  /**
   * Closes the local ports, ends all streams and leaves the registry. May be called at any time, and more than
   * once; a `setup()` that is under way is rejected with CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
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

  async #start() {
    const deadline = performance.now() + this.#timeout
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    this.#participant.replica.on('registrar', this.#onregistrar)
    this.emit('connecting')
    for (const proxy of this.#proxies) await proxy.check()
    const notFound = () => this.#denial ?? this.#participant.notFound()
    await this.#lifecycle.waitFor(this.#participant.ready(), deadline - performance.now(), notFound)
    const { replica } = this.#participant
    // Who only asks once wants the best that there is.
    const known = this.#all.length > 0 ? this.#participant.usable() : replica.synced()
    await this.#lifecycle.waitFor(known, deadline - performance.now(), notFound)
    this.emit('connected')
    await this.#lifecycle.waitFor(this.#allFound(), deadline - performance.now(), () =>
      this.#missing()
    )
  }

  async #stop() {
    await this.#drain()
    for (const client of this.#clients) client.close()
    this.#talk.close()
    await this.#mail.close()
    for (const proxy of this.#proxies) await proxy.close()
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    this.#participant.replica.off('registrar', this.#onregistrar)
    await this.#participant.release(() => this.#pool.close())
  }

  /** Lets the connections to the local ports end. */
  async #drain() {
    if (this.#drainTimeout === 0) return
    const connections = this.#proxies.reduce((sum, { stats }) => sum + stats.connections, 0)
    if (connections > 0) this.emit('draining', connections)
    await Promise.all(this.#proxies.map((proxy) => proxy.drain(this.#drainTimeout)))
  }

  /** The entries as a list, whatever is known of how many they are. */
  get #all(): readonly E[] {
    return this.entries as readonly E[]
  }

  #listeningEntry(parts: EntryParts, port: number, host: string): ConsumerEntry {
    const proxy = new TcpProxy({ port, host, dial: (options) => parts.dialer.dial(options) })
    const entry = new ConsumerEntry({ ...parts, proxy })
    proxy.on('refused', (error) => this.emit('refused', error, entry as PortlessEntry as E))
    this.#proxies.push(proxy)
    return entry
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  readonly #onregistrar = () => this.emit('registrar')

  /** What a mere member says is a notice, and the error when nothing better comes in time. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    this.#denial = this.#participant.withAdvice(reason, { consume: this.#all.map(String) })
    this.emit(byRegistry ? 'denied' : 'notice', this.#denial)
    if (!byRegistry) return
    if (!this.#participant.replica.isSynced) this.#lifecycle.hurry(this.#denialTimeout)
  }

  /** Each entry listens as soon as its first instance is there, whatever the others wait for. */
  async #allFound() {
    const waiting = this.#all.filter((entry) => entry.instances().length === 0)
    if (waiting.length > 0) this.emit('waiting', waiting.map(String))
    await Promise.all(
      this.#all.map(async (entry, i) => {
        const instance = await this.#firstInstance(entry)
        if (this.#lifecycle.signal.aborted) return
        this.emit('found', instance, entry)
        const proxy = this.#proxies[i]
        if (!proxy) return
        await proxy.ready()
        if (this.#lifecycle.signal.aborted) return
        this.emit('listening', entry, instance)
      })
    )
  }

  #firstInstance(entry: E): Promise<Instance> {
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
    const missing = this.#all.filter((entry) => entry.instances().length === 0).map(String)
    const others = this.#participant.replica.directory.roles()
    const hint =
      others.length > 0
        ? `; the registry has ${others.slice(0, 10).join(', ')}`
        : '; the registry is empty'
    return SeaportError.NO_INSTANCE(`nobody serves ${missing.join(', ')} yet${hint}`)
  }
}

/** Whoever has no types may give one role only. */
function checkRoles(roles: unknown): readonly string[] {
  if (Array.isArray(roles)) return roles
  throw SeaportError.USAGE(
    `a consumer takes a list of roles, as in ['couchdb@3.x'], not ${typeof roles}`
  )
}

export interface Consumer<
  R extends readonly string[] = readonly string[],
  E extends PortlessEntry = ConsumerEntry
> extends ConsumerFace<R, E> {}

/** How a consumer is made: with `new` or without, or as the base of a class. */
export interface ConsumerConstructor {
  /**
   * @param roles names with semver ranges, as in `['couchdb@3.x']`
   * @throws BAD_KEY, BAD_ROLE, OFFLINE, USAGE
   */
  new <const R extends readonly string[] = readonly string[], L extends Listen = undefined>(
    roles: R,
    options: ConsumerOptions<L>
  ): Consumer<R, EntryFor<L>>
  <const R extends readonly string[] = readonly string[], L extends Listen = undefined>(
    roles: R,
    options: ConsumerOptions<L>
  ): Consumer<R, EntryFor<L>>
  readonly prototype: Consumer
}

/** Makes a consumer of some roles; `new` works as well, and so does `extends`. */
export const Consumer: ConsumerConstructor = callable('Consumer', ConsumerFace)
