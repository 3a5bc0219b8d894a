import { Agent, type ClientRequest, type RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'

/** Opens a stream for one exchange. */
export type DialExchange = (options: { signal: AbortSignal; method: string }) => Promise<Duplex>

export interface StreamAgentOptions {
  /** Asked for each exchange: whether it opens or reuses is its own affair, as is what becomes of it. */
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

  addRequest(request: ClientRequest, { stream }: StreamRequestOptions) {
    if (stream) return attach(request, stream)
    const ending = new AbortController()
    const onclose = () => ending.abort()
    request.once('close', onclose)
    this.#dial({ signal: ending.signal, method: request.method }).then(
      (stream) => {
        request.off('close', onclose)
        attach(request, stream)
      },
      (error) => request.destroy(error)
    )
  }
}

function attach(request: ClientRequest, stream: Duplex) {
  // Typed for sockets, but it asks for a stream; see `http.createServer().emit('connection', duplex)`.
  request.onSocket(stream as Parameters<ClientRequest['onSocket']>[0])
}
