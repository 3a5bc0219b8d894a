import type { Socket } from 'node:net'
import { requestHeaders } from './headers.js'
import { type LaneClient, type LaneContext, LaneExchange } from './lane-exchange.js'
import { type Fields, fieldLines, type RequestHead, readRequest } from './message-head.js'
import { refusalOf, refusalText } from './refusal.js'
import type { ForwardRoute, Route } from './router.js'

/** Longer heads are read by node:http, which knows how long they may be. */
const MAX_HEAD_BYTES = 8192
const METHODS = new Set(['GET', 'HEAD', 'DELETE'])
/** Fields that ask for more than passing on. */
const DEMANDING = [
  'content-length',
  'transfer-encoding',
  'upgrade',
  'expect',
  'te',
  'http2-settings',
  'proxy-connection'
]

/** A request of the lane, as others see it. */
class LaneRequest implements RequestHead {
  readonly method: string
  readonly url: string
  readonly httpVersion = '1.1'
  readonly httpVersionMajor = 1
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

/** What the fields of a request become, for as long as they stay the same. */
interface Prepared {
  fields: Fields
  method: string
  prefix: string
  isOurAuthorization: boolean
  text: string
}

export interface LaneConnectionOptions {
  /** There is something on it that is not for the lane: who reads on from there. */
  onleave: (connection: LaneConnection, socket: Socket) => void
  onclose: (connection: LaneConnection) => void
}

/** A client's connection, one request after the other, until node:http takes it over. */
export class LaneConnection implements LaneClient {
  /** When the last request was over, in ms. */
  idleSince = performance.now()
  /** Whether it may have another request. */
  isKept = true
  hasServed = false

  readonly #options: LaneConnectionOptions
  readonly #context: LaneContext
  readonly #socket: Socket
  #exchange: LaneExchange | null = null
  /** What came while a request was under way. */
  #ahead: Buffer | null = null
  #fields: Fields | null = null
  #prepared: Prepared | null = null
  #hasEnded = false

  constructor(context: LaneContext, socket: Socket, options: LaneConnectionOptions) {
    this.#options = options
    this.#context = context
    this.#socket = socket
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

  /** Answers that there is no answer. Returns the status. */
  refuse(request: RequestHead, error: unknown): number {
    const refusal = refusalOf(error)
    this.#socket.write(refusalText(refusal, request, this.isKept ? 'keep-alive' : 'close'))
    return refusal.status
  }

  /** The answer is over. */
  onanswered() {
    this.#exchange = null
    this.hasServed = true
    this.idleSince = performance.now()
    if (!this.isKept || (this.#hasEnded && this.#ahead === null)) return void this.#socket.end()
    this.#takeAhead()
  }

  /** Takes no more requests. */
  close() {
    this.isKept = false
    if (this.isIdle) this.#socket.end()
  }

  destroy() {
    this.#socket.destroy()
  }

  /** Reads the next request, or leaves the connection to node:http if it is not for here. */
  #take(bytes: Buffer) {
    const read = readRequest(bytes.toString('latin1', 0, MAX_HEAD_BYTES), this.#fields)
    if (read === null) return this.#leave(bytes)
    const { method, url, fields } = read.head
    if (fields !== this.#fields && !isPlain(fields)) return this.#leave(bytes)
    if (!METHODS.has(method)) return this.#leave(bytes)
    const request = new LaneRequest(method, url, fields, this.#socket)
    const route = this.#routeOf(request)
    if (route === null) return this.#leave(bytes)
    this.#fields = fields
    if (fields.byName.connection?.toLowerCase() === 'close') this.isKept = false
    if (bytes.byteLength > read.byteLength) this.#keepAhead(bytes.subarray(read.byteLength))
    const text = `${method} ${route.path} HTTP/1.1\r\n${this.#prepare(request, fields, route)}\r\n`
    this.#exchange = new LaneExchange(this.#context, this, request, route, text)
    this.#exchange.begin()
  }

  /** Where it goes, if that is an instance and known at once; everything else is node:http's to answer. */
  #routeOf(request: RequestHead): ForwardRoute | null {
    let route: Route | Promise<Route>
    try {
      route = this.#context.router.route(request)
    } catch {
      return null
    }
    if (!(route instanceof Promise)) return route.kind === 'forward' ? route : null
    route.catch(() => {})
    return null
  }

  /** The lines of fields for the instance. */
  #prepare(request: LaneRequest, fields: Fields, route: ForwardRoute): string {
    const { method } = request
    const { prefix, isOurAuthorization } = route
    const known = this.#prepared
    if (
      known?.fields === fields &&
      known.method === method &&
      known.prefix === prefix &&
      known.isOurAuthorization === isOurAuthorization
    ) {
      return known.text
    }
    const { router, pseudonym } = this.#context
    const headers = requestHeaders(request, {
      forwarded: router.forwardedOf(request, route),
      pseudonym,
      dropAuthorization: isOurAuthorization
    })
    headers.push('Connection', 'keep-alive')
    const text = fieldLines(headers)
    this.#prepared = { fields, method, prefix, isOurAuthorization, text }
    return text
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
    this.#options.onleave(this, socket)
    socket.resume()
  }

  #keepAhead(bytes: Buffer) {
    this.#ahead = this.#ahead ? Buffer.concat([this.#ahead, bytes]) : bytes
    this.#socket.pause()
  }

  #takeAhead() {
    const bytes = this.#ahead
    if (bytes === null || this.#socket.writableNeedDrain) return
    this.#ahead = null
    this.#socket.resume()
    this.#take(bytes)
  }

  readonly #ondata = (bytes: Buffer) => {
    // Who does not read its answers has to wait with further requests.
    if (this.#exchange || this.#socket.writableNeedDrain) this.#keepAhead(bytes)
    else this.#take(bytes)
  }

  readonly #ondrain = () => {
    if (this.#exchange) this.#exchange.ondrain()
    else this.#takeAhead()
  }

  /** A client may say that it asks for no more, and still read. */
  readonly #onend = () => {
    this.#hasEnded = true
    if (this.isIdle) this.#socket.end()
  }

  readonly #onerror = () => {}

  readonly #onclose = () => {
    this.#options.onclose(this)
    this.#exchange?.onleft()
  }
}

/** Whether there is nothing about the fields but to pass them on. */
function isPlain({ byName, hasDuplicates }: Fields): boolean {
  const { host, connection } = byName
  if (hasDuplicates || host === undefined) return false
  if (connection !== undefined && !/^(keep-alive|close)$/i.test(connection)) return false
  return !DEMANDING.some((name) => name in byName)
}
