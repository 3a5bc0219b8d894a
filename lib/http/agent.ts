import { Agent, ClientRequest, type RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import { startTimer } from '../core/timer.js'
import type { SocketDuplex } from '../link/socket-duplex.js'
import { UNCOUNTED } from './message-head.js'

// `onSocket` is not documented, and there is no other way to give a request its stream.
if (typeof ClientRequest.prototype.onSocket !== 'function') {
  throw SeaportError.UNSUPPORTED_DEPENDENCY(
    `node:http of Node ${process.versions.node} takes no streams for sockets: use Node 20, 22 or 24`
  )
}

/** Opens a stream for one exchange. */
export type DialExchange = (options: {
  signal: AbortSignal
  method: string
}) => Promise<SocketDuplex>

export interface StreamAgentOptions {
  /** Called for each exchange. It may open a stream or reuse one, and it has to care for the stream afterwards. */
  dial: DialExchange
}

/** Options of a request whose stream is open already. */
export interface StreamRequestOptions extends RequestOptions {
  stream?: Duplex
}

/**
 * An agent for `http.request` whose sockets are streams. node:http asks an agent one thing only, to find
 * a socket for a request (`addRequest`, which is all it checks for), and says `free` on the socket when
 * it may have another. Agents of Node's own choose among idle sockets before anybody is asked; here the
 * instance is chosen for each exchange.
 */
export class StreamAgent extends Agent {
  readonly #dial: DialExchange

  constructor({ dial }: StreamAgentOptions) {
    super({ keepAlive: true })
    this.#dial = dial
  }

  addRequest(request: ClientRequest, { stream, timeout = 0 }: StreamRequestOptions) {
    if (stream) return attach(request, stream)
    const wait = new DialWait(request, timeout)
    this.#dial({ signal: wait.signal, method: request.method }).then(
      (stream) => wait.end(stream),
      (error) => wait.end(null, error)
    )
  }
}

/**
 * A request whose stream is being dialed. With node:http's own agents a request has a socket at once, which runs its
 * timeout and can be destroyed. Here there is none yet, so until then this class does both.
 */
class DialWait {
  readonly #request: ClientRequest
  readonly #ending = new AbortController()
  readonly #timeout: number
  #timer: NodeJS.Timeout | null = null
  #isOver = false

  /** @param timeout the timeout that the request was made with, in ms; 0 for none */
  constructor(request: ClientRequest, timeout: number) {
    this.#request = request
    this.#timeout = timeout
    this.#setTimeout(timeout)
    const { destroy, setTimeout } = request
    const set = (ms: number, listener?: () => void) => {
      setTimeout.call(request, ms, listener)
      this.#setTimeout(ms)
      return request
    }
    const destroyAtOnce = (error?: Error) => {
      destroy.call(request, error)
      this.end(null)
      this.#ending.abort()
      return request
    }
    Object.assign(request, { setTimeout: set, destroy: destroyAtOnce })
  }

  /** Aborted when the request is destroyed. */
  get signal(): AbortSignal {
    return this.#ending.signal
  }

  end(stream: SocketDuplex | null, error?: Error) {
    // Its request was destroyed meanwhile, so the stream is free for the next one.
    if (this.#isOver) return void stream?.emit('free')
    this.#isOver = true
    this.#setTimeout(0)
    const request = this.#request
    Reflect.deleteProperty(request, 'setTimeout')
    Reflect.deleteProperty(request, 'destroy')
    // Node's own agents do the same. A kept stream may still have the timeout of the request before.
    stream?.setTimeout(this.#timeout)
    attach(request, stream, error)
  }

  #setTimeout(ms: number) {
    if (this.#timer) clearTimeout(this.#timer)
    const fire = () => this.#request.emit('timeout')
    this.#timer = ms > 0 ? startTimer(fire, ms) : null
  }
}

/** `onSocket` is typed for sockets, but any stream will do. Node's own agents report errors by it, too. */
function attach(request: ClientRequest, stream: Duplex | null, error?: Error) {
  request.maxHeadersCount ??= UNCOUNTED
  const onsocket = request.onSocket as unknown as OnSocket
  onsocket.call(request, stream, error)
}

type OnSocket = (this: ClientRequest, stream: Duplex | null, error?: Error) => void
