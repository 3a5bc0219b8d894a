import { Duplex } from 'node:stream'
import { LOOPBACK } from '../core/listen.js'
import { startTimer } from '../core/timer.js'

const FAMILY = 'IPv4'

/**
 * A Duplex that is dressed as a socket of `node:net` which is connected, for programs that call what every socket has:
 * HTTP and database clients at one end, servers of this process at the other.
 */
export abstract class SocketDuplex extends Duplex {
  /** Loopback, as with a local port in between; a server that trusts it trusts every consumer. */
  declare remoteAddress: string
  declare remoteFamily: string
  declare remotePort: number
  declare localAddress: string
  declare localFamily: string
  declare localPort: number
  declare connecting: boolean
  declare pending: boolean

  static {
    // On the prototype, so that a stream costs nothing for it; and yet whoever knows better may write over it.
    Object.assign(SocketDuplex.prototype, {
      remoteAddress: LOOPBACK,
      remoteFamily: FAMILY,
      remotePort: 0,
      localAddress: LOOPBACK,
      localFamily: FAMILY,
      localPort: 0,
      connecting: false,
      pending: false
    })
  }

  /** In ms; 0 for none. Undefined before the first `setTimeout()`, as with a socket. */
  timeout: number | undefined = undefined
  bytesRead = 0
  bytesWritten = 0
  #timer: NodeJS.Timeout | null = null

  get readyState(): string {
    if (this.writable) return this.readable ? 'open' : 'writeOnly'
    return this.readable ? 'readOnly' : 'closed'
  }

  /** Bytes that were written and have not left. */
  get bufferSize(): number {
    return this.writableLength
  }

  address(): { address: string; family: string; port: number } {
    return { address: this.localAddress, family: this.localFamily, port: this.localPort }
  }

  /** For clients that are handed a socket and connect it themselves (pg): it is connected already. */
  connect(...args: unknown[]): this {
    const listener = args.at(-1)
    if (typeof listener === 'function') this.once('connect', listener as () => void)
    process.nextTick(() => {
      if (this.destroyed) return
      this.emit('connect')
      this.emit('ready')
    })
    return this
  }

  /**
   * Emits `timeout` when nothing came or went for so long.
   *
   * @param timeout in ms, 0 for never; cut to what a timer can run
   */
  setTimeout(timeout: number, listener?: () => void): this {
    if (typeof timeout !== 'number') {
      throw coded(new TypeError('a timeout is a number of ms'), 'ERR_INVALID_ARG_TYPE')
    }
    if (!Number.isFinite(timeout) || timeout < 0) {
      throw coded(new RangeError('a timeout is finite, and 0 or more'), 'ERR_OUT_OF_RANGE')
    }
    if (this.destroyed) return this
    this.timeout = timeout
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (timeout > 0) {
      this.#timer = startTimer(() => this.emit('timeout'), timeout).unref()
      if (listener) this.once('timeout', listener)
    } else if (listener) this.off('timeout', listener)
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  resetAndDestroy(): this {
    return this.destroy(coded(new Error('reset'), 'ECONNRESET'))
  }

  /**
   * Ends it, and drops what still comes. It closes when the other side has ended, too: a socket is destroyed once all has
   * left, which here would be a reset, before the other side has read the rest. node:http calls it when it is done.
   */
  destroySoon() {
    if (this.writable) this.end()
    this.resume()
  }

  /** Called by whoever derives from it when bytes came. */
  protected onreceived(byteLength: number) {
    this.bytesRead += byteLength
    this.#timer?.refresh()
  }

  /** Called by whoever derives from it when bytes go. */
  protected onsent(byteLength: number) {
    this.bytesWritten += byteLength
    this.#timer?.refresh()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void) {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    done(error)
  }
}

function coded<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code })
}
