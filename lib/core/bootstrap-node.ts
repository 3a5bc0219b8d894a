import { EventEmitter } from 'node:events'
import { callable } from './callable.js'
import { SeaportError } from './errors.js'
import { HyperDHT } from './holepunch.js'
import { Lifecycle } from './lifecycle.js'
import { BOOTSTRAP_PORT, LOOPBACK, listenError, probeUdpPort } from './listen.js'

/** How many nodes tell two homes enough of their routers to meet. */
export const ENOUGH_NODES = 4
const MAX_PORT = 65535

/** What a bootstrap node is told. */
export interface BootstrapNodeOptions {
  /** UDP port of the first node, 0 for free ones; the others have those that follow. */
  port?: number | undefined
  /** Address that others reach the nodes under; they bind it as well. */
  host?: string | undefined
  /** How many nodes to run. Default: one. */
  nodes?: number | undefined
}

/** What a bootstrap node emits. */
export interface BootstrapNodeEvents {
  /** A port is taken, so there is a node less. */
  notice: [notice: SeaportError]
}

/**
 * The first nodes of a private DHT: others name them as their bootstrap. One is enough where everybody
 * reaches everybody. Who is behind a router learns from how several nodes see it how to be met.
 */
class BootstrapNodeFace extends EventEmitter<BootstrapNodeEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  readonly #host: string
  readonly #port: number
  readonly #count: number
  readonly #ports: number[] = []
  readonly #nodes: HyperDHT[] = []

  /** @throws USAGE if there are no ports for so many nodes */
  constructor({ port = BOOTSTRAP_PORT, host = LOOPBACK, nodes = 1 }: BootstrapNodeOptions = {}) {
    super()
    const first = Math.max(port, 1)
    if (first + nodes - 1 > MAX_PORT) {
      throw SeaportError.USAGE(
        `nodes can be ${MAX_PORT - first + 1} at most, not ${nodes}: from port ${first} on there are no more`
      )
    }
    this.#port = port
    this.#host = host
    this.#count = nodes
  }

  /** `host:port[,host:port…]`, what others pass as `bootstrap`. */
  get address(): string {
    return this.#ports.map((port) => `${this.#host}:${port}`).join()
  }

  /**
   * Resolves when it answers, and `address` is known.
   *
   * @throws PORT_IN_USE, LISTEN_FAILED, CLOSED
   */
  async setup(): Promise<this> {
    await this.#lifecycle.begin()
    return this
  }

  /**
   * Ends the nodes. May be called at any time, and more than once; a `setup()` that is under way is rejected with
   * CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  async #start() {
    await this.#add(this.#port)
    for (let i = 1; i < this.#count; i++) {
      this.#lifecycle.signal.throwIfAborted()
      try {
        await this.#add(this.#port === 0 ? 0 : this.#port + i)
      } catch (error) {
        this.emit('notice', error as SeaportError)
      }
    }
  }

  async #stop() {
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

export interface BootstrapNode extends BootstrapNodeFace {}

/** How a bootstrap node is made: with `new` or without, or as the base of a class. */
export interface BootstrapNodeConstructor {
  new (options?: BootstrapNodeOptions): BootstrapNode
  (options?: BootstrapNodeOptions): BootstrapNode
  readonly prototype: BootstrapNode
}

/** Makes a bootstrap node; `new` works as well, and so does `extends`. */
export const BootstrapNode: BootstrapNodeConstructor = callable('BootstrapNode', BootstrapNodeFace)
