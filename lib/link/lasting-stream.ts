import { EventEmitter } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import { BYTES } from '../core/purpose.js'
import { isBetter } from './path.js'
import type { LinkPool, PathFollower } from './pool.js'
import type { LinkStream } from './stream.js'

export interface LastingStreamOptions {
  pool: Pick<LinkPool, 'open' | 'follow' | 'pathOf'>
  remotePublicKey: Buffer
  /** What it is for. Bytes for a backend stay on their link: they have no place in which to go on. */
  purpose: string
  /** How long it waits before it opens another one, in ms, by how often that failed in a row. */
  backoffs?: readonly number[] | undefined
  /** How often it asks for a better path while it is not on the best, in ms. */
  seekInterval?: number | undefined
  /** How long the other side may take to end a stream that was left, in ms. */
  leaveTimeout?: number | undefined
  random?: (() => number) | undefined
}

interface LastingStreamEvents {
  /** The stream from now on; it is in the holder's hands. The one before, if it is still there, is being ended. */
  stream: [stream: LinkStream, before: LinkStream | null]
  /** The stream is gone, and another one is being opened. */
  lost: [reason: SeaportError | null]
  /** None could be opened; it is tried again. */
  failed: [reason: SeaportError]
}

const BACKOFFS_MS = [100, 500, 1000, 2000, 5000, 10_000]
/** Each wait is up to so much longer, so that what was lost together does not come back together. */
const JITTER = 0.2
/** A stream that lasted this long, in ms, had nothing wrong with it. */
const STEADY_MS = 10_000
const SEEK_INTERVAL_MS = 5000
const LEAVE_TIMEOUT_MS = 10_000

/**
 * Keeps one stream of a purpose open to a key. When a better path comes it opens the next stream there, tells its
 * holder, and ends the one before; when the stream is lost, or ended by the other side, it opens another one. What
 * was written to a stream and is not answered yet is for its holder to say again.
 */
export class LastingStream extends EventEmitter<LastingStreamEvents> {
  readonly stats = { opened: 0, moved: 0, lost: 0, failed: 0 }

  readonly #options: LastingStreamOptions
  readonly #backoffs: readonly number[]
  readonly #abort = new AbortController()
  #stream: LinkStream | null = null
  /** Streams that were left and are not closed yet. */
  readonly #left = new Map<LinkStream, NodeJS.Timeout>()
  #openedAt = 0
  #isOpening = false
  /** Opens in a row that failed, or whose stream did not last. */
  #failures = 0
  #timer: NodeJS.Timeout | null = null
  #path: PathFollower | null = null
  #seeker: NodeJS.Timeout | null = null

  /** @throws USAGE */
  constructor(options: LastingStreamOptions) {
    super()
    if (options.purpose === BYTES) {
      throw SeaportError.USAGE("bytes for a backend stay on their link: give the stream's purpose")
    }
    this.#options = options
    this.#backoffs = options.backoffs ?? BACKOFFS_MS
  }

  /** The stream that is open now, if any. */
  get stream(): LinkStream | null {
    return this.#stream
  }

  /** Begins. From then on events tell. */
  open() {
    if (this.#path || this.#abort.signal.aborted) return
    const { pool, remotePublicKey, seekInterval = SEEK_INTERVAL_MS } = this.#options
    this.#path = pool.follow(remotePublicKey, () => this.#moveMaybe())
    // The pool by itself looks for a better path only when streams are opened.
    this.#seeker = setInterval(() => {
      this.#path?.seek()
      this.#moveMaybe()
    }, seekInterval)
    this.#seeker.unref()
    void this.#openNext()
  }

  /** Opens no other stream: the one that is open goes on until the other side ends it, or for so many ms. */
  finish(onlate: () => void, timeout = LEAVE_TIMEOUT_MS) {
    if (!this.#stream) return this.close()
    this.#abort.abort(SeaportError.CLOSED('the other side leaves'))
    this.#path?.stop()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#seeker) clearInterval(this.#seeker)
    this.#timer = setTimeout(() => {
      this.close()
      onlate()
    }, timeout)
    this.#timer.unref()
  }

  /** Ends the stream in order, and opens no other. */
  close() {
    this.#abort.abort(SeaportError.CLOSED('the lasting stream was closed'))
    this.#path?.stop()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#seeker) clearInterval(this.#seeker)
    const stream = this.#stream
    this.#stream = null
    if (stream) this.#leave(stream)
  }

  /** Opens the next stream if there is a better path for it. */
  #moveMaybe() {
    const best = this.#options.pool.pathOf(toHex(this.#options.remotePublicKey))
    if (best && this.#stream && isBetter(best.kind, this.#stream.path)) void this.#openNext()
  }

  /** Never rejects. */
  async #openNext() {
    if (this.#isOpening || this.#abort.signal.aborted) return
    this.#isOpening = true
    if (this.#timer) clearTimeout(this.#timer)
    const { pool, remotePublicKey, purpose } = this.#options
    const { signal } = this.#abort
    try {
      const stream = await pool.open(remotePublicKey, { purpose, signal, insist: true })
      this.#isOpening = false
      if (signal.aborted) stream.destroy()
      else this.#take(stream)
    } catch (error) {
      this.#isOpening = false
      if (!signal.aborted) this.#onfailed(error as SeaportError)
    }
  }

  #take(stream: LinkStream) {
    const before = this.#stream
    stream.whenClosed((reason) => this.#onclosed(stream, reason))
    // The better path was lost again while a stream was opened there.
    if (before && !isBetter(stream.path, before.path)) return stream.destroy()
    this.stats.opened++
    if (before) this.stats.moved++
    this.#openedAt = performance.now()
    this.#stream = stream
    this.emit('stream', stream, before)
    if (before) this.#leave(before)
    this.#moveMaybe()
  }

  #onclosed(stream: LinkStream, reason: SeaportError | null) {
    clearTimeout(this.#left.get(stream))
    this.#left.delete(stream)
    if (stream !== this.#stream) return
    this.#stream = null
    this.stats.lost++
    if (performance.now() - this.#openedAt >= STEADY_MS) this.#failures = 0
    this.emit('lost', reason)
    this.#openLater()
  }

  #onfailed(reason: SeaportError) {
    this.stats.failed++
    this.emit('failed', reason)
    // While there is a stream, the next word of a better path is early enough.
    if (!this.#stream) this.#openLater()
  }

  #openLater() {
    if (this.#abort.signal.aborted) return
    const { random = Math.random } = this.#options
    const step = Math.min(this.#failures++, this.#backoffs.length - 1)
    const backoff = (this.#backoffs[step] ?? 0) * (1 + JITTER * random())
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#openNext(), backoff)
  }

  /** Ends a stream; what comes on it yet is its holder's to read. */
  #leave(stream: LinkStream) {
    const { leaveTimeout = LEAVE_TIMEOUT_MS } = this.#options
    const timer = setTimeout(() => stream.destroy(), leaveTimeout)
    timer.unref()
    this.#left.set(stream, timer)
    stream.end()
  }
}
