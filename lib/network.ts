import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { SeaportError } from './errors.js'
import {
  type Address,
  HyperDHT,
  type HyperDHTOptions,
  Hyperswarm,
  type KeyPairLike,
  ReadyResource,
  type SecretStream
} from './holepunch.js'
import { toHex } from './keys.js'

/** Where a process meets others. */
export interface NetworkOptions {
  /** Nodes of a private DHT, as `host:port[,host:port…]` or addresses. Default: the public DHT. */
  bootstrap?: string | Address[] | undefined
  /** Address the DHT node binds and advertises. Default: loopback if every bootstrap node is there, else all. */
  host?: string | undefined
}

const DEFAULT_BOOTSTRAP_PORT = 49737
const LOOPBACK = '127.0.0.1'
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

/**
 * A DHT node. `acquire` gives the one that is shared by all in this process who ask for the same
 * bootstrap nodes and host; who acquires it must release it, and the last one closes it.
 */
export class Network extends ReadyResource {
  static readonly #shared = new Map<string, Network>()

  /** The address that the node binds; undefined for all. */
  readonly host: string | undefined

  readonly #options: HyperDHTOptions
  #dht: HyperDHT | null = null
  #users = 1

  /** @throws OFFLINE, USAGE */
  constructor(options: NetworkOptions = {}) {
    super()
    const bootstrap = readBootstrap(options.bootstrap)
    const host = options.host ?? (bootstrap?.every(isLoopback) ? LOOPBACK : undefined)
    this.host = host
    this.#options = {
      ...(bootstrap === undefined ? {} : { bootstrap }),
      ...(host === undefined ? {} : { host })
    }
  }

  /** @throws OFFLINE, USAGE */
  static acquire({ bootstrap, host }: NetworkOptions = {}): Network {
    const id = JSON.stringify([bootstrap, host])
    const shared = Network.#shared.get(id)
    if (shared && !shared.closing) {
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

  override async _open() {
    const firewalled = await isBehindNat(this.#options)
    this.#dht = new HyperDHT({ ...this.#options, firewalled })
    // The swarm of each registry listens.
    this.#dht.setMaxListeners(0)
    await this.#dht.ready()
  }

  override async _close() {
    await this.#dht?.destroy()
  }

  /**
   * Connects to a key, in the name of another.
   *
   * HyperDHT remembers for good at which addresses it found a key, and asks there first: for 4 s, if
   * nobody is there any more, as after a restart. So a key whose connection ended is looked up anew.
   */
  connect(remotePublicKey: Buffer, keyPair: KeyPairLike): SecretStream {
    const connection = this.dht.connect(remotePublicKey, { keyPair })
    const { _relayAddressesCache: found } = this.dht
    connection.once('close', () => found.delete(toHex(remotePublicKey)))
    return connection
  }

  /** A swarm of its own key on the shared node. */
  swarm(keyPair: KeyPairLike, firewall?: (remotePublicKey: Buffer) => boolean): Hyperswarm {
    return new Hyperswarm({
      dht: withoutDestroy(this.dht),
      keyPair,
      maxPeers: MAX_PEERS,
      maxParallel: MAX_PARALLEL,
      handshakeClearWait: HANDSHAKE_MEMORY_MS,
      backoffs: RECONNECT_BACKOFFS_MS,
      jitter: RECONNECT_JITTER_MS,
      ...(firewall ? { firewall } : {})
    })
  }

  /** Gives back what `acquire` or `new` gave. */
  async release() {
    if (--this.#users === 0) await this.close()
  }
}

export interface BootstrapNodeOptions {
  /** UDP port, 0 for a free one. */
  port?: number
  /** Address that others reach this node under; it binds it as well. */
  host?: string
}

/** The first node of a private DHT: others name it as their bootstrap. One is enough. */
export class BootstrapNode extends ReadyResource {
  readonly #host: string
  #port: number
  #dht: HyperDHT | null = null

  constructor({ port = DEFAULT_BOOTSTRAP_PORT, host = LOOPBACK }: BootstrapNodeOptions = {}) {
    super()
    this.#port = port
    this.#host = host
  }

  /** `host:port`, what others pass as `bootstrap`. */
  get address(): string {
    return `${this.#host}:${this.#port}`
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED */
  setup() {
    return this.ready()
  }

  destroy() {
    return this.close()
  }

  override async _open() {
    this.#port = await probeUdpPort(this.#port, this.#host)
    this.#dht = HyperDHT.bootstrapper(this.#port, this.#host, { host: this.#host })
    try {
      await this.#dht.fullyBootstrapped()
    } catch (cause) {
      await this.#dht.destroy()
      throw listenError(cause, `UDP port ${this.#port} on ${this.#host}`)
    }
  }

  override async _close() {
    await this.#dht?.destroy()
  }
}

/**
 * Turns a failed bind or listen into a coded error.
 *
 * @param what what was to be bound, as in `port 80 on 127.0.0.1`
 */
export function listenError(cause: unknown, what: string): SeaportError {
  const code = (cause as NodeJS.ErrnoException | null)?.code
  if (code === 'EADDRINUSE')
    return SeaportError.PORT_IN_USE(`${what} is in use, choose another one`, cause)
  if (code === 'EACCES') {
    return SeaportError.LISTEN_FAILED(
      `${what} may not be opened by this user, try one above 1024`,
      cause
    )
  }
  if (code === 'EADDRNOTAVAIL') {
    return SeaportError.LISTEN_FAILED(
      `${what} cannot be opened, this machine does not have that address`,
      cause
    )
  }
  return SeaportError.LISTEN_FAILED(
    `${what} cannot be opened (${code ?? (cause as Error)?.message})`,
    cause
  )
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

function readBootstrap(bootstrap: NetworkOptions['bootstrap']): Address[] | undefined {
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
    await scout.ready()
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

/** A swarm destroys the node it was given; this one is not its to destroy. */
function withoutDestroy(dht: HyperDHT): HyperDHT {
  return new Proxy(dht, {
    get: (target, name) => (name === 'destroy' ? async () => {} : Reflect.get(target, name, target))
  })
}

/** HyperDHT takes another port when its own is taken; a bootstrap node's is its address. */
async function probeUdpPort(port: number, host: string): Promise<number> {
  const socket = createSocket('udp4')
  try {
    socket.bind(port, host)
    await once(socket, 'listening')
    return socket.address().port
  } catch (cause) {
    throw listenError(cause, `UDP port ${port} on ${host}`)
  } finally {
    socket.close()
  }
}
