import { type ClientHttp2Session, connect } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import type { Lendable } from '../dialing/dialer.js'
import type { OpenOptions } from '../link/link.js'
import type { LinkPool } from '../link/pool.js'
import type { DirectoryChange, Instance } from '../registry/replica/directory.js'
import { Http2Request, type Http2RequestOptions } from './http2-request.js'

/** Requests at a time over one session, if the instance takes as many. */
const MAX_CONCURRENT = 100
const IDLE_TIMEOUT_MS = 60_000
/** How long an instance may take to say how many requests it takes, in ms. */
const READY_TIMEOUT_MS = 5000
/** How long a session may take to end after its last request, in ms. */
const LINGER_TIMEOUT_MS = 5000
/**
 * So many requests are cancelled over one session. Servers end a session with too many resets, and all that is asked over
 * it (CVE-2023-44487): those of Node after some hundreds of them.
 */
const MAX_CANCELLED = 100
/**
 * How long a request may wait before its cancellation says something about its session, in ms. An instance that breaks the
 * rules of HTTP/2 is sent a GOAWAY, after which node:http2 reads and writes nothing, yet keeps the session, and tells
 * nobody.
 */
const SILENCE_MS = 1000
/** The settings that limit what an instance may send us. */
const SETTINGS = { enablePush: false, maxHeaderListSize: 64 * 1024 }

export interface Http2SessionsOptions {
  /** How long an instance may take to say how many requests it takes, in ms. */
  readyTimeout?: number
  /** How long a session may take to end after its last request, in ms. */
  lingerTimeout?: number
  /** How long a request has to have waited in vain until its session gets no more of them, in ms. */
  silence?: number
}

/** One request's part of a session. */
export class Http2Lease implements Lendable {
  readonly session: ClientHttp2Session
  /** The key of the instance, hex. */
  readonly key: string
  readonly #onanswer: () => void
  readonly #ongiven: (wasCancelled: boolean) => void
  #onunused: (() => void) | null = null
  #isGiven = false

  constructor(
    session: ClientHttp2Session,
    key: string,
    onanswer: () => void,
    ongiven: (wasCancelled: boolean) => void
  ) {
    this.session = session
    this.key = key
    this.#onanswer = onanswer
    this.#ongiven = ongiven
  }

  /** Sends its request. The lease is given back when that is over. */
  request(options: Http2RequestOptions): Http2Request {
    try {
      const request = new Http2Request(this.session, options)
      request.once('response', this.#onanswer)
      request.once('cancel', () => this.#giveBack(true))
      request.once('close', () => this.destroy())
      return request
    } catch (error) {
      this.destroy()
      throw error
    }
  }

  whenUnused(callback: () => void) {
    this.#onunused = callback
  }

  /** Gives the lease back: its request is over, or was never sent. */
  destroy() {
    this.#giveBack(false)
  }

  #giveBack(wasCancelled: boolean) {
    if (this.#isGiven) return
    this.#isGiven = true
    this.#ongiven(wasCancelled)
    this.#onunused?.()
  }
}

interface Kept {
  /** What the session runs over. */
  stream: Duplex
  session: ClientHttp2Session
  /** Whether the instance has said how many requests it takes. */
  isReady: boolean
  inFlight: number
  /** Requests that were cancelled so far. */
  cancelled: number
  /** When an answer began last, in ms. */
  answeredAt: number
}

/** Sessions of HTTP/2 to instances, each over a stream of its link. Many requests share one. */
export class Http2Sessions {
  readonly #pool: Pick<LinkPool, 'open'>
  readonly #kept = new Map<string, Set<Kept>>()
  /** Sessions that are being opened, by instance. Whoever asks meanwhile waits for the same one. */
  readonly #opening = new Map<string, Promise<Kept>>()
  readonly #readyTimeout: number
  readonly #lingerTimeout: number
  readonly #silence: number
  #isClosed = false

  constructor(
    pool: Pick<LinkPool, 'open'>,
    {
      readyTimeout = READY_TIMEOUT_MS,
      lingerTimeout = LINGER_TIMEOUT_MS,
      silence = SILENCE_MS
    }: Http2SessionsOptions = {}
  ) {
    this.#pool = pool
    this.#readyTimeout = readyTimeout
    this.#lingerTimeout = lingerTimeout
    this.#silence = silence
  }

  /** Opens a lease. It is the `open` function for a dialer. */
  readonly open = async (key: Buffer, options: OpenOptions): Promise<Http2Lease> => {
    const hex = toHex(key)
    for (;;) {
      const free = this.#free(hex)
      if (free) return this.#lend(hex, free)
      const opening = this.#opening.get(hex) ?? this.#openSession(key, options)
      await abortable(opening, options.signal)
    }
  }

  /** Called on each change of the directory: an instance that goes gets no more requests. */
  readonly forget = (change: DirectoryChange, { servicePublicKey, status }: Instance) => {
    if (change === 'down' || status === 'draining') this.#end(servicePublicKey)
  }

  /** Ends the sessions when their requests are over. */
  close() {
    this.#isClosed = true
    // Requests wait for those that are being opened.
    for (const ofKey of this.#kept.values()) {
      for (const kept of ofKey) if (kept.isReady) this.#close(kept)
    }
  }

  #free(key: string): Kept | undefined {
    for (const kept of this.#kept.get(key) ?? []) {
      if (kept.isReady && kept.inFlight < mostOf(kept.session)) return kept
    }
    return undefined
  }

  #lend(key: string, kept: Kept): Http2Lease {
    kept.inFlight++
    const lentAt = performance.now()
    const onanswer = () => {
      kept.answeredAt = performance.now()
    }
    return new Http2Lease(kept.session, key, onanswer, (wasCancelled) => {
      kept.inFlight--
      if (wasCancelled) kept.cancelled++
      const hasWaited = performance.now() - lentAt >= this.#silence
      const isSuspect = wasCancelled && kept.answeredAt < lentAt && hasWaited
      if (this.#isClosed || isSuspect || kept.cancelled >= MAX_CANCELLED) kept.session.close()
      if (kept.session.closed) this.#cutLater(kept)
    })
  }

  #openSession(key: Buffer, options: OpenOptions): Promise<Kept> {
    const hex = toHex(key)
    // Several callers may wait for this session, so the signal of one must not end its opening.
    const { signal: _, ...rest } = options
    const opening = this.#connect(key, hex, rest).finally(() => this.#opening.delete(hex))
    opening.catch(() => {})
    this.#opening.set(hex, opening)
    return opening
  }

  async #connect(key: Buffer, hex: string, options: OpenOptions): Promise<Kept> {
    const stream = (await this.#pool.open(key, options)).toDuplex()
    const session = connect('http://instance', {
      createConnection: () => stream,
      settings: SETTINGS
    })
    const kept: Kept = { stream, session, isReady: false, inFlight: 0, cancelled: 0, answeredAt: 0 }
    const ofKey = this.#kept.get(hex) ?? new Set()
    this.#kept.set(hex, ofKey.add(kept))
    session.setTimeout(IDLE_TIMEOUT_MS, () => {
      if (kept.inFlight === 0) this.#close(kept)
    })
    session.on('error', () => {})
    session.on('goaway', () => this.#cutLater(kept))
    session.on('close', () => {
      ofKey.delete(kept)
      if (ofKey.size === 0) this.#kept.delete(hex)
      stream.destroy()
    })
    await ready(session, this.#readyTimeout)
    kept.isReady = true
    // Whoever waits for it would open the next one at once, and so on.
    if (mostOf(session) === 0) {
      this.#close(kept)
      throw SeaportError.REFUSED('the instance takes no requests over HTTP/2')
    }
    // Those who waited for it take it in this turn.
    if (this.#isClosed) setImmediate(() => kept.inFlight === 0 && this.#close(kept))
    return kept
  }

  #end(key: string) {
    for (const kept of this.#kept.get(key) ?? []) this.#close(kept)
  }

  #close(kept: Kept) {
    kept.session.close()
    this.#cutLater(kept)
  }

  /**
   * Cuts a session that takes no more requests, and has none, if it does not end by itself: it waits until the instance
   * has read all that was sent.
   */
  #cutLater({ stream, session, inFlight }: Kept) {
    if (inFlight > 0 || stream.destroyed) return
    const timer = setTimeout(() => {
      session.destroy()
      stream.destroy()
    }, this.#lingerTimeout).unref()
    session.once('close', () => clearTimeout(timer))
  }
}

/** How many requests a session takes at a time. */
function mostOf({ closed, destroyed, remoteSettings }: ClientHttp2Session): number {
  if (closed || destroyed) return 0
  return Math.min(remoteSettings?.maxConcurrentStreams ?? 1, MAX_CONCURRENT)
}

/**
 * Resolves when the other side has said how many requests it takes. Rejects, and ends the session, if it speaks another
 * protocol or nothing within some ms.
 */
function ready(session: ClientHttp2Session, timeout: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => session.destroy(), timeout)
    session.once('remoteSettings', () => {
      clearTimeout(timer)
      resolve()
    })
    session.once('error', reject)
    session.once('close', () => {
      clearTimeout(timer)
      reject(new Error('the instance does not speak HTTP/2'))
    })
  })
}

function abortable<T>(promise: Promise<T>, signal: Signal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const onabort = () => reject(signal.reason)
    if (signal.aborted) return onabort()
    signal.addEventListener('abort', onabort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onabort))
  })
}
