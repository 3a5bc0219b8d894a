import { type Signal, unlessAborted } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { forward } from '../core/forward.js'
import { ReadyResource, type SecretStream } from '../core/holepunch.js'
import { toHex } from '../core/keys.js'
import type { RelayOffer } from '../core/relay-offer.js'
import type { DirectConnector } from './direct/connector.js'
import { Link, type LinkOptions, type OpenOptions } from './link.js'
import type { Path } from './path.js'
import { Paths, type PathsOptions } from './paths.js'
import { Detours } from './relay/detours.js'
import { cutStranded } from './stranded.js'
import type { LinkStream } from './stream.js'

export interface LinkPoolOptions
  extends Omit<LinkOptions, 'onincoming' | 'path' | 'rtt' | 'relay'> {
  /** Makes a connection to a key, as `dht.connect` does; by a relay until a hole is punched, if one is given. */
  connect: (remotePublicKey: Buffer, relay?: RelayOffer) => SecretStream
  /** A relay for those who cannot be met otherwise. Default: there is none. */
  relay?: (() => RelayOffer | null) | undefined
  /** How long a hole may take to be punched before the relay is used, in ms. */
  punchTimeout?: number | undefined
  /** Finds and makes direct connections. Default: none are made. */
  connector?: Pick<DirectConnector, 'isDue' | 'connect'> | undefined
  /** How long the direct path is tried alone, in ms. */
  headStart?: number | undefined
  /** How often the connector is asked whether the direct path is worth a try, in ms. */
  retryInterval?: number | undefined
  /** Closes links that had no streams for so many ms. */
  idleTimeout?: number
}

export type PathListener = (path: Path) => void

/** What `follow` gives back. */
export interface PathFollower {
  /** Tries the better path, if it may be worth that now. Without this it is tried when streams are opened. */
  seek(): void
  stop(): void
}

/** The path of a link, as users see it. */
export interface PathView {
  path: Path
  /** How long packets take there and back, in ms; null until it was measured. */
  rtt: number | null
}

/** A link, as users see it. */
export interface LinkView extends PathView {
  /** Whom it leads to, hex. */
  key: string
  /** How many of them are open on it. */
  streams: number
  /** Whether the other side has not answered for a while. */
  suspect: boolean
}

const IDLE_TIMEOUT_MS = 5 * 60_000
/** Idle links are looked for at least this often. */
const MAX_SWEEP_INTERVAL_MS = 60_000
const PING_TIMEOUT_MS = 2000
/** HyperDHT gives up on a dead key after 4 s. Who is met takes one, or two where holes are punched by chance. */
const PUNCH_TIMEOUT_MS = 4500

/**
 * The links to each remote key, made when they are first needed and kept warm: one on each path, of
 * which the direct one is the better. Emits `notice` (a SeaportError: a link that was dropped for what
 * it sent).
 */
export class LinkPool extends ReadyResource {
  readonly stats = {
    /** Links that are connected or being made, and those of them on the direct path. */
    links: 0,
    direct: 0,
    /** Links made, and those that could not be made or broke. */
    made: 0,
    lost: 0
  }

  readonly #connect: LinkPoolOptions['connect']
  readonly #connector: LinkPoolOptions['connector']
  readonly #relay: NonNullable<LinkPoolOptions['relay']>
  readonly #punchTimeout: number
  readonly #detours = new Detours()
  readonly #linkOptions: LinkOptions
  readonly #pathsOptions: Pick<PathsOptions, 'headStart' | 'retryInterval'>
  readonly #idleTimeout: number
  readonly #paths = new Map<string, Paths>()
  /** Who wants to hear of better paths to a key, by key in hex. */
  readonly #followers = new Map<string, Set<PathListener>>()
  #isClosed = false
  #sweeper: NodeJS.Timeout | null = null

  constructor({
    connect,
    connector,
    relay = () => null,
    punchTimeout = PUNCH_TIMEOUT_MS,
    headStart,
    retryInterval,
    idleTimeout = IDLE_TIMEOUT_MS,
    ...linkOptions
  }: LinkPoolOptions) {
    super()
    this.#connect = connect
    this.#connector = connector
    this.#relay = relay
    this.#punchTimeout = punchTimeout
    this.#pathsOptions = { headStart, retryInterval }
    this.#idleTimeout = idleTimeout
    this.#linkOptions = linkOptions
  }

  /**
   * Opens a stream to a key, over its link. If the link turns out to be gone before the open was answered, another
   * one is made, once. So it is where the link was being made already and fails: who was restarted meanwhile does
   * not answer what its former process was sent. For callers that insist, the same is done if the link is deaf.
   *
   * @throws OPEN_TIMEOUT, LINK_LOST, CLOSED, what the other side refused with, or the signal's reason
   */
  open(remotePublicKey: Buffer, options: OpenOptions = {}): Promise<LinkStream> {
    return this.#orByRelay(options.signal, () => this.#open(remotePublicKey, options))
  }

  /** Tries once more what needs a link, where it turned out meanwhile that a relay is needed for one. */
  async #orByRelay<T>(signal: Signal | undefined, act: () => Promise<T>): Promise<T> {
    const { failures } = this.#detours
    try {
      return await act()
    } catch (error) {
      if (failures === this.#detours.failures || signal?.aborted) throw error
      return act()
    }
  }

  async #open(remotePublicKey: Buffer, options: OpenOptions): Promise<LinkStream> {
    const paths = this.#pathsTo(remotePublicKey)
    const wasThere = paths.isBegun
    let link: Link | null = null
    try {
      const taken = take(paths, options.signal)
      link = taken instanceof Link ? taken : await taken
      return await link.open(options)
    } catch (error) {
      if (!wasThere || !isLinksFault(error, link, options) || options.signal?.aborted) throw error
      return (await take(this.#pathsTo(remotePublicKey), options.signal)).open(options)
    }
  }

  /**
   * Whether the links to a key, in hex, are there but silent, so that another key should be tried first.
   * Asked for each request.
   */
  isSuspect(key: string): boolean {
    return this.#paths.get(key)?.isSuspect ?? false
  }

  /**
   * How the next stream to a key, in hex, goes, and how long its packets take in ms, if a link is connected.
   * Asked for each dial.
   */
  pathOf(key: string): { kind: Path; rtt: number | null } | null {
    const link = this.#paths.get(key)?.current
    return link ? { kind: link.path, rtt: link.rtt } : null
  }

  /**
   * Makes a link to a key, if there is none, measures its round trip, and opens nothing on it.
   *
   * @throws LINK_LOST, CLOSED, or the signal's reason
   */
  reach(remotePublicKey: Buffer, signal?: Signal): Promise<PathView> {
    return this.#orByRelay(signal, () => this.#reach(remotePublicKey, signal))
  }

  async #reach(remotePublicKey: Buffer, signal: Signal | undefined): Promise<PathView> {
    const link = await take(this.#pathsTo(remotePublicKey), signal)
    const measured = link.connected().then(() => measure(link))
    const rtt = await (signal ? unlessAborted(measured, signal) : measured)
    return { path: link.path, rtt }
  }

  /**
   * Calls back whenever a link to a key is there on a path on which there was none. Streams that are open stay
   * where they are: whoever holds one for long opens the next one then, and ends the old (see `LastingStream`).
   */
  follow(remotePublicKey: Buffer, listener: PathListener): PathFollower {
    const key = toHex(remotePublicKey)
    const listeners = this.#followers.get(key) ?? new Set()
    this.#followers.set(key, listeners.add(listener))
    return {
      seek: () => this.#paths.get(key)?.seek(),
      stop: () => {
        listeners.delete(listener)
        if (listeners.size === 0) this.#followers.delete(key)
      }
    }
  }

  /** Cuts the links to a key, in hex, and all streams on them. */
  cut(key: string, reason: SeaportError) {
    this.#paths.get(key)?.close(reason)
  }

  /** Cuts the links over the DHT on which nothing arrives any more: our address is another one. */
  async checkPaths() {
    await cutStranded([...this.#paths.values()].flatMap((paths) => paths.links))
  }

  /** The links that are connected. */
  links(): LinkView[] {
    return [...this.#paths].flatMap(([key, { links }]) =>
      links
        .filter((link) => link.isConnected)
        .map(({ path, rtt, size, isSuspect }) => ({
          key,
          path,
          rtt,
          streams: size,
          suspect: isSuspect
        }))
    )
  }

  override async _close() {
    this.#isClosed = true
    if (this.#sweeper) clearInterval(this.#sweeper)
    const reason = SeaportError.CLOSED('the pool was closed')
    for (const paths of this.#paths.values()) paths.close(reason)
  }

  /** @throws CLOSED */
  #pathsTo(remotePublicKey: Buffer): Paths {
    if (this.#isClosed) throw SeaportError.CLOSED('the pool was closed')
    const key = toHex(remotePublicKey)
    const existing = this.#paths.get(key)
    if (existing) return existing
    const paths = new Paths({
      makeDht: () => this.#linkByDht(remotePublicKey),
      makeDirect: (signal) =>
        this.#connector?.isDue(remotePublicKey)
          ? this.#linkDirectly(remotePublicKey, signal)
          : null,
      onbetter: (path) => {
        for (const listener of this.#followers.get(key) ?? []) listener(path)
      },
      onend: () => this.#paths.delete(key),
      ...this.#pathsOptions
    })
    this.#paths.set(key, paths)
    this.#sweepLater()
    return paths
  }

  #linkByDht(remotePublicKey: Buffer): Link {
    const key = toHex(remotePublicKey)
    const relay = this.#relay() ?? undefined
    if (!relay) return this.#link(this.#connect(remotePublicKey), { path: 'dht' })
    if (this.#detours.isNeeded(key)) {
      return this.#link(this.#connect(remotePublicKey, relay), { path: 'dht', relay })
    }
    const connectTimeout = this.#punchTimeout
    const link = this.#link(this.#connect(remotePublicKey), { path: 'dht', connectTimeout })
    let isMet = false
    link.once('connect', () => {
      isMet = true
    })
    link.once('close', (error) => isMet || this.#detours.failed(key, error))
    return link
  }

  async #linkDirectly(remotePublicKey: Buffer, signal: AbortSignal): Promise<Link> {
    const connector = this.#connector as DirectConnector
    const { connection, rtt } = await connector.connect(remotePublicKey, signal)
    if (!this.#isClosed) return this.#link(connection, { path: 'direct', rtt })
    connection.destroy()
    throw SeaportError.CLOSED('the pool was closed')
  }

  #link(connection: SecretStream, options: LinkOptions): Link {
    const link = new Link(connection, { ...this.#linkOptions, ...options })
    const isDirect = link.path === 'direct'
    this.stats.made++
    this.stats.links++
    if (isDirect) this.stats.direct++
    forward(link, this, ['notice'])
    link.on('close', ({ code }) => {
      this.stats.links--
      if (isDirect) this.stats.direct--
      if (code !== 'CLOSED') this.stats.lost++
    })
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
    for (const paths of this.#paths.values()) paths.sweep(this.#idleTimeout)
    if (this.#paths.size > 0 || !this.#sweeper) return
    clearInterval(this.#sweeper)
    this.#sweeper = null
  }
}

function take(paths: Paths, signal: Signal | undefined): Link | Promise<Link> {
  const link = paths.take()
  return link instanceof Link || !signal ? link : unlessAborted(link, signal)
}

/** How long packets take there and back, in ms: as the connection says, or else a ping. Null if that is lost. */
async function measure(link: Link): Promise<number | null> {
  if (link.rtt !== null) return link.rtt
  const startedAt = performance.now()
  const isAnswered = await link.flush(PING_TIMEOUT_MS)
  return link.rtt ?? (isAnswered ? performance.now() - startedAt : null)
}

function isLinksFault(error: unknown, link: Link | null, { insist = false }: OpenOptions): boolean {
  if (!(error instanceof SeaportError)) return false
  if (error.code === 'LINK_LOST') return true
  return link !== null && insist && error.code === 'OPEN_TIMEOUT' && (link.isClosed || link.isDeaf)
}
