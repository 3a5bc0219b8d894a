import type { Directory, DirectoryChange, Instance } from '../registry/replica/directory.js'

export interface IdleStreamsOptions {
  /** How long a stream is kept, in ms. */
  idleTimeout?: number | undefined
  /** Streams kept for one instance. */
  maxIdle?: number | undefined
  /** Whether an instance, by its key in hex, may be used again. Asked for each stream. */
  isWelcome: (key: string) => boolean
}

/**
 * It is less than the 5 s after which Node's and Apache's servers close a connection, so that few streams are used just
 * as they close.
 */
const IDLE_TIMEOUT_MS = 4000
const MAX_IDLE_STREAMS = 256
const SWEEPS_PER_TIMEOUT = 4

/** Tells whether an instance is listed and not draining. */
export function welcomedBy(directory: Pick<Directory, 'statusOf'>): (key: string) => boolean {
  return (key) => (directory.statusOf(key) ?? 'draining') !== 'draining'
}

interface Idle<T> {
  stream: T
  /** The number of the last sweep before it was put here. To read the clock for each request would cost too much. */
  since: number
}

/** HTTP streams to instances, which wait for the next exchange. Streams that are not needed any more are destroyed. */
export class IdleStreams<T extends { destroy(): void }> {
  readonly #options: IdleStreamsOptions
  readonly #idleTimeout: number
  readonly #maxIdle: number
  /** Streams by instance, the most recently used one last. */
  readonly #idle = new Map<string, Idle<T>[]>()
  #size = 0
  #sweeps = 0
  #sweeper: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(options: IdleStreamsOptions) {
    this.#options = options
    this.#idleTimeout = options.idleTimeout ?? IDLE_TIMEOUT_MS
    this.#maxIdle = options.maxIdle ?? MAX_IDLE_STREAMS
  }

  /** Streams kept now. */
  get size(): number {
    return this.#size
  }

  /**
   * Takes the most recently used stream to an instance, so that streams which are not needed grow old and are dropped.
   */
  take(key: string): T | null {
    const last = this.#idle.get(key)?.pop()
    if (last === undefined) return null
    this.#size--
    return last.stream
  }

  /** Keeps a stream to an instance. */
  put(key: string, stream: T) {
    const idle = this.#idle.get(key) ?? []
    if (this.#isClosed || idle.length >= this.#maxIdle || !this.#options.isWelcome(key)) {
      return stream.destroy()
    }
    idle.push({ stream, since: this.#sweeps })
    this.#idle.set(key, idle)
    this.#size++
    this.#sweeper ??= this.#sweepLater()
  }

  /** Destroys a stream that cannot be used any more. */
  drop(key: string, stream: T) {
    const idle = this.#idle.get(key) ?? []
    const index = idle.findIndex((entry) => entry.stream === stream)
    if (index === -1) return
    idle.splice(index, 1)
    this.#size--
    stream.destroy()
  }

  /** Destroys all streams to an instance. */
  dropAll(key: string) {
    for (const { stream } of [...(this.#idle.get(key) ?? [])]) this.drop(key, stream)
  }

  /**
   * Called on each change of the directory. An instance that leaves waits for its streams to end, so those to it are
   * destroyed.
   */
  readonly forget = (change: DirectoryChange, { servicePublicKey, status }: Instance) => {
    if (change === 'down' || status === 'draining') this.dropAll(servicePublicKey)
  }

  /** Destroys all streams, and keeps none from now on. */
  close() {
    this.#isClosed = true
    for (const key of [...this.#idle.keys()]) this.dropAll(key)
    this.#stopSweeping()
  }

  #sweepLater(): NodeJS.Timeout {
    const sweeper = setInterval(() => this.#sweep(), this.#idleTimeout / SWEEPS_PER_TIMEOUT)
    return sweeper.unref()
  }

  #sweep() {
    const oldest = ++this.#sweeps - SWEEPS_PER_TIMEOUT
    for (const [key, idle] of this.#idle) {
      for (const { stream } of idle.filter(({ since }) => since <= oldest)) this.drop(key, stream)
      if (idle.length === 0) this.#idle.delete(key)
    }
    if (this.#idle.size === 0) this.#stopSweeping()
  }

  #stopSweeping() {
    if (this.#sweeper) clearInterval(this.#sweeper)
    this.#sweeper = null
  }
}
