import type { Socket } from 'node:net'
import { LaneConnection } from './lane-connection.js'
import type { LaneContext } from './lane-exchange.js'

export interface LaneOptions extends LaneContext {
  /** How long a client may take to send its first request, in ms. */
  headersTimeout: number
  /** Takes over a connection on which there is something that is not for the lane. */
  leave: (socket: Socket) => void
}

/**
 * The fast lane. Most requests are plain: HTTP/1.1 in clear text, without a body, in one piece, for an
 * instance. These are read and passed on here, with next to nothing made for each. Everything else,
 * whatever is wrong with it included, is left to node:http from its first byte on; nothing is judged here.
 */
export class Lane {
  readonly #options: LaneOptions
  readonly #connections = new Set<LaneConnection>()
  #isClosed = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** Takes a new connection. */
  take(socket: Socket) {
    if (this.#isClosed) return void socket.destroy()
    const connection = new LaneConnection(this.#options, socket, {
      onleave: (connection, socket) => {
        this.#connections.delete(connection)
        this.#options.leave(socket)
      },
      onclose: (connection) => this.#connections.delete(connection)
    })
    this.#connections.add(connection)
  }

  /** Ends connections that were left unused for too long. Called from time to time. */
  tick(now: number) {
    const { headersTimeout, keepAliveTimeout } = this.#options
    for (const connection of this.#connections) {
      const patience = connection.hasServed ? keepAliveTimeout : headersTimeout
      if (connection.isIdle && now - connection.idleSince > patience) connection.destroy()
    }
  }

  /** Takes no more requests; those under way end. */
  close() {
    this.#isClosed = true
    for (const connection of this.#connections) connection.close()
  }
}
