import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../errors.js'
import { ReadyResource } from '../holepunch.js'
import type { LinkPool } from '../link/pool.js'
import { listenError } from '../network.js'
import type { Directory } from '../registry/directory.js'
import { AccessList, type Viewer } from './access.js'
import { type AccessEntry, accessEntry } from './access-log.js'
import { StreamAgent } from './agent.js'
import type { CertificateSource } from './certificate.js'
import { Cors } from './cors.js'
import { DomainTable } from './domains.js'
import { Forwarding, type ForwardingContext } from './forwarding.js'
import { makeServer } from './gateway-server.js'
import type { Forwarded } from './headers.js'
import { KeptStreams } from './kept-streams.js'
import { refusalHead, refusalOf, refuse } from './refusal.js'
import { checkLength } from './request-body.js'
import { RetryBudget } from './retry-budget.js'
import { type ForwardRoute, type GatewayRules, Router } from './router.js'
import { Traffic } from './traffic.js'
import { forwardUpgrade, isForwardableUpgrade, withoutUpgrade } from './upgrade.js'
import { Upstreams } from './upstream.js'

/** A page of the gateway's own. */
export type Page = (
  request: IncomingMessage,
  response: ServerResponse,
  viewer: Viewer
) => void | Promise<void>

export interface HttpGatewayOptions {
  directory: Directory
  /** Not closed by the gateway. */
  pool: Pick<LinkPool, 'open' | 'isSuspect'>
  /** 0 for a free one. */
  port?: number | undefined
  host?: string | undefined
  /** Serves HTTPS with this; the gateway opens and closes it. */
  certificate?: CertificateSource | undefined
  rules?: Partial<GatewayRules> | undefined
  /** Counts what goes through. Default: one of its own. */
  traffic?: Traffic | undefined
  /** Pages by path. */
  pages?: ReadonlyMap<string, Page> | undefined
  /** Our name in Via. Must differ from that of other gateways. */
  pseudonym?: string | undefined
  /** How long answers may take to begin, where no rule says otherwise, in ms. */
  timeout?: number | undefined
  maxBodyBytes?: number | undefined
  maxHeaderBytes?: number | undefined
  /** For the header section of a request, in ms. */
  headersTimeout?: number | undefined
  /** For a request as a whole, in ms. */
  requestTimeout?: number | undefined
  /** Addresses of proxies in front, whose X-Forwarded-* are kept. Those on loopback always are. */
  trustedProxies?: readonly string[] | undefined
  /** How long requests may take to end when the gateway closes, in ms. */
  drainTimeout?: number | undefined
}

const LOOPBACK = '127.0.0.1'
const TIMEOUT_MS = 60_000
const MAX_HEADER_BYTES = 32 * 1024
const HEADERS_TIMEOUT_MS = 20_000
/** Long enough for large files over slow lines. */
const REQUEST_TIMEOUT_MS = 60 * 60_000
const DRAIN_TIMEOUT_MS = 5000
const SILENCE_CHECK_MS = 250
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
  readonly #sockets = new Set<Duplex>()
  readonly #upstreams: Upstreams
  readonly #router: Router
  readonly #context: ForwardingContext
  readonly #pages: ReadonlyMap<string, Page>
  #silenceCheck: NodeJS.Timeout | null = null
  #port: number
  #onidle: () => void = () => {}

  constructor(options: HttpGatewayOptions) {
    super()
    const { directory, pool, port = 0, host = LOOPBACK, pseudonym = 'hyperseaport' } = options
    this.#options = options
    this.#port = port
    this.host = host
    this.traffic = options.traffic ?? new Traffic()
    this.#pages = options.pages ?? new Map()
    this.#upstreams = new Upstreams({ directory, pool })
    const rules = { ...openRules(), ...options.rules }
    this.#router = new Router({ rules, upstreams: this.#upstreams, directory, pseudonym })
    const kept = new KeptStreams({ pool })
    const agent = new StreamAgent({ dial: () => Promise.reject(SeaportError.CLOSED('no stream')) })
    this.#context = { agent, kept, budget: new RetryBudget(), pseudonym, waiting: new Set() }
    this.#server = makeServer({
      certificate: options.certificate,
      maxHeaderBytes: options.maxHeaderBytes ?? MAX_HEADER_BYTES,
      headersTimeout: options.headersTimeout ?? HEADERS_TIMEOUT_MS,
      requestTimeout: options.requestTimeout ?? REQUEST_TIMEOUT_MS
    })
    this.#serve()
  }

  /** The port it listens on, or will try to. */
  get port(): number {
    return this.#port
  }

  get stats() {
    const { requests, errors, bytesIn, bytesOut } = this.traffic.total
    const { kept, budget } = this.#context
    return {
      requests,
      errors,
      bytesIn,
      bytesOut,
      active: this.traffic.active,
      connections: this.#sockets.size,
      streams: { ...kept.stats },
      retries: { ...budget.stats }
    }
  }

  /** Puts other rules in place of those given. What is under way is not touched. */
  update(rules: Partial<GatewayRules>) {
    this.#router.rules = { ...this.#router.rules, ...rules }
    this.#upstreams.reset()
  }

  /**
   * Finds out early whether the port can be listened on, and leaves it closed.
   *
   * @throws PORT_IN_USE, LISTEN_FAILED
   */
  async check() {
    const probe = createServer()
    await listen(probe, this.#port, this.host)
    probe.close()
    await once(probe, 'close')
  }

  override async _open() {
    const { certificate } = this.#options
    await certificate?.open()
    certificate?.on('notice', (notice) => this.emit('notice', notice))
    try {
      await listen(this.#server, this.#port, this.host)
    } catch (error) {
      certificate?.close()
      throw error
    }
    this.#port = (this.#server.address() as AddressInfo).port
    this.#silenceCheck = setInterval(() => this.#checkSilence(), SILENCE_CHECK_MS)
  }

  /** Takes no more requests, and cuts those that do not end in time. */
  override async _close() {
    if (this.#silenceCheck) clearInterval(this.#silenceCheck)
    this.#options.certificate?.close()
    this.#context.kept.close()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await this.#drained(this.#options.drainTimeout ?? DRAIN_TIMEOUT_MS)
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #serve() {
    const server = this.#server
    server.on('connection', (socket: Duplex) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    const onrequest = (request: IncomingMessage, response: ServerResponse) =>
      this.#onrequest(request, response)
    server.on('request', onrequest as never)
    // The instance decides whether to go on, not we.
    server.on('checkContinue', onrequest as never)
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#onupgrade(request, socket, head)
    )
    server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
      socket.on('error', () => {})
      socket.end(
        refusalHead(refusalOf(SeaportError.METHOD_NOT_ALLOWED('this is no forward proxy')))
      )
    })
  }

  /** Never rejects. */
  async #onrequest(request: IncomingMessage, response: ServerResponse) {
    const entry = accessEntry(request)
    this.traffic.active++
    response.on('error', () => {})
    request.on('error', () => {})
    try {
      const route = await this.#router.route(request)
      entry.viewer = route.viewer.name
      if (route.kind === 'forward') await this.#forward(request, response, route, entry)
      else if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw SeaportError.METHOD_NOT_ALLOWED('this page can only be read')
      } else if (route.kind === 'list') {
        sendJson(request, response, this.#upstreams.list(route.role, route.viewer))
      } else await this.#show(request, response, route.path, route.viewer)
    } catch (error) {
      this.#refuse(request, response, error, entry)
    } finally {
      entry.status = response.headersSent ? response.statusCode : 499
      this.#over(entry)
    }
  }

  async #forward(
    request: IncomingMessage,
    response: ServerResponse,
    route: ForwardRoute,
    entry: AccessEntry
  ) {
    const { upstream, path, isOurAuthorization } = route
    const { maxBodyBytes = Infinity, timeout = TIMEOUT_MS } = this.#options
    entry.upstream = upstream.name
    const cors = Cors.of(this.#router.rules.cors, request, upstream)
    if (cors?.isPreflight) return cors.answerPreflight(response)
    checkLength(request, maxBodyBytes)
    const forwarding = new Forwarding(this.#context, {
      request,
      response,
      upstream,
      path,
      forwarded: this.#forwardedOf(request, route),
      timeout: this.#router.deadlineOf(route) ?? timeout,
      maxBodyBytes,
      dropAuthorization: isOurAuthorization,
      amend: (headers) => cors?.amend(headers) ?? headers
    })
    try {
      await forwarding.run()
    } finally {
      Object.assign(entry, forwarding.stats)
      entry.role = upstream.instances()[0]?.role ?? ''
    }
  }

  /** Never rejects. */
  async #onupgrade(request: IncomingMessage, socket: Duplex, head: Buffer) {
    socket.on('error', () => {})
    if (!isForwardableUpgrade(request)) return this.#ignoreUpgrade(request, socket, head)
    const entry = accessEntry(request)
    this.traffic.active++
    try {
      const route = await this.#router.route(request)
      if (route.kind !== 'forward') throw SeaportError.BAD_REQUEST('this page speaks HTTP only')
      entry.viewer = route.viewer.name
      entry.upstream = route.upstream.name
      entry.role = route.upstream.instances()[0]?.role ?? ''
      const { status, instance } = await forwardUpgrade(this.#context, {
        request,
        socket,
        head,
        upstream: route.upstream,
        path: route.path,
        forwarded: this.#forwardedOf(request, route),
        timeout: this.#router.deadlineOf(route) ?? this.#options.timeout ?? TIMEOUT_MS,
        dropAuthorization: route.isOurAuthorization
      })
      entry.status = status
      entry.instance = instance
    } catch (error) {
      const refusal = refusalOf(error)
      entry.status = refusal.status
      this.#report(error, entry)
      socket.end(refusalHead(refusal))
    } finally {
      this.#over(entry)
    }
  }

  /** Has the server read the request again as if it had not asked for another protocol. */
  #ignoreUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer) {
    socket.unshift(withoutUpgrade(request, head))
    this.#server.emit(this.isSecure ? 'secureConnection' : 'connection', socket)
  }

  async #show(request: IncomingMessage, response: ServerResponse, path: string, viewer: Viewer) {
    const page = this.#pages.get(path)
    if (!page)
      throw SeaportError.NOT_FOUND(`there is no page ${JSON.stringify(path.slice(0, 100))} here`)
    await page(request, response, viewer)
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown, entry: AccessEntry) {
    const refusal = refusalOf(error)
    this.#report(error, entry)
    if (response.headersSent) response.destroy()
    else if (!response.destroyed) refuse(request, response, refusal)
  }

  #report(error: unknown, entry: AccessEntry) {
    entry.error = error instanceof SeaportError ? error.code : 'INTERNAL'
    if (refusalOf(error).status >= 500) this.emit('failed', error, entry)
  }

  #over(entry: AccessEntry) {
    entry.ms = Math.round((performance.now() - entry.startedAt) * 10) / 10
    this.traffic.active--
    if (entry.upstream !== '') {
      const { instance, role, status, firstByteMs, bytesIn, bytesOut } = entry
      this.traffic.record({
        instance,
        role,
        status,
        ms: firstByteMs || entry.ms,
        bytesIn,
        bytesOut
      })
    }
    this.emit('access', entry)
    if (this.traffic.active === 0) this.#onidle()
  }

  #forwardedOf(request: IncomingMessage, { host, prefix }: ForwardRoute): Forwarded {
    const client = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '')
    const { trustedProxies = [] } = this.#options
    return {
      client,
      host,
      prefix,
      proto: this.isSecure ? 'https' : 'http',
      isTrusted: /^(127\.|::1$)/.test(client) || trustedProxies.includes(client)
    }
  }

  get isSecure(): boolean {
    return this.#options.certificate !== undefined
  }

  #checkSilence() {
    const isSilent = (key: string) => this.#options.pool.isSuspect(Buffer.from(key, 'hex'))
    for (const forwarding of this.#context.waiting) forwarding.onsilence(isSilent)
  }

  #drained(timeout: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeout)
      this.#onidle = () => {
        clearTimeout(timer)
        resolve()
      }
      if (this.traffic.active === 0) this.#onidle()
    })
  }
}

async function listen(server: Server, port: number, host: string) {
  try {
    server.listen({ port, host, backlog: BACKLOG })
    await once(server, 'listening')
  } catch (cause) {
    throw listenError(cause, `port ${port} on ${host}`)
  }
}

function openRules(): GatewayRules {
  return { domains: new DomainTable(), access: new AccessList(), cors: [], deadlines: [] }
}

function sendJson(request: IncomingMessage, response: ServerResponse, value: unknown) {
  const body = `${JSON.stringify(value)}\n`
  response.writeHead(200, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store'
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
