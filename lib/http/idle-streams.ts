import type { Directory, DirectoryChange, Instance } from '../registry/replica/directory.js'

export interface IdleStreamsOptions {
  /** How long a stream is kept, in ms. */
  idleTimeout?: number | undefined
  /** Streams kept for one instance. */
  maxIdle?: number | undefined
  /** Whether an instance, by its key in hex, may be used again. Asked for each stream. */
  isWelcome: (key: string) => boolean
}

/** Below the 5 s after which Node's and Apache's servers close, so that few are used as they close. */
const IDLE_TIMEOUT_MS = 4000
const MAX_IDLE_STREAMS = 256
const SWEEPS_PER_TIMEOUT = 4

/** Whether an instance is there, and means to stay. */
export function welcomedBy(directory: Pick<Directory, 'statusOf'>): (key: string) => boolean {
  return (key) => (directory.statusOf(key) ?? 'draining') !== 'draining'
}

interface Idle<T> {
  stream: T
  /** The sweep before it was put there: a clock for each request would be too much. */
  since: number
}

/** HTTP streams to instances, which wait for the next exchange. Streams that are not needed any more are destroyed. */
export class IdleStreams<T extends { destroy(): void }> {
  readonly #options: IdleStreamsOptions
  readonly #idleTimeout: number
  readonly #maxIdle: number
  /** By instance; the last was used last. */
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

  /** The stream to an instance that was used last: the others are those that may become too many. */
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

  /** Gives up one that is of no use any more. */
  drop(key: string, stream: T) {
    const idle = this.#idle.get(key) ?? []
    const index = idle.findIndex((entry) => entry.stream === stream)
    if (index === -1) return
    idle.splice(index, 1)
    this.#size--
    stream.destroy()
  }

  /** Gives up all those to an instance. */
  dropAll(key: string) {
    for (const { stream } of [...(this.#idle.get(key) ?? [])]) this.drop(key, stream)
  }

  /** Gives up those to an instance that is leaving: it waits for them. */
  readonly forget = (change: DirectoryChange, { servicePublicKey, status }: Instance) => {
    if (change === 'down' || status === 'draining') this.dropAll(servicePublicKey)
  }

  /** Gives up all, and keeps none from now on. */
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
