import type { Duplex } from 'node:stream'
import { LOOPBACK } from '../core/listen.js'
import { leave } from './leave.js'

/** Takes streams as `net.Server` and `http.Server` take sockets. */
export interface StreamServer {
  emit(event: 'connection', stream: Duplex): boolean
  /** Whether its streams may stay open when the other side has ended. */
  allowHalfOpen?: boolean
}

/** What servers expect of a socket, beside what every Duplex has. */
interface Socketlike {
  /** The consumer's process key: who it is. */
  remotePublicKey: Buffer
  /** Loopback, as with a local port in between; a server that trusts it trusts every consumer. */
  remoteAddress: string
  remoteFamily: string
  remotePort: number
  localAddress: string
  localPort: number
  address(): { address: string; family: string; port: number }
  setTimeout(timeout: number, listener?: () => void): this
  setNoDelay(): this
  setKeepAlive(): this
  ref(): this
  unref(): this
}

const FAMILY = 'IPv4'

/**
 * Hands a stream to a server in this process, without a TCP port in between.
 *
 * There is no `destroySoon` on purpose: node:http then ends a stream that it is done with, and does not
 * destroy it, which would reset it before the other side has read the rest.
 */
export function serve(server: StreamServer, stream: Duplex, remotePublicKey: Buffer) {
  const here = function (this: Duplex & Socketlike) {
    return this
  }
  const idle = new IdleTimer(stream)
  const socket = Object.assign(stream, {
    remotePublicKey,
    remoteAddress: LOOPBACK,
    remoteFamily: FAMILY,
    remotePort: 0,
    localAddress: LOOPBACK,
    localPort: 0,
    address: () => ({ address: LOOPBACK, family: FAMILY, port: 0 }),
    setTimeout(this: Duplex & Socketlike, timeout: number, listener?: () => void) {
      idle.set(timeout, listener)
      return this
    },
    setNoDelay: here,
    setKeepAlive: here,
    ref: here,
    unref: here
  })
  closeAsSocketsDo(socket)
  socket.allowHalfOpen = server.allowHalfOpen === true
  server.emit('connection', socket)
}

/**
 * A socket that is destroyed without an error says goodbye: its peer reads to the end, as an idle client
 * should. A stream would be reset.
 */
function closeAsSocketsDo(stream: Duplex) {
  const { destroy } = stream
  let isLeaving = false
  stream.destroy = (error?: Error) => {
    const isOver = stream.readableEnded && stream.writableFinished
    if (error || isOver || isLeaving) return destroy.call(stream, error)
    isLeaving = true
    // What still comes is for nobody.
    stream.removeAllListeners('data')
    leave(stream)
    return stream
  }
}

/** Emits `timeout` on a stream when nothing came or went for so long, as sockets do. */
class IdleTimer {
  readonly #stream: Duplex
  #timer: NodeJS.Timeout | null = null
  #isWatching = false

  constructor(stream: Duplex) {
    this.#stream = stream
  }

  /** @param timeout in ms, 0 for none */
  set(timeout: number, listener?: () => void) {
    const stream = this.#stream
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (timeout > 0 && !stream.destroyed) {
      this.#watch()
      this.#timer = setTimeout(() => stream.emit('timeout'), timeout)
      if (listener) stream.once('timeout', listener)
    } else if (listener) stream.off('timeout', listener)
  }

  #watch() {
    if (this.#isWatching) return
    this.#isWatching = true
    const stream = this.#stream
    const { push, write } = stream
    stream.push = (...args) => {
      this.#timer?.refresh()
      return push.apply(stream, args)
    }
    stream.write = (...args: unknown[]) => {
      this.#timer?.refresh()
      return (write as (...args: unknown[]) => boolean).apply(stream, args)
    }
    stream.on('close', () => this.set(0))
  }
}
