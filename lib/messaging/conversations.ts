import { unlessAborted } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import type { OpenOptions } from '../link/link.js'
import { isBetter } from '../link/path.js'
import type { LinkPool, PathFollower } from '../link/pool.js'
import { BODY_MEMORY } from './body-memory.js'
import { Caller } from './caller.js'
import { CONVERSATION, SINGLE_CALL } from './conversation.js'

export interface ConversationsOptions {
  pool: Pick<LinkPool, 'open' | 'follow' | 'isSuspect'>
  /** After what idle time a conversation is ended, in ms. */
  idleTimeout?: number | undefined
  /** The largest frame of a call on a stream of its own, in bytes. */
  maxFrame: number
}

interface Kept {
  caller: Caller
  follower: PathFollower
  soughtAt: number
}

const IDLE_TIMEOUT_MS = 60_000
/** A better path is asked for at most this often. */
const SEEK_INTERVAL_MS = 5000

/**
 * Keeps one conversation with each instance, which begins when it is first needed. It ends when it was idle for a
 * while, when the instance leaves, and when there is a better path: then the next one begins there, and the old one
 * ends with its calls.
 */
export class Conversations {
  readonly #options: ConversationsOptions
  readonly #kept = new Map<string, Kept>()
  readonly #opening = new Map<string, Promise<Caller>>()
  /** All callers that are not closed, including those on streams of their own. */
  readonly #callers = new Set<Caller>()
  #sweeper: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(options: ConversationsOptions) {
    this.#options = options
  }

  /** The open conversation with an instance, by its key in hex; null if there is none. */
  peek(key: string): Caller | null {
    const kept = this.#kept.get(key)
    if (!kept) return null
    const now = performance.now()
    if (now - kept.soughtAt >= SEEK_INTERVAL_MS) {
      kept.soughtAt = now
      kept.follower.seek()
    }
    return kept.caller
  }

  /**
   * The conversation with an instance, which is opened if there is none. It is the `open` function for a dialer.
   *
   * @throws what the pool does
   */
  open(remotePublicKey: Buffer, { signal, ...options }: OpenOptions): Promise<Caller> {
    const key = toHex(remotePublicKey)
    const caller = this.peek(key)
    // Its link may be dead. If it is suspect, the pool may offer another one.
    if (caller && !this.#options.pool.isSuspect(key)) return Promise.resolve(caller)
    let opening = this.#opening.get(key)
    if (!opening) {
      opening = this.#open(remotePublicKey, key, options).finally(() => this.#opening.delete(key))
      this.#opening.set(key, opening)
    }
    return unlessAborted(opening, signal)
  }

  /**
   * Opens a stream for one call.
   *
   * @throws what the pool does
   */
  async openSingle(
    remotePublicKey: Buffer,
    options: OpenOptions,
    hasRoom?: () => boolean
  ): Promise<Caller> {
    const stream = await this.#options.pool.open(remotePublicKey, {
      ...options,
      purpose: SINGLE_CALL
    })
    const caller: Caller = new Caller(stream, {
      maxFrame: this.#options.maxFrame,
      held: BODY_MEMORY.open(toHex(remotePublicKey)),
      hasRoom,
      onleaving: () => {},
      onclose: () => this.#callers.delete(caller)
    })
    this.#callers.add(caller)
    return caller
  }

  close() {
    this.#isClosed = true
    if (this.#sweeper) clearInterval(this.#sweeper)
    const reason = SeaportError.CLOSED('the consumer was closed')
    for (const caller of [...this.#callers]) caller.destroy(reason)
  }

  async #open(remotePublicKey: Buffer, key: string, options: OpenOptions): Promise<Caller> {
    if (this.#isClosed) throw SeaportError.CLOSED('the consumer was closed')
    const { pool } = this.#options
    const stream = await pool.open(remotePublicKey, { ...options, purpose: CONVERSATION })
    if (this.#isClosed) {
      stream.destroy()
      throw SeaportError.CLOSED('the consumer was closed')
    }
    this.#kept.get(key)?.caller.retire()
    const caller: Caller = new Caller(stream, {
      onleaving: () => this.#forget(key, caller),
      onclose: () => this.#callers.delete(caller)
    })
    this.#callers.add(caller)
    const follower = pool.follow(remotePublicKey, (path) => {
      if (isBetter(path, stream.path)) caller.retire()
    })
    this.#kept.set(key, { caller, follower, soughtAt: performance.now() })
    this.#sweepLater()
    return caller
  }

  #forget(key: string, caller: Caller) {
    const kept = this.#kept.get(key)
    if (kept?.caller !== caller) return
    kept.follower.stop()
    this.#kept.delete(key)
  }

  #sweepLater() {
    const { idleTimeout = IDLE_TIMEOUT_MS } = this.#options
    this.#sweeper ??= setInterval(() => {
      for (const { caller } of [...this.#kept.values()]) {
        if (caller.idleFor >= idleTimeout) caller.retire()
      }
    }, idleTimeout / 2).unref()
  }
}
