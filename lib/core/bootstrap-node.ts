import type { SeaportError } from './errors.js'
import { HyperDHT, ReadyResource } from './holepunch.js'
import { listenError, probeUdpPort } from './network.js'

const DEFAULT_PORT = 49737
const LOOPBACK = '127.0.0.1'

/** How many nodes tell two homes enough of their routers to meet. */
export const ENOUGH_NODES = 4

export interface BootstrapNodeOptions {
  /** UDP port of the first node, 0 for free ones; the others have those that follow. */
  port?: number
  /** Address that others reach the nodes under; they bind it as well. */
  host?: string
  /** How many nodes to run. Default: one. */
  nodes?: number
}

/**
 * The first nodes of a private DHT: others name them as their bootstrap. One is enough where everybody
 * reaches everybody. Who is behind a router learns from how several nodes see it how to be met. Emits
 * `notice` (a SeaportError: a port that is taken, and so a node less).
 */
export class BootstrapNode extends ReadyResource {
  readonly #host: string
  readonly #port: number
  readonly #count: number
  readonly #ports: number[] = []
  readonly #nodes: HyperDHT[] = []

  constructor({ port = DEFAULT_PORT, host = LOOPBACK, nodes = 1 }: BootstrapNodeOptions = {}) {
    super()
    this.#port = port
    this.#host = host
    this.#count = nodes
  }

  /** `host:port[,host:port…]`, what others pass as `bootstrap`. */
  get address(): string {
    return this.#ports.map((port) => `${this.#host}:${port}`).join()
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED */
  setup() {
    return this.ready()
  }

  destroy() {
    return this.close()
  }

  override async _open() {
    await this.#add(this.#port)
    for (let i = 1; i < this.#count; i++) {
      try {
        await this.#add(this.#port === 0 ? 0 : this.#port + i)
      } catch (error) {
        this.emit('notice', error as SeaportError)
      }
    }
  }

  override async _close() {
    await Promise.all(this.#nodes.map((node) => node.destroy()))
  }

  async #add(wanted: number) {
    const host = this.#host
    const port = await probeUdpPort(wanted, host)
    const others = this.#ports.map((port) => ({ host, port }))
    const node = HyperDHT.bootstrapper(port, host, { host, bootstrap: others })
    try {
      await node.fullyBootstrapped()
    } catch (cause) {
      await node.destroy()
      throw listenError(cause, `UDP port ${port} on ${host}`)
    }
    this.#nodes.push(node)
    this.#ports.push(port)
  }
}
