import { createServer, type Server, type Socket } from 'node:net'
import { Abort, type Signal } from '../core/abort.js'
import { Bag } from '../core/bag.js'
import { SeaportError } from '../core/errors.js'
import { ReadyResource } from '../core/holepunch.js'
import { bareAddress, KEEP_ALIVE_MS, LOOPBACK, listen, probeTcpPort } from '../core/listen.js'
import { startTimer } from '../core/timer.js'
import { cut } from '../link/pipe.js'
import { splice } from '../link/splice.js'
import type { LinkStream } from '../link/stream.js'

export interface TcpProxyOptions {
  /** 0 for a free one. */
  port?: number
  host?: string
  /** Opens a stream for one connection. The signal ends it when the client hangs up. */
  dial: (options: { signal: Signal }) => Promise<LinkStream>
  /** Connections at a time. Beyond, new ones are closed at once. */
  maxConnections?: number
}

const MAX_CONNECTIONS = 16_384
const BACKLOG = 4096
const HUNG_UP = SeaportError.CLOSED('the client hung up')

/**
 * A local TCP port in front of a dialer: each connection becomes a stream. A connection for which no
 * stream can be opened is reset. Emits `refused` (a SeaportError) for each of those.
 */
export class TcpProxy extends ReadyResource {
  readonly host: string
  readonly stats = {
    /** Connections now, and all that were joined with a stream. */
    connections: 0,
    connected: 0,
    /** Connections for which there was no stream. */
    refused: 0,
    /** Connections that were cut, by either end, before they had ended. */
    reset: 0
  }

  readonly #dial: TcpProxyOptions['dial']
  readonly #server: Server
  readonly #sockets = new Bag<Socket>()
  #port: number
  #stopped: Promise<void> | null = null

  constructor({
    port = 0,
    host = LOOPBACK,
    dial,
    maxConnections = MAX_CONNECTIONS
  }: TcpProxyOptions) {
    super()
    this.#port = port
    this.host = bareAddress(host)
    this.#dial = dial
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true }
    this.#server = createServer({ ...options, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) =>
      this.#onconnection(socket)
    )
    this.#server.maxConnections = maxConnections
  }

  /** The port it listens on, or will try to. */
  get port(): number {
    return this.#port
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED */
  setup(): Promise<void> {
    return this.ready()
  }

  destroy(): Promise<void> {
    return this.close()
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
    const { host } = this
    this.#port = await listen(this.#server, { port: this.#port, host, backlog: BACKLOG })
  }

  /** Takes no new connections from now on. Resolves when those that are open have ended, or after `timeout` ms. */
  async drain(timeout: number) {
    if (!this.#server.listening) return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = startTimer(resolve, timeout)
    })
    await Promise.race([this.#stopListening(), late])
    clearTimeout(timer)
  }

  /** Cuts the connections that are open. */
  override async _close() {
    if (!this.#server.listening && !this.#stopped) return
    const stopped = this.#stopListening()
    const reason = SeaportError.CLOSED('the proxy was closed')
    for (const socket of this.#sockets.values()) cut(socket, reason)
    await stopped
  }

  /** Resolves when the last connection has ended, too. */
  #stopListening(): Promise<void> {
    this.#stopped ??= new Promise((resolve) => this.#server.close(() => resolve()))
    return this.#stopped
  }

  #onconnection(socket: Socket) {
    const hangUp = new Abort()
    const place = this.#sockets.add(socket)
    this.stats.connections++
    socket.on('error', noop)
    socket.on('close', () => {
      this.#sockets.delete(place)
      this.stats.connections--
      hangUp.abort(HUNG_UP)
    })
    void this.#serve(socket, hangUp)
  }

  /** Never rejects. */
  async #serve(socket: Socket, hangUp: Abort) {
    try {
      // Until the stream is open, a little is read ahead, so that a hang-up is noticed; it stays in the socket's buffer.
      const stream = await this.#dial({ signal: hangUp })
      this.stats.connected++
      if ((await splice(stream, socket)) !== null) this.stats.reset++
    } catch (error) {
      if (hangUp.aborted) return
      this.stats.refused++
      cut(socket, error as Error)
      this.emit('refused', error)
    }
  }
}

function noop() {}
