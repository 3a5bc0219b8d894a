import { isAcknowledged } from '../../core/acknowledged.js'
import { SeaportError } from '../../core/errors.js'
import {
  allConnections,
  connectionTo,
  crypto,
  type Hyperswarm,
  type PeerDiscovery,
  type PeerInfo,
  ReadyResource,
  type SecretStream
} from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import type { Network } from '../../core/network.js'
import type { RelayOffer } from '../../core/relay-offer.js'
import { CallBackoff } from './call-backoff.js'
import { ConnectionGate } from './connection-gate.js'
import { exchangeHello, turnAway } from './hello.js'
import { DEFAULT_LIMITS, type Limits } from './limits.js'
import type { Membership } from './membership.js'
import { Peer } from './peer.js'
import { RateLimiter } from './rate-limiter.js'
import { Reports } from './reports.js'

export interface PeeringOptions {
  network: Network
  /** The registry's public key. */
  registry: Buffer
  /** This participant's swarm key. */
  keyPair: KeyPair
  /** Whom it lets in, and as whom it comes. */
  membership: Membership
  /** Registrars are found by all; replicas serve each other. An observer only reads. */
  as: 'registrar' | 'replica' | 'observer'
  /** How many replicas to keep in touch with; a registrar does with all it finds. */
  replicaPeers?: number | undefined
  /** What it takes of others. */
  limits?: Partial<Limits>
}

/** Each tells all others of each block that it has: all with all would be too many to talk to. */
const REPLICA_PEERS = 8
/** Lookups while no registrar is connected; the last one repeats. DHT lookups are cheap but not free. */
const SEARCH_BACKOFFS_MS = [300, 600, 1200, 2000, 2500]
/** Lookups in a row after a registrar was lost, even if another is connected. */
const EAGER_SEARCHES = 4
/** Lookups, and calls at known registrars that are away, while another registrar is connected. */
const IDLE_SEARCH_MS = 30_000
/** So many registrars that are away are called at whenever we search. */
const FAVOURITES = 4
const JITTER = 0.2
/** An attempt to reach a peer that is older than this gives way when that peer calls us. */
const STALE_ATTEMPT_MS = 500
/** Lookups that take no more replicas than are wanted: those who start together are just about to be found. */
const MODEST_SEARCHES = 3
/** An attempt that is older than this is most likely one at a peer that is gone. */
const HOPELESS_ATTEMPT_MS = 2000
/** How long the others may take to acknowledge our goodbye. */
const GOODBYE_MS = 500
/** What becomes of who breaks the rules. */
const DROPPED = ', dropped'

/**
 * Finds the other participants of a registry and keeps in touch: two topics on the DHT, the hello on
 * every connection, and calls at the registrars it knows by key. Emits `peer` (a Peer) after the
 * hellos, `denied` (a SeaportError: another participant does not let us in; and whether it holds the registry's own
 * key, for a member may be mistaken or lie) and `notice` (a SeaportError).
 */
export class Peering extends ReadyResource {
  readonly peers = new Map<string, Peer>()
  readonly stats = { strangers: 0, malformed: 0, barred: 0, limited: 0 }
  readonly limits: Limits

  readonly #registry: Buffer
  readonly #network: Network
  readonly #keyPair: KeyPair
  readonly #membership: Membership
  readonly #as: PeeringOptions['as']
  readonly #replicaPeers: number
  /** Of registrars, and of replicas. */
  readonly #discoveries: PeerDiscovery[] = []
  /** The one whose certificate was renewed last comes last. */
  readonly #registrars = new Set<string>()
  /** Relays that registrars offer who are connected. */
  readonly #relays = new Map<Peer, RelayOffer>()
  readonly #callBackoff = new CallBackoff()
  /** When our own calls began, by `performance.now()`. */
  readonly #attempts = new WeakMap<SecretStream, number>()
  readonly #reports = new Reports({ onreport: (notice) => this.emit('notice', notice) })
  readonly #gate: ConnectionGate
  readonly #budget: RateLimiter
  #opened: Hyperswarm | null = null
  #search: NodeJS.Timeout | null = null
  #searches = 0

  constructor({
    network,
    registry,
    keyPair,
    membership,
    as,
    replicaPeers = REPLICA_PEERS,
    limits
  }: PeeringOptions) {
    super()
    this.#replicaPeers = as === 'registrar' ? Infinity : replicaPeers
    this.limits = { ...DEFAULT_LIMITS, ...limits }
    this.#gate = new ConnectionGate(this.limits)
    this.#budget = new RateLimiter({
      rate: this.limits.messageRate,
      burst: this.limits.messageBurst
    })
    this.#registry = registry
    this.#as = as
    this.#network = network
    this.#keyPair = keyPair
    this.#membership = membership
  }

  get #swarm(): Hyperswarm {
    if (!this.#opened) throw SeaportError.CLOSED('not looking for others yet')
    return this.#opened
  }

  /** Registrars that are connected. */
  get connectedRegistrars(): Peer[] {
    return [...this.peers.values()].filter((peer) => this.#registrars.has(peer.key))
  }

  /** Calls at a registrar now if it is away, and again from time to time. */
  addRegistrar(key: string) {
    if (key === toHex(this.#keyPair.publicKey)) return
    this.#registrars.delete(key)
    this.#registrars.add(key)
    if (this.#opened && !this.closing && this.#missingRegistrars.length <= FAVOURITES)
      this.#call(key)
  }

  /** Calls no more at a registrar whose logs are of no use. */
  removeRegistrar(key: string) {
    this.#registrars.delete(key)
    this.#callBackoff.forget(key)
    if (this.#opened && !this.closing) this.#swarm.leavePeer(Buffer.from(key, 'hex'))
  }

  override async _open() {
    this.#opened = this.#network.swarm(this.#keyPair, {
      firewall: (key) => this.#yieldTo(key),
      mayPunch: (key) => this.#isSearching || this.#registrars.has(toHex(key))
    })
    this.#swarm.on('connection', (connection: SecretStream, { topics = [] }: PeerInfo) => {
      this.#onconnection(connection, connection.isInitiator && topics.some(isRegistrars))
    })
    this.#swarm.on('update', () => this.#trackAttempts())
    const replicas = topic('replicas', this.#registry)
    const registrars = topic('registrars', this.#registry)
    const isRegistrars = (topic: Buffer) => topic.equals(registrars)
    this.#discoveries.push(
      this.#swarm.join(registrars, { server: this.#as === 'registrar', client: true }),
      this.#swarm.join(replicas, {
        server: this.#as === 'replica',
        client: true,
        limit: this.#replicaPeers
      })
    )
    this.#callRegistrars()
    this.#network.on('reached', this.#onreached)
    this.#network.on('moved', this.#onmoved)
    this.#searchSoon()
  }

  /** Resolves when others can find us. */
  async announced() {
    await Promise.all(this.#discoveries.map((discovery) => discovery.flushed()))
  }

  /** Announces a registrar where nobody was there to announce it to before. Resolves when others can find it. */
  async announceNow() {
    await this.#discoveries[0]?.refresh()
  }

  override async _close() {
    if (!this.#opened) return
    this.#network.off('reached', this.#onreached)
    this.#network.off('moved', this.#onmoved)
    if (this.#search) clearTimeout(this.#search)
    this.#reports.close()
    await this.#sayGoodbye()
    await this.#swarm.destroy()
  }

  /** @param asRegistrar whether the other side announces itself as one */
  #onconnection(connection: SecretStream, asRegistrar: boolean) {
    const remote = toHex(connection.remotePublicKey)
    connection.on('error', () => {})
    if (this.#gate.isBarred(remote)) {
      this.stats.barred++
      return connection.destroy()
    }
    try {
      connection.on('close', this.#gate.admit(connection.rawStream.remoteHost))
    } catch (error) {
      this.stats.limited++
      this.#reports.add(remote, error as SeaportError, DROPPED)
      return turnAway(connection, this.#registry, error as SeaportError)
    }
    let identities: ReadonlySet<string> = new Set()
    exchangeHello(connection, this.#registry, {
      credentials: () => this.#membership.credentials(connection),
      admit: (credentials) => {
        identities = this.#membership.admit(connection, credentials, asRegistrar)
      },
      onhello: () => this.#onhello(connection, identities),
      ondenied: (reason, byRemote) => {
        if (byRemote) {
          this.emit('denied', reason, identities.has(toHex(this.#registry)))
          return
        }
        this.stats.strangers++
        this.#gate.report(remote, reason)
        this.#reports.add(remote, reason, DROPPED)
      }
    })
  }

  #onhello(connection: SecretStream, identities: ReadonlySet<string>) {
    if (this.closing || connection.destroying) return connection.destroy()
    const peer = new Peer(connection, identities, this.#budget)
    this.peers.set(peer.key, peer)
    this.#callBackoff.forget(peer.key)
    peer.on('malformed', (error) => {
      this.stats.malformed++
      this.#gate.report(peer.key, error)
      this.#reports.add(peer.key, error, DROPPED)
    })
    peer.on('close', () => {
      if (this.peers.get(peer.key) === peer) this.peers.delete(peer.key)
      if (this.#registrars.has(peer.key)) this.#searchSoon()
    })
    // A member that is no registrar would see who meets whom.
    peer.on('relay', (offer) => {
      if (identities.has(toHex(this.#registry))) this.#relays.set(peer, offer)
    })
    peer.on('close', () => this.#relays.delete(peer))
    this.emit('peer', peer)
  }

  /** Relays that may be used. */
  get relays(): RelayOffer[] {
    return [...this.#relays.values()]
  }

  /** Tells the user what a peer said that concerns us, and not too often. */
  report(peer: Peer, said: SeaportError) {
    this.#reports.add(peer.key, said)
  }

  /** Looks for others at once, as something changed that had kept us apart. */
  searchNow() {
    this.#searchSoon()
  }

  readonly #onreached = () => this.#searchSoon()

  /** Connections that went by the old address are dead, and would be waited for; others go on. */
  readonly #onmoved = () => {
    for (const peer of this.peers.values()) void this.#checkAlive(peer)
    this.#searchSoon()
  }

  /** Never rejects. */
  async #checkAlive(peer: Peer) {
    if (!(await isAcknowledged(peer.connection))) peer.destroy()
  }

  /** Starts searching afresh, soonest first. */
  #searchSoon() {
    if (!this.#opened || this.closing) return
    this.#searches = 0
    this.#scheduleSearch()
  }

  #scheduleSearch() {
    if (this.#search) clearTimeout(this.#search)
    const backoff = SEARCH_BACKOFFS_MS[
      Math.min(this.#searches++, SEARCH_BACKOFFS_MS.length - 1)
    ] as number
    const delay = this.#isSearching || this.#searches <= EAGER_SEARCHES ? backoff : IDLE_SEARCH_MS
    this.#search = setTimeout(() => this.#searchOnce(), delay * (1 + JITTER * Math.random()))
  }

  /** A registrar is not searching for others as long as it can do its own work. */
  get #isSearching(): boolean {
    return this.connectedRegistrars.length === 0 && this.#as !== 'registrar'
  }

  #searchOnce() {
    this.#callRegistrars()
    const [registrars, replicas] = this.#discoveries
    registrars?.refresh().catch(() => {})
    // Without a limit it would forget the one that it had.
    replicas?.refresh({ limit: this.#missingReplicas }).catch(() => {})
    this.#scheduleSearch()
  }

  /** How many more replicas to call at. Who still has none in sight calls at all it finds: many may be long gone. */
  get #missingReplicas(): number {
    const calls = [...allConnections(this.#swarm)].filter((call) => this.#isPromising(call))
    const replicas = calls.filter((call) => !this.#registrars.has(toHex(call.remotePublicKey)))
    if (replicas.length === 0 && this.#searches > MODEST_SEARCHES) return Infinity
    return Math.max(this.#replicaPeers - replicas.length, 0)
  }

  /** Whether it is connected, or still may be soon. */
  #isPromising(call: SecretStream): boolean {
    const since = this.#attempts.get(call)
    return (
      call.connected || (since !== undefined && performance.now() - since < HOPELESS_ATTEMPT_MS)
    )
  }

  /** The newest first. */
  get #missingRegistrars(): string[] {
    return [...this.#registrars].filter((key) => !this.peers.has(key)).reverse()
  }

  /**
   * Calls at the registrars that are away. Of many, most are gone for good, as after a crash loop: the newest are called
   * at each time, and the others less and less often. All of them are found by their announcement, too.
   */
  #callRegistrars() {
    const missing = this.#missingRegistrars
    for (const key of missing.slice(0, FAVOURITES)) this.#call(key)
    const others = missing.slice(FAVOURITES)
    for (const key of others) this.#swarm.leavePeer(Buffer.from(key, 'hex'))
    for (const key of this.#callBackoff.due(others).slice(0, FAVOURITES)) {
      this.#callBackoff.called(key)
      this.#call(key)
      this.#swarm.leavePeer(Buffer.from(key, 'hex'))
    }
  }

  /** Hyperswarm repeats its calls at explicit peers every 2 s: too often unless we need that one. */
  #call(key: string) {
    const publicKey = Buffer.from(key, 'hex')
    this.#swarm.joinPeer(publicKey)
    if (!this.#isSearching) this.#swarm.leavePeer(publicKey)
  }

  /** Ends all connections, so that the others know at once, and waits a moment for them to answer. */
  async #sayGoodbye() {
    const open = [...this.#swarm.connections]
    const closed = Promise.all(
      open.map((connection) => new Promise((resolve) => connection.once('close', resolve)))
    )
    for (const connection of open) connection.end()
    const timer = setTimeout(() => {
      for (const connection of open) connection.destroy()
    }, GOODBYE_MS)
    await closed
    clearTimeout(timer)
  }

  #trackAttempts() {
    if (this.#swarm.connecting === 0) return
    for (const connection of allConnections(this.#swarm)) {
      if (!this.#attempts.has(connection)) this.#attempts.set(connection, performance.now())
    }
  }

  /**
   * Hyperswarm keeps our own attempt when both sides call each other, even one that began before the
   * other side came back and would only time out seconds later. Runs as the swarm's firewall, the one
   * hook before that choice; lets everybody in, until we are leaving ourselves.
   */
  #yieldTo(key: Buffer): boolean {
    if (this.closing) return true
    const attempt = connectionTo(this.#swarm, key)
    const since = attempt && this.#attempts.get(attempt)
    const isStale = since !== undefined && performance.now() - since > STALE_ATTEMPT_MS
    if (isStale && !this.peers.has(toHex(key))) attempt?.destroy()
    return false
  }
}

function topic(name: string, registry: Buffer): Buffer {
  return crypto.hash([Buffer.from(`hyperseaport/${name}/1`), registry])
}
