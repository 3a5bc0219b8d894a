import type { Duplex } from 'node:stream'
import { SeaportError } from '../errors.js'
import { ReadyResource, type SecretStream } from '../holepunch.js'
import { toHex } from '../keys.js'
import { Link, type LinkOptions, type OpenOptions } from './link.js'

export interface LinkPoolOptions extends Omit<LinkOptions, 'onincoming'> {
  /** Makes a connection to a key, as `dht.connect` does. */
  connect: (remotePublicKey: Buffer) => SecretStream
  /** Closes links that had no streams for so many ms. */
  idleTimeout?: number
}

const IDLE_TIMEOUT_MS = 5 * 60_000
/** How often idle links are looked for, at least. */
const MAX_SWEEP_INTERVAL_MS = 60_000

/**
 * One link to each remote key, made when it is first needed and kept warm. Emits `notice` (a
 * SeaportError: a link that was dropped for what it sent).
 */
export class LinkPool extends ReadyResource {
  readonly stats = {
    /** Links that are connected or being made. */
    links: 0,
    /** Links made, and those that could not be made or broke. */
    made: 0,
    lost: 0
  }

  readonly #connect: LinkPoolOptions['connect']
  readonly #linkOptions: LinkOptions
  readonly #idleTimeout: number
  readonly #links = new Map<string, Link>()
  #isClosed = false
  #sweeper: NodeJS.Timeout | null = null

  constructor({ connect, idleTimeout = IDLE_TIMEOUT_MS, ...linkOptions }: LinkPoolOptions) {
    super()
    this.#connect = connect
    this.#idleTimeout = idleTimeout
    this.#linkOptions = linkOptions
  }

  /**
   * Opens a stream to a key, over its link. A link that turns out to be gone, before the open could
   * be answered, is made afresh once.
   *
   * @throws OPEN_TIMEOUT, LINK_LOST, CLOSED, what the other side refused with, or the signal's reason
   */
  async open(remotePublicKey: Buffer, options: OpenOptions = {}): Promise<Duplex> {
    const warm = this.#links.get(toHex(remotePublicKey))
    if (!warm?.isConnected) return this.#link(remotePublicKey).open(options)
    try {
      return await warm.open(options)
    } catch (error) {
      const isGone = error instanceof SeaportError && error.code === 'LINK_LOST'
      if (!isGone || options.signal?.aborted) throw error
      return this.#link(remotePublicKey).open(options)
    }
  }

  /** Whether the link to a key is there but silent, so that another key should be tried first. */
  isSuspect(remotePublicKey: Buffer): boolean {
    return this.#links.get(toHex(remotePublicKey))?.isSuspect ?? false
  }

  /** How the link to a key goes, and how long its packets take there and back in ms, if it is connected. */
  pathOf(remotePublicKey: Buffer): { kind: 'udx'; rtt: number } | null {
    const link = this.#links.get(toHex(remotePublicKey))
    return link?.isConnected ? { kind: 'udx', rtt: link.connection.rawStream.rtt } : null
  }

  override async _close() {
    this.#isClosed = true
    if (this.#sweeper) clearInterval(this.#sweeper)
    const reason = SeaportError.CLOSED('the pool was closed')
    for (const link of this.#links.values()) link.destroy(reason)
  }

  #link(remotePublicKey: Buffer): Link {
    if (this.#isClosed) throw SeaportError.CLOSED('the pool was closed')
    const key = toHex(remotePublicKey)
    const existing = this.#links.get(key)
    if (existing && !existing.isClosed) return existing

    const link = new Link(this.#connect(remotePublicKey), this.#linkOptions)
    this.#links.set(key, link)
    this.stats.made++
    this.stats.links++
    link.on('notice', (error) => this.emit('notice', error))
    link.on('close', ({ code }) => {
      if (this.#links.get(key) === link) this.#links.delete(key)
      this.stats.links--
      if (code !== 'CLOSED') this.stats.lost++
    })
    this.#sweepLater()
    return link
  }

  #sweepLater() {
    if (this.#sweeper) return
    this.#sweeper = setInterval(
      () => this.#sweep(),
      Math.min(this.#idleTimeout, MAX_SWEEP_INTERVAL_MS)
    )
    this.#sweeper.unref()
  }

  #sweep() {
    for (const link of this.#links.values()) {
      if (link.idleFor >= this.#idleTimeout) link.destroy(SeaportError.CLOSED('the link was idle'))
    }
    if (this.#links.size > 0 || !this.#sweeper) return
    clearInterval(this.#sweeper)
    this.#sweeper = null
  }
}
