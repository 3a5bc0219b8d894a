import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Bag } from '../core/bag.js'
import { SeaportError } from '../core/errors.js'
import { forward } from '../core/forward.js'
import { ReadyResource } from '../core/holepunch.js'
import { LOOPBACK, listen, probeTcpPort } from '../core/listen.js'
import { StreamAgent } from '../http/agent.js'
import { Http2Sessions } from '../http/http2-sessions.js'
import { welcomedBy } from '../http/idle-streams.js'
import { KeptStreams } from '../http/kept-streams.js'
import { isOverHttp2 } from '../http/message-head.js'
import type { LinkPool } from '../link/pool.js'
import type { Directory } from '../registry/replica/directory.js'
import type { ChannelLimits } from './channels/channel-limits.js'
import { whenClosed } from './client-response.js'
import { endWhenIdle } from './client-session.js'
import { FastPath } from './fast-path/fast-path.js'
import type { ForwardingContext } from './forwarding.js'
import { makeHttp2Server, makeServer, readFrom } from './gateway-server.js'
import { InstanceViews } from './instance-views.js'
import { Ledger } from './ledger.js'
import { linger } from './linger.js'
import { Messages } from './messages.js'
import { Pipeline } from './pipeline.js'
import { mayBePreface, readPreface } from './preface.js'
import { refusalOf, refusalText, refuse } from './refusal.js'
import { RequestDeadlines } from './request-deadlines.js'
import { type Page, RequestHandler } from './request-handler.js'
import { RetryBudget } from './retry-budget.js'
import { Router } from './router.js'
import { type GatewayRules, readRules } from './rules.js'
import type { CertificateSource } from './tls-certificate.js'
import { Traffic } from './traffic.js'
import { isForwardableUpgrade, withoutUpgrade } from './upgrade.js'
import { Upstreams } from './upstream.js'

export interface HttpGatewayOptions {
  directory: Directory
  /** Not closed by the gateway. */
  pool: Pick<LinkPool, 'open' | 'isSuspect' | 'pathOf' | 'follow'>
  /** The TCP port; 0 for a free one. */
  port?: number | undefined
  host?: string | undefined
  /** Serves HTTPS with this; the gateway opens and closes it. */
  certificate?: CertificateSource | undefined
  rules?: Partial<GatewayRules> | undefined
  /** Decides what viewers see of instances. By default its ids are valid at this gateway alone. */
  views?: InstanceViews | undefined
  /** Counts requests. Default: one of the gateway's own. */
  traffic?: Traffic | undefined
  /** Pages by path. */
  pages?: ReadonlyMap<string, Page> | undefined
  /** Our name in Via. Must differ from that of other gateways. */
  pseudonym?: string | undefined
  /** How long answers may take to begin, where no rule says otherwise, in ms. */
  timeout?: number | undefined
  maxBodyBytes?: number | undefined
  maxHeaderBytes?: number | undefined
  /** How long the header section of a request may take, in ms. */
  headersTimeout?: number | undefined
  /** How long a whole request may take, in ms. */
  requestTimeout?: number | undefined
  /** Limits of pages on channels. */
  channels?: Partial<ChannelLimits> | undefined
  /** Addresses of proxies in front, whose X-Forwarded-* are kept. Those on loopback always are. */
  trustedProxies?: readonly string[] | undefined
  /** Whether plain requests go past node:http. Default: true. */
  fastPath?: boolean | undefined
  /** How long requests may take to end when the gateway closes, in ms. */
  drainTimeout?: number | undefined
}

const MAX_HEADER_BYTES = 32 * 1024
const HEADERS_TIMEOUT_MS = 20_000
/** It is long enough for large files over slow lines. */
const REQUEST_TIMEOUT_MS = 60 * 60_000
const DRAIN_TIMEOUT_MS = 30_000
/** How long clients may take to read the rest of their answers when the gateway closes, in ms. */
const FLUSH_TIMEOUT_MS = 2000
/** How often requests and connections are checked for having taken too long. */
const TICK_MS = 250
const BACKLOG = 4096

/**
 * HTTP in front of the registry: each request goes to an instance of the role that its path or its
 * domain names. Emits `access` (an AccessEntry, when a request is over), `failed` (an error that was
 * answered with 5xx) and `notice` (a SeaportError).
 */
export class HttpGateway extends ReadyResource {
  readonly host: string
  readonly traffic: Traffic

  readonly #options: HttpGatewayOptions
  readonly #server: ReturnType<typeof makeServer>
  readonly #sockets = new Bag<Duplex>()
  readonly #views: InstanceViews
  /** Open sessions of HTTP/2. */
  readonly #sessions = new Set<ServerHttp2Session>()
  /** Answers over HTTP/1.1 that are under way. */
  readonly #responses = new Bag<ServerResponse>()
  readonly #upstreams: Upstreams
  readonly #router: Router
  readonly #context: ForwardingContext
  readonly #ledger: Ledger
  readonly #deadlines: RequestDeadlines
  readonly #handler: RequestHandler
  readonly #messages: Messages
  /** Null if it is off or the gateway serves HTTPS. node:http or node:http2 reads every request then. */
  readonly #fastPath: FastPath | null
  #ticker: NodeJS.Timeout | null = null
  #stopWatching: () => void = () => {}
  #port: number
  #isClosing = false

  constructor(options: HttpGatewayOptions) {
    super()
    const { directory, pool, port = 0, host = LOOPBACK, pseudonym = 'hyperseaport' } = options
    this.#options = options
    this.#port = port
    this.host = host
    this.traffic = options.traffic ?? new Traffic()
    const views = options.views ?? new InstanceViews({ directory })
    this.#views = views
    const upstreams = new Upstreams({ directory, views, pool })
    this.#upstreams = upstreams
    const rules = { ...readRules(), ...options.rules }
    this.#router = new Router({
      rules,
      upstreams,
      directory,
      pseudonym,
      isSecure: this.isSecure,
      timeout: options.timeout,
      trustedProxies: options.trustedProxies
    })
    const isWelcome = welcomedBy(directory)
    const agent = new StreamAgent({ dial: () => Promise.reject(SeaportError.CLOSED('no stream')) })
    this.#context = {
      agent,
      kept: new KeptStreams({ pool, isWelcome }),
      http2: new Http2Sessions(pool),
      budget: new RetryBudget(),
      pseudonym,
      underWay: new Bag()
    }
    this.#ledger = new Ledger(this.traffic)
    forward(this.#ledger, this, ['access'])
    this.#ledger.on('failed', (error, entry) => this.emit('failed', error, entry))
    const { channels: channelLimits, fastPath = true, maxHeaderBytes = MAX_HEADER_BYTES } = options
    this.#messages = new Messages({ pool, directory, views, context: this.#context, channelLimits })
    this.#handler = new RequestHandler({
      router: this.#router,
      upstreams,
      context: this.#context,
      ledger: this.#ledger,
      messages: this.#messages,
      pages: options.pages ?? new Map(),
      maxHeaderBytes,
      maxBodyBytes: options.maxBodyBytes
    })
    const requestTimeout = options.requestTimeout ?? REQUEST_TIMEOUT_MS
    this.#deadlines = new RequestDeadlines(requestTimeout)
    const headersTimeout = Math.min(options.headersTimeout ?? HEADERS_TIMEOUT_MS, requestTimeout)
    this.#server = makeServer({
      certificate: options.certificate,
      maxHeaderBytes,
      headersTimeout,
      requestTimeout
    })
    const read = readFrom(this.#server)
    const http2 = makeHttp2Server(maxHeaderBytes)
    this.#serveRequests(http2)
    const readHttp2 = readFrom(http2)
    const preface = { timeout: headersTimeout, onhttp1: read, onhttp2: readHttp2 }
    const begin = (socket: Duplex) => readPreface(socket, preface)
    this.#fastPath =
      fastPath && !this.isSecure
        ? new FastPath({
            pool,
            isWelcome,
            router: this.#router,
            ledger: this.#ledger,
            budget: this.#context.budget,
            pseudonym,
            maxHeaderBytes,
            headersTimeout,
            // Only a connection that begins like the preface of HTTP/2 is looked at again.
            leave: (socket, beginning) => {
              if (beginning !== null && mayBePreface(beginning)) return begin(socket)
              read(socket)
              socket.resume()
            }
          })
        : null
    this.#serve(read, begin)
  }

  /** The port it listens on, or will try to. */
  get port(): number {
    return this.#port
  }

  get stats() {
    const { requests, errors, bytesIn, bytesOut } = this.traffic.total
    const { kept, budget } = this.#context
    const fast = this.#fastPath?.stats ?? { idle: 0, reused: 0, opened: 0 }
    return {
      requests,
      errors,
      bytesIn,
      bytesOut,
      active: this.traffic.active,
      connections: this.#sockets.size,
      streams: {
        idle: kept.idle + fast.idle,
        reused: kept.stats.reused + fast.reused,
        opened: kept.stats.opened + fast.opened
      },
      retries: { ...budget.stats },
      channels: { ...this.#messages.channels.stats }
    }
  }

  /** Replaces the rules that are given. Requests go on as they were, events and channels if the rights are the same. */
  update(rules: Partial<GatewayRules>) {
    this.#router.rules = { ...this.#router.rules, ...rules }
    this.#upstreams.reset()
    this.#messages.recheck(this.#router.rules.access)
  }

  /**
   * Finds out early whether the port can be listened on, and leaves it closed.
   *
   * @throws PORT_IN_USE, LISTEN_FAILED
   */
  async check() {
    await probeTcpPort(this.#port, this.host)
  }

  override async _open() {
    const { certificate } = this.#options
    if (certificate) await this.#openCertificate(certificate)
    try {
      const { host } = this
      this.#port = await listen(this.#server, { port: this.#port, host, backlog: BACKLOG })
    } catch (error) {
      certificate?.close()
      throw error
    }
    this.#stopWatching = this.#options.directory.watch((change, instance) => {
      this.#views.forget()
      this.#context.kept.forget(change, instance)
      this.#context.http2.forget(change, instance)
      this.#fastPath?.forget(change, instance)
    })
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  async #openCertificate(certificate: CertificateSource) {
    const server = this.#server as Http2SecureServer
    const useFallback = () => server.setSecureContext(certificate.fallback)
    forward(certificate, this, ['notice'])
    certificate.on('change', useFallback)
    await certificate.open()
    useFallback()
  }

  /** Takes no more requests, and cuts those that do not end in time. */
  override async _close() {
    if (this.#ticker) clearInterval(this.#ticker)
    this.#stopWatching()
    this.#options.certificate?.close()
    this.#context.kept.close()
    this.#context.http2.close()
    this.#fastPath?.close()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#isClosing = true
    for (const response of this.#responses.values()) response.shouldKeepAlive = false
    for (const session of this.#sessions) session.close()
    this.#messages.close()
    const { drainTimeout = DRAIN_TIMEOUT_MS } = this.#options
    if (this.traffic.active > 0 && drainTimeout > 0) this.emit('draining', this.traffic.active)
    await this.#ledger.drained(drainTimeout)
    if (this.traffic.active === 0) await this.#flushed()
    for (const socket of this.#sockets.values()) socket.destroy()
    this.#messages.destroy()
    await closed
  }

  /** Resolves when clients have read what was written to them. */
  async #flushed() {
    const writing = [...this.#sockets.values()].filter(({ writableLength }) => writableLength > 0)
    const timeout = AbortSignal.timeout(FLUSH_TIMEOUT_MS)
    const closing = writing.map((socket) => once(socket.end(), 'close', { signal: timeout }))
    await Promise.allSettled(closing)
  }

  /**
   * @param read makes node:http read from a connection
   * @param begin makes the right one read from a new connection in clear text
   */
  #serve(read: (connection: Duplex) => void, begin: (connection: Duplex) => void) {
    const server = this.#server
    if (!this.isSecure) server.removeAllListeners('connection')
    server.on('connection', (socket: Socket) => {
      const place = this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(place))
      if (this.#fastPath) this.#fastPath.take(socket)
      else if (!this.isSecure) begin(socket)
    })
    this.#serveRequests(server)
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => {})
      // `unshift` must come in the same turn: it fails on a stream that has ended, as one without bytes soon does.
      if (head.byteLength > 0) socket.unshift(head)
      this.#inTurn(request, null, async () => {
        if (isForwardableUpgrade(request)) return this.#handler.onupgrade(request, socket)
        // An upgrade that cannot be forwarded is ignored: the server reads the request again without it.
        socket.unshift(withoutUpgrade(request))
        read(socket)
      })
    })
  }

  #serveRequests(server: ReturnType<typeof makeServer> | Http2Server) {
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session)
      endWhenIdle(session)
      session.once('close', () => this.#sessions.delete(session))
    })
    server.on('request', this.#onrequest as never)
    // The instance decides whether the client may send its body, not the gateway.
    server.on('checkContinue', this.#onrequest as never)
    server.on('connect', (request: IncomingMessage, to: Duplex | ServerResponse) => {
      const refusal = refusalOf(SeaportError.METHOD_NOT_ALLOWED('this is no forward proxy'))
      to.on('error', () => {})
      // Over HTTP/2 there is no socket of its own, so it is answered like any request.
      if (isOverHttp2(request)) return refuse(request, to as ServerResponse, refusal)
      this.#inTurn(request, null, async () => linger(request.socket, refusalText(refusal, request)))
    })
  }

  readonly #onrequest = (request: IncomingMessage, response: ServerResponse) => {
    const serve = async () => {
      if (this.#isClosing) response.shouldKeepAlive = false
      const place = this.#responses.add(response)
      try {
        await this.#handler.onrequest(request, response)
        await whenClosed(response)
      } finally {
        this.#responses.delete(place)
      }
    }
    if (!isOverHttp2(request)) return this.#inTurn(request, response, serve)
    this.#deadlines.add(request, response)
    serve().catch((error: Error) => {
      this.#onfault(error)
      response.destroy()
    })
  }

  /** Serves a request of HTTP/1.1 in its turn. An exception ends its connection, and nothing else. */
  #inTurn(request: IncomingMessage, response: ServerResponse | null, serve: () => Promise<void>) {
    const { socket } = request
    Pipeline.of(socket).run({ request, response }, () =>
      serve().catch((error: Error) => {
        this.#onfault(error)
        socket.destroy()
      })
    )
  }

  #onfault(error: Error) {
    const text = `a request could not be served: ${error.message}`
    this.emit('notice', SeaportError.BAD_GATEWAY(text, error))
  }

  get isSecure(): boolean {
    return this.#options.certificate !== undefined
  }

  #tick() {
    const now = performance.now()
    const suspects = new Map<string, boolean>()
    const isSilent = (key: string) => {
      const known = suspects.get(key) ?? this.#options.pool.isSuspect(key)
      suspects.set(key, known)
      return known
    }
    this.#deadlines.tick(now)
    for (const request of this.#context.underWay.values()) request.tick(now, isSilent)
    this.#fastPath?.tick(now, isSilent)
  }
}
