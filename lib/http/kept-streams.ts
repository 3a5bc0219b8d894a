import type { Duplex } from 'node:stream'
import { toHex } from '../core/keys.js'
import type { OpenOptions } from '../link/link.js'
import type { LinkPool } from '../link/pool.js'
import type { SocketDuplex } from '../link/socket-duplex.js'
import { IdleStreams, type IdleStreamsOptions } from './idle-streams.js'

export interface KeptStreamsOptions extends IdleStreamsOptions {
  pool: Pick<LinkPool, 'open'>
}

/** A stream that waits for its next exchange cannot be used any more after any of these events. */
const EVENTS = ['data', 'end', 'close', 'error']

/** A stream between two exchanges. */
class IdleStream {
  readonly stream: SocketDuplex
  readonly #onevent: () => void

  constructor(stream: SocketDuplex, onevent: () => void) {
    this.stream = stream
    this.#onevent = onevent
    for (const event of EVENTS) stream.on(event, onevent)
  }

  /** Stops watching the stream, and returns it. */
  release(): SocketDuplex {
    for (const event of EVENTS) this.stream.off(event, this.#onevent)
    return this.stream
  }

  destroy() {
    this.release().on('error', () => {})
    this.stream.destroy()
  }
}

/**
 * HTTP streams to instances, for node:http, kept for the next exchange when one is over. `open` and
 * `openFresh` fit a dialer, which decides on the instance for each exchange anew.
 */
export class KeptStreams {
  readonly stats = {
    /** Exchanges that found a stream, and those that had to open one. */
    reused: 0,
    opened: 0
  }

  readonly #pool: KeptStreamsOptions['pool']
  readonly #idle: IdleStreams<IdleStream>
  /** The key of the instance that each stream leads to. */
  readonly #keys = new WeakMap<Duplex, string>()
  /** Streams that had an exchange before. */
  readonly #used = new WeakSet<Duplex>()

  constructor({ pool, ...options }: KeptStreamsOptions) {
    this.#pool = pool
    this.#idle = new IdleStreams(options)
  }

  /** Streams kept now. */
  get idle(): number {
    return this.#idle.size
  }

  /** The function to call on each change of the directory. */
  get forget(): IdleStreams<IdleStream>['forget'] {
    return this.#idle.forget
  }

  /** A kept stream to an instance, or else a new one. */
  readonly open = (key: Buffer, options?: OpenOptions): Promise<SocketDuplex> => {
    const stream = this.take(toHex(key))
    return stream === null ? this.openFresh(key, options) : Promise.resolve(stream)
  }

  /** A new stream, for a request that must not be lost on a kept one that just closes. */
  readonly openFresh = async (key: Buffer, options?: OpenOptions): Promise<SocketDuplex> => {
    const stream = (await this.#pool.open(key, options)).toDuplex()
    this.stats.opened++
    this.#keys.set(stream, toHex(key))
    // As with node:http's agents, a socket emits `free` when its exchange is over and it may have another.
    stream.on('free', () => this.#keep(stream))
    return stream
  }

  /** The instance that a stream leads to, in hex. */
  keyOf(stream: Duplex): string {
    return this.#keys.get(stream) ?? ''
  }

  /** Whether a stream had an exchange before. If so, its other end may have closed it just as it was used again. */
  wasUsed(stream: Duplex): boolean {
    return this.#used.has(stream)
  }

  /** Gives up the streams that are not in use, and keeps none from now on. */
  close() {
    this.#idle.close()
  }

  /** A kept stream to an instance, by its key in hex. */
  take(key: string): SocketDuplex | null {
    const idle = this.#idle.take(key)
    if (idle === null) return null
    this.stats.reused++
    return idle.release()
  }

  #keep(stream: SocketDuplex) {
    if (stream.destroyed || !stream.writable || !stream.readable) return
    this.#used.add(stream)
    const key = this.keyOf(stream)
    const idle = new IdleStream(stream, () => this.#idle.drop(key, idle))
    this.#idle.put(key, idle)
  }
}
