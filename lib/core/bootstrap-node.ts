import { HyperDHT, ReadyResource } from './holepunch.js'
import { listenError, probeUdpPort } from './network.js'

const DEFAULT_PORT = 49737
const LOOPBACK = '127.0.0.1'

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

  constructor({ port = DEFAULT_PORT, host = LOOPBACK }: BootstrapNodeOptions = {}) {
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
