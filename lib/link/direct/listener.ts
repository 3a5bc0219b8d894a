import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { SeaportError } from '../../core/errors.js'
import { ReadyResource, type SecretStream } from '../../core/holepunch.js'
import type { KeyPair } from '../../core/keys.js'
import { listen, listenError } from '../../core/listen.js'
import { SerialQueue } from '../../core/serial-queue.js'
import { acceptDirect } from './handshake.js'

export interface DirectListenerOptions {
  /** The service's identity, which connections are made to. */
  keyPair: KeyPair
  /** The addresses to listen on. Asked for again from time to time, since machines change networks. */
  hosts: () => string[]
  /** TCP port on each of them. Default: free ones. */
  port?: number | undefined
  /** A connection whose remote key is proven. */
  onconnection: (connection: SecretStream) => void
  /** How long a connection may take to prove its key, in ms. */
  handshakeTimeout?: number
  /** Connections that have not proven a key yet, at a time. From three quarters of them on, old ones give way to new ones. */
  maxPending?: number
  /** How often the addresses are asked for, in ms. */
  refreshInterval?: number
}

const HANDSHAKE_TIMEOUT_MS = 3000
/** A thousand consumers behind one NAT may come at once. Each costs little before its first message. */
const MAX_PENDING = 1024
const CROWDED = 3 / 4
const REFRESH_INTERVAL_MS = 30_000

/**
 * Takes connections to a service by TCP, beside the DHT. A caller that does not know the service's key gets no
 * answer. Emits `addresses` when the machine's own have changed, and `notice` (a SeaportError: an
 * address that cannot be listened on).
 */
export class DirectListener extends ReadyResource {
  readonly stats = {
    /** Connections that have not proven a key yet. */
    pending: 0,
    /** Connections that have, and those that did not in time or were too many. */
    accepted: 0,
    rejected: 0
  }

  readonly #options: DirectListenerOptions
  readonly #handshakeTimeout: number
  readonly #maxPending: number
  /** By host. */
  readonly #servers = new Map<string, Server>()
  /** Sockets that have not proven a key yet, and where they come from. */
  readonly #pending = new Map<Socket, string>()
  #refresher: NodeJS.Timeout | null = null
  readonly #refreshes = new SerialQueue()

  constructor(options: DirectListenerOptions) {
    super()
    this.#options = options
    this.#handshakeTimeout = options.handshakeTimeout ?? HANDSHAKE_TIMEOUT_MS
    this.#maxPending = options.maxPending ?? MAX_PENDING
  }

  /** Where it listens, as `host:port`. */
  get addresses(): string[] {
    return [...this.#servers].map(([host, server]) => `${host}:${portOf(server)}`)
  }

  /** Looks at the machine's addresses again, and listens where it does not yet. Never rejects. */
  refresh(): Promise<void> {
    return this.#refreshes.run(() => this.#refresh())
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED if a certain port was asked for and could be had nowhere */
  override async _open() {
    const failures = await this.#listen(this.#options.hosts())
    if (this.#options.port && this.#servers.size === 0 && failures[0]) throw failures[0]
    for (const failure of failures) this.emit('notice', failure)
    const { refreshInterval = REFRESH_INTERVAL_MS } = this.#options
    this.#refresher = setInterval(() => void this.refresh(), refreshInterval)
    this.#refresher.unref()
  }

  /** Stops listening. Connections that were handed on stay open: they belong to whoever took them. */
  override async _close() {
    if (this.#refresher) clearInterval(this.#refresher)
    await this.#refreshes.idle()
    this.#leave([...this.#servers.keys()])
    for (const socket of this.#pending.keys()) socket.destroy()
  }

  async #refresh() {
    if (this.closing) return
    const before = this.addresses.join()
    const hosts = this.#options.hosts()
    this.#leave([...this.#servers.keys()].filter((host) => !hosts.includes(host)))
    await this.#listen(hosts.filter((host) => !this.#servers.has(host)))
    if (!this.closing && this.addresses.join() !== before) this.emit('addresses')
  }

  /** Returns what went wrong. */
  async #listen(hosts: string[]): Promise<SeaportError[]> {
    const failures: SeaportError[] = []
    for (const host of hosts) {
      const server = createServer((socket) => void this.#onsocket(socket))
      try {
        const { port = 0 } = this.#options
        await listen(server, { host, port, name: `TCP port ${port} on ${host}` })
        server.on('error', (cause) => this.emit('notice', listenError(cause, `${host} by TCP`)))
        this.#servers.set(host, server)
      } catch (error) {
        failures.push(error as SeaportError)
      }
    }
    return failures
  }

  #leave(hosts: string[]) {
    for (const host of hosts) {
      // Its `close` waits for the connections that were handed on.
      this.#servers.get(host)?.close()
      this.#servers.delete(host)
    }
  }

  /** Never rejects. */
  async #onsocket(socket: Socket) {
    socket.on('error', () => {})
    if (this.closing) {
      this.stats.rejected++
      socket.destroy()
      return
    }
    if (this.#pending.size >= this.#maxPending * CROWDED) this.#makeRoom()
    this.#pending.set(socket, socket.remoteAddress ?? '')
    this.stats.pending++
    const timer = setTimeout(() => socket.destroy(), this.#handshakeTimeout)
    try {
      const connection = await acceptDirect(socket, this.#options.keyPair)
      this.stats.accepted++
      this.#options.onconnection(connection)
    } catch {
      this.stats.rejected++
      socket.destroy()
    } finally {
      clearTimeout(timer)
      this.#pending.delete(socket)
      this.stats.pending--
    }
  }

  /** Hangs up on who has kept us waiting for longest, of the address that most come from. */
  #makeRoom() {
    const counts = new Map<string, number>()
    for (const address of this.#pending.values()) {
      counts.set(address, 1 + (counts.get(address) ?? 0))
    }
    const most = Math.max(...counts.values())
    for (const [socket, address] of this.#pending) {
      if (counts.get(address) !== most) continue
      this.#pending.delete(socket)
      socket.destroy()
      return
    }
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}
