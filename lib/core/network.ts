import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from './errors.js'
import {
  type Address,
  checkStack,
  declareReachable,
  forgetAddresses,
  HyperDHT,
  type HyperDHTOptions,
  Hyperswarm,
  type KeyPairLike,
  lend,
  ReadyResource,
  type SecretStream
} from './holepunch.js'
import { toHex } from './keys.js'
import { LOOPBACK, probeUdpPort } from './listen.js'

/** Where a process meets others. */
export interface NetworkOptions {
  /**
   * Nodes of a private DHT, as `host:port[,host:port…]` or addresses. Default: what the environment has in
   * `HYPERSEAPORT_BOOTSTRAP`, else the public DHT. An empty list is the public DHT, whatever the environment has.
   */
  bootstrap?: string | Address[] | undefined
  /** Address the DHT node binds and advertises. Default: loopback if every bootstrap node is there, else all. */
  host?: string | undefined
}

/** A registrar holds a connection per service process and many replicas; Hyperswarm's default is 64. */
const MAX_PEERS = 4096
/** How long a bootstrap node may take to tell us the address that it sees us under. */
const SEEN_AS_TIMEOUT_MS = 1000
/**
 * How long a server remembers a finished handshake, in case its answer was lost. HyperDHT's 10 s keep
 * 70 KB per connection, which a crowd that comes and goes turns into hundreds of megabytes.
 */
export const HANDSHAKE_MEMORY_MS = 2000
/** Hyperswarm's default is 3, which queues a newcomer behind dead peers. */
const MAX_PARALLEL = 24
/** Retries of a known peer, in ms, by how often it failed. */
const RECONNECT_BACKOFFS_MS = [500, 1000, 2000, 2000]
const RECONNECT_JITTER_MS = 250
/** How long an opening waits for the first answer. */
const SILENCE_MS = 2000
/** How often to look for others while there are none. */
const LOOKOUT_MS = 2000
/** Without an answer for so long, there is nobody to say goodbye to. */
const UNANSWERED_MS = 1000

/**
 * A DHT node. `acquire` gives the one that is shared by all in this process who ask for the same
 * bootstrap nodes and host; who acquires it must release it, and the last one closes it. Emits `reached`
 * when a node answers after none did.
 */
export class Network extends ReadyResource {
  static readonly #shared = new Map<string, Network>()

  /** The address that the node binds; undefined for all. */
  readonly host: string | undefined

  readonly #options: HyperDHTOptions
  #dht: HyperDHT | null = null
  #destroyed: Promise<void> | null = null
  #lookout: NodeJS.Timeout | null = null
  #users = 1
  #leaving = 0
  #isGivenUp = false

  /** @throws OFFLINE, USAGE */
  constructor(options: NetworkOptions = {}) {
    super()
    // Each participant of this process listens.
    this.setMaxListeners(0)
    const bootstrap = readBootstrap(options.bootstrap)
    const host = options.host ?? (bootstrap?.every(isLoopback) ? LOOPBACK : undefined)
    if (host !== undefined && !isIPv4(host)) {
      throw SeaportError.USAGE(
        `the host must be an IPv4 address of this machine, as in 192.168.1.10, not ${JSON.stringify(host)}`
      )
    }
    this.host = host
    this.#options = {
      ...(bootstrap === undefined ? {} : { bootstrap }),
      ...(host === undefined ? {} : { host })
    }
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
    if (!this.isAlone) return null
    const { bootstrap } = this.#options
    if (!bootstrap) {
      return SeaportError.DHT_UNREACHABLE(
        'no node of the public DHT answers; is this machine online, and may it use UDP?'
      )
    }
    const places = bootstrap.map(({ host, port }) => `${host}:${port}`).join(', ')
    return SeaportError.DHT_UNREACHABLE(
      `no node of the DHT answers at ${places}; is \`hyperseaport bootstrap\` running there?`
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
    const firewalled = await isBehindNat(this.#options)
    const dht = new HyperDHT({ ...this.#options, firewalled })
    this.#dht = dht
    if (!this.#isGivenUp) await this.#bootstrapped()
    if (this.#isGivenUp) {
      await this.#destroy()
      throw SeaportError.CLOSED('left while the network was opening')
    }
    // The swarm of each registry listens.
    dht.setMaxListeners(0)
    dht.on('add-node', () => {
      if (dht.nodes.length === 1) this.#onreached().catch(() => {})
    })
    this.#lookout = setInterval(() => {
      if (this.isAlone) dht.refresh()
    }, LOOKOUT_MS)
  }

  /** HyperDHT asks for up to 11 s where nobody answers; who is still alone by then goes on looking later. */
  async #bootstrapped() {
    const patience = new AbortController()
    const silence = sleep(SILENCE_MS, undefined, { signal: patience.signal }).then(() =>
      this.#answers === 0 ? undefined : this.dht.fullyBootstrapped()
    )
    silence.catch(() => {})
    await Promise.race([this.dht.fullyBootstrapped(), silence])
    patience.abort()
  }

  override async _close() {
    if (this.#lookout) clearInterval(this.#lookout)
    await this.#destroy()
  }

  /**
   * Connects to a key, in the name of another.
   *
   * HyperDHT remembers for good at which addresses it found a key, and asks there first: for 4 s, if
   * nobody is there any more, as after a restart. So a key whose connection ended is looked up anew.
   */
  connect(remotePublicKey: Buffer, keyPair: KeyPairLike): SecretStream {
    const connection = this.dht.connect(remotePublicKey, { keyPair })
    const { dht } = this
    connection.once('close', () => forgetAddresses(dht, toHex(remotePublicKey)))
    return connection
  }

  /** A swarm of its own key on the shared node. */
  swarm(keyPair: KeyPairLike, firewall?: (remotePublicKey: Buffer) => boolean): Hyperswarm {
    return new Hyperswarm({
      dht: lend(this.dht),
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
  async #onreached() {
    const { dht } = this
    if (dht.firewalled && !(await isBehindNat(this.#options))) {
      declareReachable(dht)
    }
    if (this.closing) return
    for (const server of dht.listening) server.refresh()
    this.emit('reached')
  }
}

/**
 * Reads `host:port[,host:port…]`.
 *
 * @throws USAGE
 */
export function parseBootstrap(text: string): Address[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const match = /^([^\s:]+):(\d{1,5})$/.exec(part.trim())
      const port = Number(match?.[2])
      if (!match?.[1] || port < 1 || port > 65535) {
        throw SeaportError.USAGE(
          `a bootstrap node is host:port, as in 10.0.0.2:49737, not ${JSON.stringify(part)}`
        )
      }
      return { host: match[1], port }
    })
}

/**
 * Tells networks apart: those of the same nodes and host are one.
 *
 * @throws OFFLINE, USAGE
 */
export function networkId({ bootstrap, host }: NetworkOptions): string {
  return JSON.stringify([readBootstrap(bootstrap) ?? [], host])
}

/** An empty variable counts as unset, as it does for the command line. */
function bootstrapOfEnvironment(): string | undefined {
  return process.env.HYPERSEAPORT_BOOTSTRAP || process.env.hyperseaport_bootstrap || undefined
}

function readBootstrap(
  bootstrap: NetworkOptions['bootstrap'] = bootstrapOfEnvironment()
): Address[] | undefined {
  const nodes = typeof bootstrap === 'string' ? parseBootstrap(bootstrap) : bootstrap
  if (nodes && nodes.length > 0) return nodes
  if (process.env.HYPERSEAPORT_OFFLINE === '1') {
    throw SeaportError.OFFLINE(
      'HYPERSEAPORT_OFFLINE=1 forbids the public DHT: name a private node with --bootstrap host:port'
    )
  }
  return undefined
}

function isLoopback({ host }: Address) {
  return host === 'localhost' || host.startsWith('127.')
}

/**
 * HyperDHT takes itself for firewalled until a few nodes have told it otherwise. In a private DHT there
 * may be one node and no more: then two processes of one LAN would punch holes, give up for want of
 * evidence, and now and then cut the direct path that they had just found (measured: half of the
 * connections were lost on loopback, nearly all between hosts). So a node of a private DHT asks: if it
 * is seen under an address of its own, nothing stands in between.
 */
async function isBehindNat({ bootstrap, host }: HyperDHTOptions): Promise<boolean> {
  if (!bootstrap) return true
  if (host === LOOPBACK) return false
  const scout = new HyperDHT({
    bootstrap,
    ...(host === undefined ? {} : { host }),
    ephemeral: true
  })
  try {
    await scout.bind()
    const asked = bootstrap.map((node) =>
      scout.ping(node, { timeout: SEEN_AS_TIMEOUT_MS, retry: false })
    )
    const { to } = await Promise.any(asked)
    return !ownAddresses().has(to.host)
  } catch {
    return true
  } finally {
    await scout.destroy()
  }
}

function ownAddresses(): Set<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return new Set(all.map(({ address }) => address))
}
