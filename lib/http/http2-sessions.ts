import { type ClientHttp2Session, connect } from 'node:http2'
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
/** The settings that limit what an instance may send us. */
const SETTINGS = { enablePush: false, maxHeaderListSize: 64 * 1024 }

/** One request's part of a session. */
export class Http2Lease implements Lendable {
  readonly session: ClientHttp2Session
  /** The key of the instance, hex. */
  readonly key: string
  readonly #ongiven: () => void
  #onunused: (() => void) | null = null
  #isGiven = false

  constructor(session: ClientHttp2Session, key: string, ongiven: () => void) {
    this.session = session
    this.key = key
    this.#ongiven = ongiven
  }

  /** Sends its request. The lease is given back when that is over. */
  request(options: Http2RequestOptions): Http2Request {
    try {
      const request = new Http2Request(this.session, options)
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
    if (this.#isGiven) return
    this.#isGiven = true
    this.#ongiven()
    this.#onunused?.()
  }
}

interface Kept {
  session: ClientHttp2Session
  inFlight: number
}

/** Sessions of HTTP/2 to instances, each over a stream of its link. Many requests share one. */
export class Http2Sessions {
  readonly #pool: Pick<LinkPool, 'open'>
  readonly #kept = new Map<string, Set<Kept>>()
  /** Sessions that are being opened, by instance. Whoever asks meanwhile waits for the same one. */
  readonly #opening = new Map<string, Promise<Kept>>()
  #isClosed = false

  constructor(pool: Pick<LinkPool, 'open'>) {
    this.#pool = pool
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
    for (const key of this.#kept.keys()) this.#end(key)
  }

  #free(key: string): Kept | undefined {
    for (const kept of this.#kept.get(key) ?? []) {
      if (kept.inFlight < mostOf(kept.session)) return kept
    }
    return undefined
  }

  #lend(key: string, kept: Kept): Http2Lease {
    kept.inFlight++
    return new Http2Lease(kept.session, key, () => {
      kept.inFlight--
      if (this.#isClosed) kept.session.close()
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
    const kept = { session, inFlight: 0 }
    const ofKey = this.#kept.get(hex) ?? new Set()
    this.#kept.set(hex, ofKey.add(kept))
    session.setTimeout(IDLE_TIMEOUT_MS, () => {
      if (kept.inFlight === 0) session.close()
    })
    session.on('error', () => {})
    session.on('close', () => {
      ofKey.delete(kept)
      if (ofKey.size === 0) this.#kept.delete(hex)
      stream.destroy()
    })
    await ready(session)
    // Whoever waits for it would open the next one at once, and so on.
    if (mostOf(session) === 0) {
      session.close()
      throw SeaportError.REFUSED('the instance takes no requests over HTTP/2')
    }
    return kept
  }

  #end(key: string) {
    for (const { session } of this.#kept.get(key) ?? []) session.close()
  }
}

/** How many requests a session takes at a time. */
function mostOf({ closed, destroyed, remoteSettings }: ClientHttp2Session): number {
  if (closed || destroyed) return 0
  return Math.min(remoteSettings?.maxConcurrentStreams ?? 1, MAX_CONCURRENT)
}

/** Resolves when the other side has said how many requests it takes; rejects if it speaks another protocol. */
function ready(session: ClientHttp2Session): Promise<void> {
  return new Promise((resolve, reject) => {
    session.once('remoteSettings', () => resolve())
    session.once('error', reject)
    session.once('close', () => reject(new Error('the instance does not speak HTTP/2')))
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
