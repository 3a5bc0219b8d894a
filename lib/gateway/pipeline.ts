import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { linger } from './linger.js'

/** @param hasBegun whether an answer was begun, so that no other may follow */
type OnFailure = (hasBegun: boolean) => void

interface Exchange {
  request: IncomingMessage
  /** Null if the handler writes to the socket itself. */
  response: ServerResponse | null
}

/**
 * How many requests may wait for their turn. While there are more, no further ones are read: node:http reads as many as
 * come, and each takes much more memory than the few bytes that a client sends for it.
 */
const MAX_WAITING = 64

const pipelines = new WeakMap<Socket, Pipeline>()

/**
 * Serves the requests of one connection of HTTP/1.1 one after the other. A client may send several without waiting for
 * the answers (pipelining, RFC 9112 §9.3.2), and node:http emits each as soon as it has read it. In turn a service gets
 * them in their order, and nothing is asked for in vain when the client leaves.
 */
export class Pipeline {
  #current: Exchange | null = null
  #last: Promise<void> = Promise.resolve()
  #size = 0
  #hasFailed = false
  #onfailure: OnFailure | null = null

  static of(socket: Socket): Pipeline {
    const known = pipelines.get(socket)
    if (known) return known
    const pipeline = new Pipeline()
    pipelines.set(socket, pipeline)
    // node:http resumes it whenever it has read a request, or has answered one.
    socket.on('resume', () => pipeline.#isFull && socket.pause())
    // node:http calls this when it has sent its last answer.
    socket.destroySoon = () => linger(socket)
    return pipeline
  }

  /**
   * Serves a request when those before it have been answered; never, if nothing can be sent any more by then, since the
   * client has left or one of them was the last to be answered.
   *
   * @param serve never rejects, and resolves when the answer is over
   */
  run(exchange: Exchange, serve: () => Promise<void>) {
    this.#size++
    if (this.#isFull) exchange.request.socket.pause()
    // This listener runs before that of node:http, which ends the connection of a client that sent its FIN.
    exchange.response?.prependListener('finish', () => this.#endFailed())
    this.#last = this.#last.then(() => this.#serve(exchange, serve))
  }

  /**
   * Called when the client sent something that is not valid HTTP, after which nothing can be read. Requests that came
   * as a whole are answered before `onfailure` is called. It is called at once if the broken request is the one that is
   * being served.
   */
  fail(onfailure: OnFailure) {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#onfailure = onfailure
    const isBroken = this.#current?.request.complete === false
    if (this.#size === 0 || isBroken) this.#tell(this.#current?.response?.headersSent ?? false)
  }

  async #serve(exchange: Exchange, serve: () => Promise<void>) {
    const { request } = exchange
    const isBroken = this.#hasFailed && !request.complete
    if (request.socket.writable && !isBroken) {
      this.#current = exchange
      await serve()
      this.#current = null
    }
    const wasFull = this.#isFull
    this.#size--
    if (wasFull && !this.#isFull) request.socket.resume()
    this.#endFailed()
  }

  get #isFull(): boolean {
    return this.#size > MAX_WAITING
  }

  /** Reports the failure once no request is left that can be served. */
  #endFailed() {
    if (this.#size <= (this.#current ? 1 : 0)) this.#tell(false)
  }

  #tell(hasBegun: boolean) {
    this.#onfailure?.(hasBegun)
    this.#onfailure = null
  }
}
