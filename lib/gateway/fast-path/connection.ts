import type { Socket } from 'node:net'
import { requestHeaders } from '../../http/headers.js'
import {
  type Fields,
  fieldLines,
  flat,
  type RequestHead,
  readRequest
} from '../../http/message-head.js'
import { KEEP_ALIVE_TIMEOUT_MS } from '../gateway-server.js'
import { HalfOpen } from '../half-open.js'
import { refusalOf, refusalText } from '../refusal.js'
import type { Caller, ForwardRoute } from '../router.js'
import type { GatewayRules } from '../rules.js'
import { FastExchange, type FastPathClient, type FastPathContext } from './exchange.js'

/** Longer heads are read by node:http, which knows how long they may be. */
const MAX_HEAD_BYTES = 8192
const METHODS = new Set(['GET', 'HEAD', 'DELETE'])
/** Requests with one of these fields need more than to be passed on, so node:http reads them. */
const DEMANDING = [
  'content-length',
  'transfer-encoding',
  'upgrade',
  'expect',
  'te',
  'http2-settings',
  'proxy-connection'
]

/** A request of the fast path, as the router and the access log read it. */
class FastRequest implements RequestHead {
  readonly method: string
  readonly url: string
  readonly httpVersion = '1.1'
  readonly rawHeaders: string[]
  readonly headers: Record<string, string>
  readonly socket: Socket

  constructor(method: string, url: string, fields: Fields, socket: Socket) {
    this.method = method
    this.url = url
    this.rawHeaders = fields.raw
    this.headers = fields.byName
    this.socket = socket
  }
}

/**
 * What the fields of the last request say. The next request on a connection mostly has the same fields, and then they
 * are not read again.
 */
interface Known {
  fields: Fields
  rules: GatewayRules
  caller: Caller
  isLast: boolean
}

/** The lines of fields that the last request was sent on with: they fit the next one if it has the same fields. */
interface Prepared {
  of: Known
  method: string
  prefix: string
  lines: string
}

export interface FastConnectionOptions {
  /**
   * Called when something came that is not plain. The callee reads on from there.
   *
   * @param beginning what came, if it is the first
   */
  onleave: (socket: Socket, beginning: Buffer | null) => void
  onclose: () => void
}

/** A client's connection, one request after the other, until node:http takes it over. */
export class FastConnection implements FastPathClient {
  /** Whether it may have another request. */
  isKept = true

  readonly #options: FastConnectionOptions
  readonly #context: FastPathContext
  readonly #socket: Socket
  readonly #halfOpen: HalfOpen
  readonly #maxHeadBytes: number
  #exchange: FastExchange | null = null
  #known: Known | null = null
  #prepared: Prepared | null = null
  #hasServed = false
  /** When it was first seen without a request, in ms; null while it has one. */
  #idleSince: number | null = performance.now()

  constructor(context: FastPathContext, socket: Socket, options: FastConnectionOptions) {
    this.#options = options
    this.#context = context
    this.#socket = socket
    this.#halfOpen = new HalfOpen(socket)
    this.#maxHeadBytes = Math.min(MAX_HEAD_BYTES, context.maxHeaderBytes)
    socket.on('data', this.#ondata)
    socket.on('drain', this.#ondrain)
    socket.on('end', this.#onend)
    socket.on('error', this.#onerror)
    socket.on('close', this.#onclose)
  }

  get isIdle(): boolean {
    return this.#exchange === null
  }

  write(bytes: Buffer | string): boolean {
    return typeof bytes === 'string'
      ? this.#socket.write(bytes, 'latin1')
      : this.#socket.write(bytes)
  }

  cork() {
    this.#socket.cork()
  }

  uncork() {
    this.#socket.uncork()
  }

  /** Sends an error in place of an answer. Returns its status. */
  refuse(request: RequestHead, error: unknown): number {
    const cors = this.#context.router.corsOf(request)
    const plain = refusalOf(error)
    const refusal = cors?.amendRefusal(plain) ?? plain
    this.#socket.write(refusalText(refusal, request, this.isKept))
    return refusal.status
  }

  /** The answer is over. */
  onanswered() {
    this.#exchange = null
    this.#hasServed = true
    this.#idleSince = null
    if (!this.isKept || this.#socket.readableEnded) this.#socket.end()
    else this.#goOn()
  }

  /** Takes no more requests. */
  close() {
    this.isKept = false
    if (this.isIdle) this.#socket.end()
  }

  /** Ends it abruptly, after what was written has been handed to the system. */
  destroy() {
    while (this.#socket.writableCorked > 0) this.#socket.uncork()
    this.#socket.destroy()
  }

  /** Ends what takes too long or was unused for too long. Called from time to time. */
  tick(now: number, isSilent: (key: string) => boolean) {
    if (this.#exchange) {
      if (this.#halfOpen.hasLeft(now)) this.destroy()
      else this.#exchange.tick(now, isSilent)
      return
    }
    const patience = this.#hasServed ? KEEP_ALIVE_TIMEOUT_MS : this.#context.headersTimeout
    this.#idleSince ??= now
    if (now - this.#idleSince > patience) this.destroy()
  }

  /** Takes bytes. An exception ends this connection, and nothing else. */
  #takeSafely(bytes: Buffer) {
    try {
      this.#take(bytes)
    } catch {
      this.destroy()
    }
  }

  /** Reads the next request, or leaves the connection to node:http if it is not for here. */
  #take(bytes: Buffer) {
    const text = bytes.toString('latin1', 0, this.#maxHeadBytes)
    const read = readRequest(text, this.#known?.fields ?? null)
    if (read === null || !METHODS.has(read.method)) return this.#leave(bytes)
    const { method, url, fields, byteLength } = read
    const request = new FastRequest(method, url, fields, this.#socket)
    const known = this.#know(request, fields)
    if (known === null) return this.#leave(bytes)
    const route = this.#routeOf(url, known.caller)
    if (route === null) return this.#leave(bytes)
    if (known.isLast) this.isKept = false
    if (bytes.byteLength > byteLength) this.#putBack(bytes.subarray(byteLength))
    const lines = this.#prepare(request, known, route)
    const head = `${method} ${route.path} HTTP/1.1\r\n${lines}\r\n`
    this.#exchange = new FastExchange(this.#context, this, request, route, head)
    this.#exchange.begin()
  }

  /**
   * Reads what the fields say. Returns null if that takes time (as to check a password), or if they need more than to
   * be passed on.
   */
  #know(request: FastRequest, fields: Fields): Known | null {
    const { router } = this.#context
    const { rules } = router
    if (this.#known?.fields === fields && this.#known.rules === rules) return this.#known
    if (!isPlain(fields)) return null
    let caller: Caller | Promise<Caller>
    try {
      caller = router.callerOf(request)
    } catch {
      return null
    }
    if (caller instanceof Promise) {
      caller.catch(() => {})
      return null
    }
    const isLast = fields.byName.connection?.toLowerCase() === 'close'
    this.#known = { fields, rules, caller, isLast }
    return this.#known
  }

  /** The route of a request to an instance. Null for everything else, which node:http answers. */
  #routeOf(url: string, caller: Caller): ForwardRoute | null {
    try {
      const route = this.#context.router.lead(url, caller)
      if (route.kind !== 'forward' || this.#context.router.mayBeHttp2(route)) return null
      return route
    } catch {
      return null
    }
  }

  /** The lines of fields for the instance. */
  #prepare(request: FastRequest, known: Known, route: ForwardRoute): string {
    const { method } = request
    const { prefix } = route
    const before = this.#prepared
    if (before?.of === known && before.method === method && before.prefix === prefix) {
      return before.lines
    }
    const { router, pseudonym } = this.#context
    const headers = requestHeaders(request, {
      forwarded: router.forwardedOf(request, route),
      pseudonym,
      dropAuthorization: route.isOurAuthorization
    })
    headers.push('Connection', 'keep-alive')
    const lines = flat(fieldLines(headers))
    this.#prepared = { of: known, method, prefix, lines }
    return lines
  }

  /** Gives the connection to node:http, which reads from here on. */
  #leave(bytes: Buffer) {
    const socket = this.#socket
    socket.pause()
    socket.off('data', this.#ondata)
    socket.off('drain', this.#ondrain)
    socket.off('end', this.#onend)
    socket.off('error', this.#onerror)
    socket.off('close', this.#onclose)
    socket.unshift(bytes)
    this.#options.onleave(socket, this.#hasServed ? null : bytes)
  }

  /**
   * Puts bytes that came too early back into the socket, for whoever reads next. Until they are read, a FIN of the
   * client is not noticed, but a reset is.
   */
  #putBack(bytes: Buffer) {
    this.#socket.pause()
    this.#socket.unshift(bytes)
  }

  /** Reads the next request, unless the client has to take its answers first. */
  #goOn() {
    if (!this.#socket.writableNeedDrain) this.#socket.resume()
  }

  readonly #ondata = (bytes: Buffer) => {
    // A client that does not read its answers gets no further requests served.
    if (this.#exchange || this.#socket.writableNeedDrain) this.#putBack(bytes)
    // What follows the last request is ignored.
    else if (this.isKept) this.#takeSafely(bytes)
  }

  readonly #ondrain = () => {
    if (this.#exchange) this.#exchange.ondrain()
    else this.#goOn()
  }

  /** A client that sends a FIN may still read, so the connection is ended only when it is idle. */
  readonly #onend = () => {
    if (this.isIdle) this.#socket.end()
  }

  readonly #onerror = () => {}

  readonly #onclose = () => {
    this.#options.onclose()
    this.#exchange?.onleft()
  }
}

/** Whether the fields only have to be passed on. */
function isPlain({ byName, hasDuplicates }: Fields): boolean {
  const { host, connection } = byName
  if (hasDuplicates || host === undefined) return false
  if (connection !== undefined && !/^(keep-alive|close)$/i.test(connection)) return false
  return !DEMANDING.some((name) => name in byName)
}
