import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { BootstrapList, isSameNode, readBootstrap } from './bootstrap-list.js'
import { announceAfresh, lend, limitRandomPunches } from './dht-node.js'
import { SeaportError } from './errors.js'
import {
  type Address,
  checkStack,
  forgetAddresses,
  HyperDHT,
  type HyperDHTOptions,
  Hyperswarm,
  type KeyPairLike,
  ReadyResource,
  type SecretStream
} from './holepunch.js'
import { toHex } from './keys.js'
import { LOOPBACK, NODE_PORTS, probeUdpPort } from './listen.js'
import { quickenRandomPunches } from './random-punch.js'
import { hostsNow, Reachability } from './reachability.js'
import { noteSides } from './unmet.js'

/** Where a process meets others. */
export interface NetworkOptions {
  /**
   * Nodes of a private DHT, as `host:port[,host:port…]` or addresses. Default: what the environment has in
   * `HYPERSEAPORT_BOOTSTRAP`, else the public DHT. An empty list is the public DHT, whatever the environment has.
   */
  bootstrap?: string | (Address | string)[] | undefined
  /** Address the DHT node binds and advertises. Default: loopback if every bootstrap node is there, else all. */
  host?: string | undefined
}

export interface SwarmOptions {
  /** Whom not to let in. */
  firewall?: ((remotePublicKey: Buffer) => boolean) | undefined
  /** Whether a key is worth a punch at random ports, of which there are few at a time. Default: all are. */
  mayPunch?: ((remotePublicKey: Buffer) => boolean) | undefined
}

/** A registrar holds a connection per service process and many replicas; Hyperswarm's default is 64. */
const MAX_PEERS = 4096
/**
 * How long a server remembers a finished handshake, in case its answer was lost. HyperDHT's 10 s keep
 * 70 KB per connection, which a crowd that comes and goes turns into hundreds of megabytes.
 */
export const HANDSHAKE_MEMORY_MS = 2000
/**
 * Calls at a time. One at a peer that is dead and still announced takes 8 s, and Hyperswarm repeats it before it makes
 * a first call: with its 3, or with 24, a newcomer among a hundred dead peers did not come to the live ones for a minute.
 */
const MAX_PARALLEL = 128
/** Retries of a known peer, in ms, by how often it failed. */
const RECONNECT_BACKOFFS_MS = [500, 1000, 2000, 2000]
const RECONNECT_JITTER_MS = 250
/**
 * Punches at random ports that go on at a time, and the pause after each. One takes 2 s on average, up to
 * 35, and opens 256 sockets. HyperDHT's one in 20 s is spent before a second service is dialed.
 */
const RANDOM_PUNCHES = 8
const RANDOM_PUNCH_INTERVAL_MS = 1
/** How long an opening waits for the first answer: once around the world and back. */
const SILENCE_MS = 500
/** How often to look for others while there are none, and at the address that we are seen under. */
const LOOKOUT_MS = 2000
/** How often nodes that were named and did not answer are asked again, in lookouts. */
const LOOKOUTS_PER_ROUND = 15
/** Networks come up in several steps. */
const SETTLE_MS = 300
/** Without an answer for so long, there is nobody to say goodbye to. */
const UNANSWERED_MS = 1000

/**
 * A DHT node. `acquire` gives the one that is shared by all in this process who ask for the same
 * bootstrap nodes and host; who acquires it must release it, and the last one closes it. Emits `reached`
 * when a node answers after none did, and `moved` when this machine's address is another one, here or as
 * others see it.
 */
export class Network extends ReadyResource {
  static readonly #shared = new Map<string, Network>()

  /** The address that the node binds; undefined for all. */
  readonly host: string | undefined

  /** The nodes of a private DHT; null for the public one. */
  readonly #bootstrap: BootstrapList | null
  #dht: HyperDHT | null = null
  #reachability: Reachability | null = null
  #destroyed: Promise<void> | null = null
  #lookout: NodeJS.Timeout | null = null
  #lookouts = 0
  #settling: NodeJS.Timeout | null = null
  #hosts = ''
  /** Who tells us the address that we are seen under, and what it said last. */
  #witness: { node: Address; seenAs: string } | null = null
  #users = 1
  #leaving = 0
  #isGivenUp = false

  /** @throws OFFLINE, USAGE */
  constructor(options: NetworkOptions = {}) {
    super()
    // Each participant of this process listens.
    this.setMaxListeners(0)
    const nodes = readBootstrap(options.bootstrap)
    const host = options.host ?? (nodes?.every(isLoopback) ? LOOPBACK : undefined)
    if (host !== undefined && !isIPv4(host)) {
      throw SeaportError.USAGE(
        `the host must be an IPv4 address of this machine, as in 192.168.1.10, not ${JSON.stringify(host)}`
      )
    }
    this.host = host
    this.#bootstrap = nodes ? new BootstrapList(nodes) : null
  }

  /** @throws OFFLINE, USAGE */
  static acquire({ bootstrap, host }: NetworkOptions = {}): Network {
    const id = networkId({ bootstrap, host })
    const shared = Network.#shared.get(id)
    if (shared && !shared.closing && !shared.#isGivenUp) {
      shared.#users++
      return shared
    }
    const network = new Network({ bootstrap, host })
    Network.#shared.set(id, network)
    return network
  }

  get dht(): HyperDHT {
    if (!this.#dht) throw SeaportError.CLOSED('the network is not open')
    return this.#dht
  }

  /** Whether no other node of the DHT answers. */
  get isAlone(): boolean {
    return this.#dht === null || this.#dht.nodes.length === 0
  }

  /** Why nobody can be found, if it is the DHT's fault. */
  get fault(): SeaportError | null {
    const bootstrap = this.#bootstrap
    // Who answers while no named node has an address is of another DHT.
    if (!this.isAlone && bootstrap?.nodes.length !== 0) return null
    if (!bootstrap) {
      return SeaportError.DHT_UNREACHABLE(
        'no node of the public DHT answers; is this machine online, and may it use UDP?'
      )
    }
    const unknown = [...bootstrap.unresolved].map(([name, code]) => `${name} (${code})`)
    const hint =
      unknown.length > 0
        ? `, and this machine's resolver has no address for ${unknown.join(', ')}`
        : ''
    const places = bootstrap.named.map(({ host, port }) => `${host}:${port}`).join(', ')
    return SeaportError.DHT_UNREACHABLE(
      `no node of the DHT answers at ${places}${hint}; is \`hyperseaport bootstrap\` running there, and may this machine use UDP?`
    )
  }

  /** Resolves when another node has answered. */
  async reached() {
    if (this.isAlone) await once(this, 'reached')
  }

  /** @throws LISTEN_FAILED for the host, CLOSED if all users have left meanwhile */
  override async _open() {
    checkStack()
    if (this.host !== undefined) await probeUdpPort(0, this.host)
    const dht = this.#makeNode()
    this.#dht = dht
    // The swarm of each registry listens.
    dht.setMaxListeners(0)
    dht.on('add-node', () => {
      if (dht.nodes.length === 1) this.#onreached()
    })
    dht.on('remove-node', (node: Address) => this.#forgetNode(node))
    dht.on('network-change', () => this.#oninterfaces())
    this.#hosts = hostsNow()
    if (!this.#isGivenUp) await this.#enter()
    if (this.#isGivenUp) {
      await this.#destroy()
      throw SeaportError.CLOSED('left while the network was opening')
    }
    this.#lookout = setInterval(() => this.#lookAround(), LOOKOUT_MS)
  }

  #makeNode(): HyperDHT {
    const dht = this.#bootstrap ? this.#makePrivateNode() : new HyperDHT(this.#nodeOptions)
    limitRandomPunches(dht, RANDOM_PUNCHES)
    quickenRandomPunches(dht)
    return dht
  }

  get #nodeOptions(): HyperDHTOptions {
    const host = this.host === undefined ? {} : { host: this.host }
    return { ...host, port: NODE_PORTS, randomPunchInterval: RANDOM_PUNCH_INTERVAL_MS }
  }

  #makePrivateNode(): HyperDHT {
    const isLocal = this.host === LOOPBACK
    // Each question would wait 4 s for a node that is named and dead: it is told of those that answer.
    const dht = new HyperDHT({ ...this.#nodeOptions, bootstrap: [], firewalled: !isLocal })
    const reachability = new Reachability({ dht, isKnown: isLocal })
    reachability.on('answer', (node) => this.#addNode(node))
    reachability.on('change', () => this.#announceAfresh())
    this.#reachability = reachability
    return dht
  }

  /** Until the first node answers, or none does; who is alone by then goes on looking later. */
  async #enter() {
    const patience = new AbortController()
    const entered = this.#bootstrap ? this.#askNodes() : this.dht.fullyBootstrapped()
    const silence = sleep(SILENCE_MS, undefined, { signal: patience.signal }).then(() =>
      this.#answers === 0 ? undefined : entered
    )
    silence.catch(() => {})
    await Promise.race([entered, silence])
    patience.abort()
  }

  /** Asks all nodes that are named, at once. Never rejects. */
  async #askNodes() {
    const nodes = (await this.#bootstrap?.resolve()) ?? []
    await this.dht.bind()
    if (!this.dht.destroyed) await this.#reachability?.ask(nodes)
  }

  #addNode(node: Address) {
    const { bootstrapNodes } = this.dht
    if (!bootstrapNodes.some((other) => isSameNode(node, other))) bootstrapNodes.push(node)
  }

  #forgetNode(node: Address) {
    if (!this.#bootstrap) return
    const { dht } = this
    dht.bootstrapNodes = dht.bootstrapNodes.filter((other) => !isSameNode(node, other))
  }

  override async _close() {
    if (this.#lookout) clearInterval(this.#lookout)
    if (this.#settling) clearTimeout(this.#settling)
    await this.#destroy()
  }

  /**
   * Connects to a key, in the name of another.
   *
   * HyperDHT remembers for good at which addresses it found a key, and asks there first: for 4 s, if
   * nobody is there any more, as after a restart. So a key whose connection ended is looked up anew.
   */
  connect(remotePublicKey: Buffer, keyPair: KeyPairLike, relay?: Buffer): SecretStream {
    const connection = this.dht.connect(remotePublicKey, {
      keyPair,
      ...(relay && { relayThrough: relay }),
      holepunch: (remote, local) => {
        noteSides(connection, remote, local)
        return true
      }
    })
    const { dht } = this
    connection.once('close', () => forgetAddresses(dht, toHex(remotePublicKey)))
    return connection
  }

  /** A swarm of its own key on the shared node. */
  swarm(keyPair: KeyPairLike, { firewall, mayPunch }: SwarmOptions = {}): Hyperswarm {
    return new Hyperswarm({
      dht: lend(this.dht, mayPunch),
      keyPair,
      maxPeers: MAX_PEERS,
      maxParallel: MAX_PARALLEL,
      handshakeClearWait: HANDSHAKE_MEMORY_MS,
      backoffs: RECONNECT_BACKOFFS_MS,
      jitter: RECONNECT_JITTER_MS,
      ...(firewall ? { firewall } : {})
    })
  }

  /**
   * Gives back what `acquire` or `new` gave.
   *
   * @param goodbyes what is to be closed before, and may have to tell the DHT. It has as long as anybody there
   *   answers; where nobody does, the last user's questions end unanswered.
   */
  async release(goodbyes: () => Promise<void> = async () => {}) {
    this.#leaving++
    const timer = this.#giveUpIfUnanswered()
    try {
      await goodbyes()
    } finally {
      this.#leaving--
      if (--this.#users === 0) await this.close()
      clearInterval(timer)
    }
  }

  #giveUpIfUnanswered(): NodeJS.Timeout {
    let answers = this.#answers
    return setInterval(() => {
      if (this.#leaving === this.#users && this.#answers === answers) {
        this.#isGivenUp = true
        this.#destroy().catch(() => {})
      }
      answers = this.#answers
    }, UNANSWERED_MS)
  }

  get #answers(): number {
    return this.#dht?.stats.requests.responses ?? 0
  }

  /** Ends all that waits for an answer. */
  async #destroy() {
    if (!this.#dht) return
    this.#destroyed ??= this.#dht.destroy({ force: this.#isGivenUp })
    await this.#destroyed
  }

  /**
   * A DHT node that found nobody looks again after 40 s, and has its servers found after five minutes. A
   * machine that starts before its bootstrap node, or before its network, need not wait for that.
   */
  #onreached() {
    if (this.closing) return
    this.#announceAfresh()
    this.emit('reached')
  }

  #lookAround() {
    this.#lookouts++
    if (this.isAlone) {
      if (this.#bootstrap) void this.#askNodes()
      else this.dht.refresh()
    } else if (this.#isMissingNodes && this.#lookouts % LOOKOUTS_PER_ROUND === 0) {
      void this.#askNodes()
    }
    void this.#checkAddress()
  }

  get #isMissingNodes(): boolean {
    if (!this.#bootstrap) return false
    const { nodes, isIncomplete } = this.#bootstrap
    return isIncomplete || nodes.length > this.dht.bootstrapNodes.length
  }

  /** Asks one node which address it sees us under: when a router gets another one, nobody tells us. Never rejects. */
  async #checkAddress() {
    const [latest] = this.dht.toArray({ limit: 1 })
    const node = this.#witness?.node ?? latest
    if (!node || this.host === LOOPBACK) return
    try {
      const { to } = await this.dht.ping(node, { retry: false })
      const before = this.#witness?.seenAs
      this.#witness = { node, seenAs: to.host }
      if (before !== undefined && before !== to.host) this.#onmoved()
    } catch {
      // What another one sees may differ, and tells nothing.
      this.#witness = null
    }
  }

  #oninterfaces() {
    if (this.#settling) clearTimeout(this.#settling)
    this.#settling = setTimeout(() => {
      this.#settling = null
      const hosts = hostsNow()
      const isNews = hosts !== this.#hosts
      this.#hosts = hosts
      if (isNews && !this.closing) this.#onmoved()
    }, SETTLE_MS)
  }

  /** Connections of before are most likely dead, and whoever looks for us is sent to where we were. */
  #onmoved() {
    this.#witness = null
    this.#reachability?.forget()
    if (this.#bootstrap) void this.#askNodes()
    this.#announceAfresh()
    this.emit('moved')
  }

  #announceAfresh() {
    for (const server of this.dht.listening) announceAfresh(server)
  }
}

/**
 * Tells networks apart: those of the same nodes and host are one.
 *
 * @throws OFFLINE, USAGE
 */
export function networkId({ bootstrap, host }: NetworkOptions): string {
  return JSON.stringify([readBootstrap(bootstrap) ?? [], host])
}

function isLoopback({ host }: Address) {
  return host === 'localhost' || host.startsWith('127.')
}
