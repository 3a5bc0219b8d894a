import type { Duplex } from 'node:stream'
import { toHex } from '../keys.js'
import type { OpenOptions } from '../link/link.js'
import type { LinkPool } from '../link/pool.js'
import type { DirectoryChange, Instance } from '../registry/directory.js'

export interface KeptStreamsOptions {
  pool: Pick<LinkPool, 'open'>
  /** How long an unused stream is kept, in ms. */
  idleTimeout?: number
  /** Unused streams kept for one instance. */
  maxIdle?: number
}

/** Below the 5 s after which Node's and Apache's servers close, so that few are used as they close. */
const IDLE_TIMEOUT_MS = 4000
const MAX_IDLE_STREAMS = 256
const SWEEPS_PER_TIMEOUT = 4

/** What is known of a stream that came from here. */
interface Origin {
  key: string
  /** Whether an earlier exchange went over it. */
  isUsed: boolean
}

interface IdleStream {
  stream: Duplex
  since: number
  /** Stops watching it. */
  release: () => void
}

/**
 * HTTP streams to instances, kept for the next exchange when one is over. `open` and `openFresh` fit
 * a dialer, which decides on the instance for each exchange anew.
 */
export class KeptStreams {
  readonly stats = {
    /** Streams kept now. */
    idle: 0,
    /** Exchanges that found a stream, and those that had to open one. */
    reused: 0,
    opened: 0
  }

  readonly #pool: KeptStreamsOptions['pool']
  readonly #idleTimeout: number
  readonly #maxIdle: number
  /** By instance; the last was used last. */
  readonly #idle = new Map<string, IdleStream[]>()
  readonly #origins = new WeakMap<Duplex, Origin>()
  #sweeper: NodeJS.Timeout | null = null
  #isClosed = false

  constructor({
    pool,
    idleTimeout = IDLE_TIMEOUT_MS,
    maxIdle = MAX_IDLE_STREAMS
  }: KeptStreamsOptions) {
    this.#pool = pool
    this.#idleTimeout = idleTimeout
    this.#maxIdle = maxIdle
  }

  /** A kept stream to an instance, or else a new one. */
  readonly open = (key: Buffer, options?: OpenOptions): Promise<Duplex> => {
    const stream = this.take(toHex(key))
    return stream === null ? this.openFresh(key, options) : Promise.resolve(stream)
  }

  /** A new stream, over which nothing was sent: for what must not be lost on one that just closed. */
  readonly openFresh = async (key: Buffer, options?: OpenOptions): Promise<Duplex> => {
    const stream = (await this.#pool.open(key, options)).toDuplex()
    this.stats.opened++
    this.#origins.set(stream, { key: toHex(key), isUsed: false })
    // What node:http's agents do: a socket says `free` when its exchange is over and it may have another.
    stream.on('free', () => this.#keep(stream))
    return stream
  }

  /** The instance that a stream leads to, in hex. */
  keyOf(stream: Duplex): string {
    return this.#origins.get(stream)?.key ?? ''
  }

  /** Whether an earlier exchange went over a stream. */
  isUsed(stream: Duplex): boolean {
    return this.#origins.get(stream)?.isUsed ?? false
  }

  /** Gives up the unused streams to an instance that is leaving: it waits for them. */
  readonly forget = (change: DirectoryChange, { servicePublicKey, status }: Instance) => {
    if (change !== 'down' && status !== 'draining') return
    for (const { stream } of [...(this.#idle.get(servicePublicKey) ?? [])]) {
      this.#drop(servicePublicKey, stream)
    }
  }

  /** Gives up the streams that are not in use, and keeps none from now on. */
  close() {
    this.#isClosed = true
    for (const [key, idle] of this.#idle) {
      for (const { stream } of [...idle]) this.#drop(key, stream)
    }
    this.#stopSweeping()
  }

  /** A kept stream to an instance, by its key in hex. */
  take(key: string): Duplex | null {
    const idle = this.#idle.get(key)
    const last = idle?.pop()
    if (!idle || !last) return null
    if (idle.length === 0) this.#idle.delete(key)
    last.release()
    this.stats.idle--
    this.stats.reused++
    return last.stream
  }

  #keep(stream: Duplex) {
    const origin = this.#origins.get(stream)
    if (!origin || stream.destroyed || !stream.writable || !stream.readable) return
    origin.isUsed = true
    const idle = this.#idle.get(origin.key) ?? []
    if (this.#isClosed || idle.length >= this.#maxIdle) {
      stream.destroy()
      return
    }
    // Nothing is due on it: whatever comes, its end included, makes it useless.
    const drop = () => this.#drop(origin.key, stream)
    const events = ['data', 'end', 'close', 'error']
    for (const event of events) stream.on(event, drop)
    const release = () => {
      for (const event of events) stream.off(event, drop)
    }
    idle.push({ stream, since: performance.now(), release })
    this.#idle.set(origin.key, idle)
    this.stats.idle++
    this.#sweepLater()
  }

  #drop(key: string, stream: Duplex) {
    const idle = this.#idle.get(key) ?? []
    const index = idle.findIndex((entry) => entry.stream === stream)
    if (index === -1) return
    idle.splice(index, 1)[0]?.release()
    if (idle.length === 0) this.#idle.delete(key)
    this.stats.idle--
    stream.on('error', () => {})
    stream.destroy()
  }

  #sweepLater() {
    if (this.#sweeper) return
    this.#sweeper = setInterval(() => this.#sweep(), this.#idleTimeout / SWEEPS_PER_TIMEOUT)
    this.#sweeper.unref()
  }

  #sweep() {
    const oldest = performance.now() - this.#idleTimeout
    for (const [key, idle] of this.#idle) {
      for (const { stream } of idle.filter(({ since }) => since < oldest)) this.#drop(key, stream)
    }
    if (this.#idle.size === 0) this.#stopSweeping()
  }

  #stopSweeping() {
    if (this.#sweeper) clearInterval(this.#sweeper)
    this.#sweeper = null
  }
}
