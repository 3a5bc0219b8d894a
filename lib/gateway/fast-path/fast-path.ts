import type { Socket } from 'node:net'
import { Bag } from '../../core/bag.js'
import type { DirectoryChange, Instance } from '../../registry/replica/directory.js'
import { FastConnection } from './connection.js'
import type { FastPathContext } from './exchange.js'
import { FastStreams, type FastStreamsOptions } from './streams.js'

export interface FastPathOptions extends Omit<FastPathContext, 'streams'>, FastStreamsOptions {
  /** Takes over a connection, and reads on from there: something came on it that is not plain. */
  leave: (socket: Socket, beginning: Buffer | null) => void
}

/**
 * The fast path. Most requests are plain: HTTP/1.1 in clear text, without a body, in one piece, for an
 * instance. These are read and passed on here, with next to nothing made for each. Everything else,
 * whatever is wrong with it included, is left to node:http from its first byte on; nothing is judged here.
 *
 * ```
 *  client ──▶ FastConnection ──▶ FastExchange ──▶ FastStream ──▶ instance
 *  socket       one for each        one for each      kept, one exchange
 *    │          connection          request           after the other
 *    │              ▲                   │                  │
 *    │              └──── FastAnswer ◀──┴──────────────────┘
 *    │                    what its head becomes, where its body ends
 *    │
 *    └──▶ node:http (`leave`), from the first request on that is not plain
 * ```
 *
 * - `FastConnection` reads requests (`message-head`), asks the router who sends them and where they go, and
 *   remembers what the same fields became the last time.
 * - `FastExchange` sends one request and passes its answer on, goes on to another instance if the first breaks
 *   off, and keeps account of it.
 * - `FastStream` is a stream to an instance; `FastStreams` keeps those that are between two exchanges.
 */
export class FastPath {
  readonly #context: FastPathContext
  readonly #streams: FastStreams
  readonly #leave: FastPathOptions['leave']
  readonly #connections = new Bag<FastConnection>()
  #isClosed = false

  constructor({ pool, isWelcome, leave, ...context }: FastPathOptions) {
    this.#streams = new FastStreams({ pool, isWelcome })
    this.#context = { ...context, streams: this.#streams }
    this.#leave = leave
  }

  /** Counts the streams that wait for an exchange, and how many exchanges reused one or opened one. */
  get stats() {
    return { idle: this.#streams.idle, ...this.#streams.stats }
  }

  /** Takes a new connection. */
  take(socket: Socket) {
    if (this.#isClosed) return void socket.destroy()
    const connection = new FastConnection(this.#context, socket, {
      onleave: (socket, beginning) => {
        this.#connections.delete(place)
        this.#leave(socket, beginning)
      },
      onclose: () => this.#connections.delete(place)
    })
    const place = this.#connections.add(connection)
  }

  /** Ends what takes too long. Called from time to time. */
  tick(now: number, isSilent: (key: string) => boolean) {
    for (const connection of this.#connections.values()) connection.tick(now, isSilent)
  }

  /** Called on each change of the directory: what is kept for an instance that goes is given up. */
  forget(change: DirectoryChange, instance: Instance) {
    this.#streams.forget(change, instance)
  }

  /** Takes no more requests; those under way end. */
  close() {
    this.#isClosed = true
    this.#streams.close()
    for (const connection of this.#connections.values()) connection.close()
  }
}
