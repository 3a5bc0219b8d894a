import { once } from 'node:events'
import { SeaportError } from '../core/errors.js'
import { Race } from '../core/race.js'
import type { Link } from './link.js'
import type { Path } from './path.js'

export interface PathsOptions {
  /** Begins a link over the DHT. */
  makeDht: () => Link
  /** Makes a link on the direct path, and rejects if that fails. Returns null if it is not worth a try now. */
  makeDirect: (signal: AbortSignal) => Promise<Link> | null
  /** A link is there on a path that is better than the DHT's. */
  onbetter: (path: Path) => void
  /** The last link is gone, and none is being made. */
  onend: () => void
  /** How long the direct path is tried alone, in ms. */
  headStart?: number | undefined
  /** How often `makeDirect` is asked whether the direct path is worth a try, in ms. */
  retryInterval?: number | undefined
  now?: (() => number) | undefined
}

/** A handshake on a LAN takes a few ms. Where no direct path works, this is what each try of it costs a new stream. */
const HEAD_START_MS = 100
const RETRY_INTERVAL_MS = 1000

/**
 * The links to one remote key, at most one on each path. Streams take the direct path where there is
 * one; it is tried first, and again from time to time while the DHT serves. A link over the DHT that is
 * not needed any more, or does not answer, ends when its streams have ended.
 */
export class Paths {
  readonly #options: PathsOptions
  readonly #headStart: number
  readonly #retryInterval: number
  readonly #now: () => number
  readonly #abort = new AbortController()
  #dht: Link | null = null
  /** Links over the DHT that did not answer when a stream was wanted. They stay for the streams that they carry. */
  readonly #deaf = new Set<Link>()
  /** The link for the next stream, while a deaf one may still answer before its replacement is made. */
  #relief: Promise<Link> | null = null
  #direct: Link | null = null
  /** The link on the direct path, while it is being made. */
  #attempt: Promise<Link> | null = null
  #race: Promise<Link> | null = null
  #nextAttemptAt = -Infinity

  constructor(options: PathsOptions) {
    this.#options = options
    this.#headStart = options.headStart ?? HEAD_START_MS
    this.#retryInterval = options.retryInterval ?? RETRY_INTERVAL_MS
    this.#now = options.now ?? (() => performance.now())
  }

  /** The links that are connected or being made, the better first. */
  get links(): Link[] {
    return [this.#direct, this.#dht, ...this.#deaf].filter((link) => link !== null)
  }

  /** The link that takes the next stream, if it is connected. */
  get current(): Link | null {
    const direct = this.#direct
    const dht = this.#dht
    if (direct && isSound(direct)) return direct
    if (dht && isSound(dht)) return dht
    return isUsable(direct) ? direct : isUsable(dht) ? dht : null
  }

  /** Whether a link is there, or is being made. Asked for each stream. */
  get isBegun(): boolean {
    return !!(this.#direct || this.#dht || this.#attempt || this.#race) || this.#deaf.size > 0
  }

  /** Whether none of the links is to be chosen while there are other keys. */
  get isSuspect(): boolean {
    const connected = this.links.filter((link) => link.isConnected)
    return connected.length > 0 && connected.every((link) => link.isSuspect)
  }

  /** The link for the next stream. It is made if need be, and may not be connected yet. */
  take(): Link | Promise<Link> {
    if (this.#direct && isSound(this.#direct)) {
      this.#retireDht()
      return this.#direct
    }
    this.#tryDirect()
    if (this.#dht && isSound(this.#dht)) {
      if (this.#deaf.size > 0) this.#retireDeaf()
      return this.#dht
    }
    if (!this.#attempt) return this.#takeDht()
    this.#race ??= this.#runRace(this.#attempt).finally(() => {
      this.#race = null
      this.#endMaybe()
    })
    return this.#race
  }

  /** Tries the better path, if there is none and it may be worth a try. */
  seek() {
    this.#tryDirect()
  }

  /** Ends links that are not needed any more, and those that had no streams for so many ms. */
  sweep(idleTimeout: number) {
    this.#retireDht()
    this.#retireDeaf()
    for (const link of this.links) {
      if (link.idleFor >= idleTimeout) link.destroy(SeaportError.CLOSED('the link was idle'))
    }
  }

  close(reason: SeaportError) {
    this.#abort.abort(reason)
    for (const link of this.links) link.destroy(reason)
  }

  #tryDirect() {
    if (this.#attempt || this.#direct || this.#now() < this.#nextAttemptAt) return
    this.#nextAttemptAt = this.#now() + this.#retryInterval
    const attempt = this.#options.makeDirect(this.#abort.signal)
    if (!attempt) return
    this.#attempt = attempt
    attempt.then(
      (link) => this.#ondirect(link),
      () => this.#onnodirect()
    )
  }

  #ondirect(link: Link) {
    this.#attempt = null
    this.#direct = link
    link.once('close', () => {
      this.#direct = null
      // The connector may try at once: what it learnt of the path before the link was made is out of date.
      this.#nextAttemptAt = -Infinity
      this.#endMaybe()
    })
    this.#retireDht()
    this.#options.onbetter(link.path)
  }

  #onnodirect() {
    this.#attempt = null
    this.#endMaybe()
  }

  #takeDht(): Link | Promise<Link> {
    if (this.#relief) return this.#relief
    if (!this.#dht) return this.#makeDht()
    if (!this.#dht.isDeaf) return this.#dht
    this.#relief = this.#relieve(this.#dht).finally(() => {
      this.#relief = null
      this.#endMaybe()
    })
    return this.#relief
  }

  #makeDht(): Link {
    const link = this.#options.makeDht()
    this.#dht = link
    link.once('close', () => {
      this.#deaf.delete(link)
      if (this.#dht === link) this.#dht = null
      this.#endMaybe()
    })
    return link
  }

  /**
   * A link that does not answer may be dead, as after a change of either side's address, or its way blocked
   * for a while. So another one is made beside it, unless it answers first.
   */
  async #relieve(deaf: Link): Promise<Link> {
    const over = new AbortController()
    this.#deaf.add(deaf)
    const other = this.#makeDht()
    try {
      const revived = once(deaf, 'revived', { signal: over.signal }).then(() => deaf)
      const first = await Promise.race([other.connected(), revived])
      if (first === deaf) this.#takeBack(deaf)
      return first
    } catch (error) {
      if (!deaf.isClosed) this.#takeBack(deaf)
      throw error
    } finally {
      over.abort()
    }
  }

  #takeBack(deaf: Link) {
    const other = this.#dht
    this.#deaf.delete(deaf)
    this.#dht = deaf
    other?.destroy(SeaportError.CLOSED('the link that was there answers again'))
  }

  /** Ends deaf links that carry no streams, since another link takes the new ones. */
  #retireDeaf() {
    for (const link of this.#deaf) {
      if (link.size === 0)
        link.destroy(SeaportError.CLOSED('it did not answer, and another link serves'))
    }
  }

  /** Gives the direct path its head start, then takes the link that is connected first. */
  async #runRace(attempt: Promise<Link>): Promise<Link> {
    let reason: SeaportError | null = null
    const race = new Race<Path, Link>({
      candidates: ['direct', 'dht'],
      attempt: async (path) => {
        if (path === 'direct') return attempt
        return (await this.#takeDht()).connected()
      },
      stagger: this.#headStart,
      signal: this.#abort.signal,
      // In the end it is the DHT's reason mostly, which was tried last, and for longer.
      onfailed: (path, error) => {
        if (path === 'dht' || reason === null) reason = error
      }
    })
    const winner = await race.run()
    if (winner) return winner
    throw reason
  }

  /** Ends the link over the DHT once it carries no streams, if the direct path works. */
  #retireDht() {
    if (this.#relief) return
    if (!this.#dht || this.#dht.size > 0 || !this.#direct || !isSound(this.#direct)) return
    this.#dht.destroy(SeaportError.CLOSED('there is a direct path now'))
  }

  #endMaybe() {
    if (!this.isBegun && !this.#relief) this.#options.onend()
  }
}

function isSound(link: Link): boolean {
  return link.isConnected && !link.isSuspect
}

function isUsable(link: Link | null): boolean {
  return link?.isConnected === true && !link.isDeaf
}
