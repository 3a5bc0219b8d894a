import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { type Callable, callable } from './core/callable.js'
import { SeaportError } from './core/errors.js'
import { type KeyPair, parseKey, toHex } from './core/keys.js'
import { Lifecycle, type SetupOptions } from './core/lifecycle.js'
import { bareAddress, hostInUrl, LOOPBACK } from './core/listen.js'
import {
  type Measure,
  Metrics,
  measuresOf,
  measuresOfInstances,
  measuresOfLogs
} from './core/metrics.js'
import { hostedBy } from './dashboard/hosted.js'
import { LiveFeed } from './dashboard/live-feed.js'
import { dashboardPages } from './dashboard/pages.js'
import { type CallerOptions, checkCaller, linksOf } from './dialing/links.js'
import { denied } from './gateway/access.js'
import type { AccessEntry } from './gateway/access-log.js'
import { AppHostnames } from './gateway/app-hostnames.js'
import { type ChannelLimits, checkChannelLimits } from './gateway/channels/channel-limits.js'
import { clientPage } from './gateway/channels/client-page.js'
import { HttpGateway } from './gateway/http-gateway.js'
import { InstanceViews } from './gateway/instance-views.js'
import type { Page } from './gateway/request-handler.js'
import { readRules, type WebRules } from './gateway/rules.js'
import { type CertificateSource, FileCertificate } from './gateway/tls-certificate.js'
import { Traffic } from './gateway/traffic.js'
import type { LinkPool } from './link/pool.js'
import { forwarderOf } from './messaging/mail/forwarding.js'
import { checkOptions } from './option-shapes.js'
import { Participant } from './registry/replica/participant.js'

export { type AccessEntry, toJson, toLine } from './gateway/access-log.js'
export type { BrowserLimits, ChannelLimits } from './gateway/channels/channel-limits.js'
export type { WebRules } from './gateway/rules.js'

/** What a gateway is told. */
export interface WebOptions extends CallerOptions, WebRules {
  /** 0, the default, for a free one. */
  port?: number | undefined
  /** Address to listen on. Default: loopback. Another one needs `access` or `open`. */
  listen?: string | undefined
  /** Serves HTTPS, HTTP/2 included: PEM files, read again when they change, or another source. */
  tls?: { certFile: string; keyFile: string } | CertificateSource | undefined
  /** How long answers may take to begin, in ms. */
  deadline?: number | undefined
  /** Largest body of a request, in bytes. Default: any. */
  maxBodyBytes?: number | undefined
  /** Largest header section of a request, in bytes. */
  maxHeaderBytes?: number | undefined
  /** How long requests may take to end when the gateway stops, in ms. */
  drainTimeout?: number | undefined
  /** How long a request may take to come in, in ms. */
  requestTimeout?: number | undefined
  /** Whether there is a dashboard at `/`. Default: true. */
  dashboard?: boolean | undefined
  /** Whether plain requests go past node:http, which answers the same and is slower. Default: true. */
  fastPath?: boolean | undefined
  /** Addresses of proxies in front, whose X-Forwarded-* are kept. Those on loopback always are. */
  trustedProxies?: string[] | undefined
  /** Limits of pages on channels, as in `{ sessionsPerAddress: 50 }`. */
  channels?: Partial<ChannelLimits> | undefined
  /** Whom it is in the registry, and to the services. Default: this process's own key. */
  keyPair?: KeyPair | undefined
  /** How long `setup()` waits for the registry, in ms; Infinity to wait on. */
  timeout?: number | undefined
}

const SETUP_TIMEOUT_MS = 30_000
const PSEUDONYM_BYTES = 4

/** What a gateway emits. */
export interface WebEvents {
  /** The registry is looked for. */
  connecting: []
  /** The directory is ready. */
  connected: []
  /** Requests are taken, on this port. */
  listening: [port: number]
  /** The registry does not let us in. */
  denied: [reason: SeaportError]
  /** A request is over. */
  access: [entry: AccessEntry]
  /** A request was answered with a status from 500 on, for this reason. */
  failed: [reason: Error, entry: AccessEntry]
  /** No more requests are taken, and so many that are under way may end until `drainTimeout`. */
  draining: [requests: number]
  /** Something that may need a person's attention; the gateway goes on. */
  notice: [notice: SeaportError]
}

/** The registry's services over HTTP, for whoever has no part in it. */
class WebFace extends EventEmitter<WebEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  #timeout: number
  readonly #participant: Participant
  readonly #pool: LinkPool
  readonly #gateway: HttpGateway
  readonly #traffic = new Traffic()
  readonly #apps = new AppHostnames()
  readonly #feed: LiveFeed
  #denial: SeaportError | null = null

  /** @throws BAD_KEY, BAD_ROLE, BAD_CONFIG, OFFLINE, USAGE */
  constructor(options: WebOptions) {
    super()
    checkOptions(options)
    const { registryPublicKey, tls, keyPair, dir, bootstrap, host } = options
    const listen = bareAddress(String(options.listen ?? LOOPBACK))
    const registry = parseKey(registryPublicKey, 'registry public key')
    checkExposure(listen, options)
    const rules = readRules(options, this.#apps)
    const certificate = tls && ('certFile' in tls ? new FileCertificate(tls) : tls)
    this.#timeout = options.timeout ?? SETUP_TIMEOUT_MS
    checkCaller(options)
    checkChannelLimits(options.channels)
    this.#participant = Participant.acquire({
      registry,
      bootstrap,
      host,
      dir,
      verb: 'web',
      keyPair
    })
    forwarderOf(this.#participant.replica, options.forward)
    this.#pool = linksOf(this.#participant, options.direct)
    const { replica } = this.#participant
    this.#apps.follow(replica.statements)
    const { directory } = replica
    const views = new InstanceViews({ directory, secret: registry })
    this.#feed = new LiveFeed({
      registryPublicKey: toHex(registry),
      directory,
      views,
      traffic: this.#traffic,
      logs: () => replica.logs(),
      hosted: () => hostedBy(replica),
      peers: () => replica.peering.peers.size,
      pathOf: (key) => this.#pool.pathOf(key)
    })
    this.#gateway = new HttpGateway({
      directory,
      traffic: this.#traffic,
      views,
      pages: this.#pages(options),
      pool: this.#pool,
      port: options.port,
      host: listen,
      certificate,
      rules,
      pseudonym: `hyperseaport-${randomBytes(PSEUDONYM_BYTES).toString('hex')}`,
      timeout: options.deadline,
      maxBodyBytes: options.maxBodyBytes,
      maxHeaderBytes: options.maxHeaderBytes,
      requestTimeout: options.requestTimeout,
      drainTimeout: options.drainTimeout,
      trustedProxies: options.trustedProxies,
      fastPath: options.fastPath,
      channels: options.channels
    })
    this.#gateway.on('access', (entry: AccessEntry) => this.emit('access', entry))
    this.#gateway.on('failed', (error: Error, entry: AccessEntry) => {
      this.emit('failed', error, entry)
    })
    this.#gateway.on('draining', (requests: number) => this.emit('draining', requests))
    this.#gateway.on('notice', this.#onnotice)
  }

  /** The port it listens on. */
  get port(): number {
    return this.#gateway.port
  }

  /** Where it is found, on this machine. */
  get url(): string {
    const { host, port, isSecure } = this.#gateway
    return `${isSecure ? 'https' : 'http'}://${hostInUrl(host)}:${port}/`
  }

  /**
   * Resolves when it listens, with the directory as good as it gets.
   *
   * @throws REGISTRY_NOT_FOUND, PORT_IN_USE, LISTEN_FAILED, BAD_CONFIG, CLOSED
   */
  async setup({ timeout }: SetupOptions = {}): Promise<this> {
    this.#timeout = timeout ?? this.#timeout
    await this.#lifecycle.begin()
    return this
  }

  /**
   * Closes the port, lets open requests end for up to `drainTimeout`, and leaves the registry. May be called at any time, and more than once; a
   * `setup()` that is under way is rejected with CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /**
   * Puts other rules in place of all those given before. What is under way is not touched, but for events and channels:
   * they have no end of their own, and end when the rights of who hears them have changed.
   *
   * @throws BAD_ROLE, BAD_KEY, BAD_CONFIG, USAGE, and leaves everything as it was
   */
  update(rules: WebRules) {
    checkOptions(rules)
    checkExposure(this.#gateway.host, rules)
    const read = readRules(rules, this.#apps)
    this.#gateway.update(read)
    this.#feed.recheck(read.access)
  }

  /** Requests and answers, links, registrars, peers and logs, as numbers. */
  getStats() {
    const { replica } = this.#participant
    return {
      gateway: this.#gateway.stats,
      links: { ...this.#pool.stats },
      registrars: replica.registrars.length,
      behind: replica.behind,
      peers: replica.peering.peers.size,
      logs: replica.logs()
    }
  }

  /** The same as measures, for a scrape. */
  *measures(): Iterable<Measure> {
    const { logs, ...stats } = this.getStats()
    yield* measuresOf('web', stats)
    yield* measuresOfLogs(logs)
    yield* measuresOfInstances(this.#participant.replica.directory.list())
    yield* this.#traffic.measures()
  }

  async #start() {
    this.#participant.on('notice', this.#onnotice)
    this.#participant.on('denied', this.#ondenied)
    this.emit('connecting')
    await this.#gateway.check()
    const deadline = performance.now() + this.#timeout
    const notFound = () => this.#denial ?? this.#participant.notFound()
    await this.#lifecycle.waitFor(this.#participant.ready(), deadline - performance.now(), notFound)
    await this.#lifecycle.waitFor(
      this.#participant.usable(),
      deadline - performance.now(),
      notFound
    )
    this.emit('connected')
    await this.#gateway.ready()
    this.#feed.open()
    this.emit('listening', this.port)
  }

  async #stop() {
    this.#feed.close()
    await this.#gateway.close()
    this.#participant.off('notice', this.#onnotice)
    this.#participant.off('denied', this.#ondenied)
    await this.#participant.release(() => this.#pool.close())
  }

  /** What is not there for a service. */
  #pages({ dashboard = true }: WebOptions): Map<string, Page> {
    const pages = dashboard ? dashboardPages(this.#feed) : new Map<string, Page>()
    const metrics = new Metrics(() => this.measures())
    pages.set('/client.js', clientPage)
    return pages.set('/metrics', async (request, response, principal) => {
      if (!principal.mayReachAll) throw denied(principal, 'the metrics')
      const { type, text } = await metrics.render(request.headers.accept)
      response.writeHead(200, { 'Content-Type': type }).end(text)
    })
  }

  readonly #onnotice = (notice: SeaportError) => this.emit('notice', notice)

  /** What a mere member says is told when nothing better comes in time. */
  readonly #ondenied = (reason: SeaportError, byRegistry: boolean) => {
    if (!byRegistry && this.#denial) return
    this.#denial = reason
    if (!byRegistry) return
    this.emit('denied', reason)
  }
}

export interface Web extends WebFace {}

/** Makes a gateway; `new` works as well, and so does `extends`. */
export const Web: Callable<[options: WebOptions], Web> = callable('Web', WebFace)

/** What loopback keeps to this machine, another address shows to everybody: that has to be said. */
function checkExposure(listen: string, { access, open = [] }: WebRules) {
  if (/^(127\.|::1$|localhost$)/.test(listen) || access !== undefined || open.length > 0) return
  throw SeaportError.USAGE(
    `listening on ${listen} shows the services to whoever reaches it: say who may (--auth), or what anybody may (--public role@range, or --public '*')`
  )
}
