import { Agent, ClientRequest, type RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'

// Node does not promise it, and there is no other way to give a request its stream.
if (typeof ClientRequest.prototype.onSocket !== 'function') {
  throw SeaportError.UNSUPPORTED_DEPENDENCY(
    `node:http of Node ${process.versions.node} takes no streams for sockets: use Node 20, 22 or 24`
  )
}

/** Opens a stream for one exchange. */
export type DialExchange = (options: { signal: AbortSignal; method: string }) => Promise<Duplex>

export interface StreamAgentOptions {
  /** Asked for each exchange: whether it opens or reuses is its own affair, as is what becomes of it. */
  dial: DialExchange
}

/** Options of a request whose stream is open already. */
export interface StreamRequestOptions extends RequestOptions {
  stream?: Duplex
  /** Ends the dial: a request that is destroyed before it has a socket tells nobody. */
  dialSignal?: AbortSignal
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

  addRequest(request: ClientRequest, { stream, dialSignal }: StreamRequestOptions) {
    if (stream) return attach(request, stream)
    const signal = dialSignal ?? NEVER
    this.#dial({ signal, method: request.method }).then(
      (stream) => attach(request, stream),
      (error) => attach(request, null, error)
    )
  }
}

const NEVER = new AbortController().signal

/** Typed for sockets, but it asks for a stream; with an error instead, as Node's own agents say it. */
function attach(request: ClientRequest, stream: Duplex | null, error?: Error) {
  const onsocket = request.onSocket as unknown as OnSocket
  onsocket.call(request, stream, error)
}

type OnSocket = (this: ClientRequest, stream: Duplex | null, error?: Error) => void
