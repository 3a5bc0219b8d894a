import { forward } from '../core/forward.js'
import { ReadyResource } from '../core/holepunch.js'
import type { Network } from '../core/network.js'
import { Acceptor, type AcceptorOptions, type PurposeHandler } from '../link/acceptor.js'
import { type DirectReach, directHosts } from '../link/direct/address.js'
import { DirectListener } from '../link/direct/listener.js'

export interface ListenersOptions extends Omit<AcceptorOptions, 'dht'> {
  /** The DHT node to listen with. It is open already, and its opener closes it. */
  network: Network
  /** From which addresses consumers may connect by TCP. */
  reach: DirectReach
  /** The TCP port to listen on. Default: free ones. */
  directPort: number | undefined
  /** Handlers of streams by purpose, beside those for the backend. */
  purposes?: Readonly<Record<string, PurposeHandler>> | undefined
}

/**
 * Where a service takes links: under its key on the DHT, and by TCP. Emits `refused`, `draining`
 * and `notice` as its acceptor does, and `addresses` when those for TCP have changed.
 */
export class Listeners extends ReadyResource {
  readonly #network: Network
  readonly #acceptor: Acceptor
  readonly #listener: DirectListener

  constructor({ network, reach, directPort, purposes = {}, ...options }: ListenersOptions) {
    super()
    this.#acceptor = new Acceptor({ ...options, dht: network.dht })
    this.#listener = new DirectListener({
      keyPair: options.keyPair,
      hosts: () => directHosts({ reach, host: network.host }),
      port: directPort,
      onconnection: (connection) => this.#acceptor.take(connection, 'direct')
    })
    for (const [purpose, handler] of Object.entries(purposes)) this.handle(purpose, handler)
    forward(this.#acceptor, this, ['refused', 'draining', 'notice'])
    forward(this.#listener, this, ['notice', 'addresses'])
    this.#network = network
  }

  /** The addresses that take TCP connections, as `host:port`. */
  get addresses(): string[] {
    return this.#listener.addresses
  }

  /** The purposes of streams that are taken. */
  get speaks(): string[] {
    return this.#acceptor.speaks
  }

  /**
   * Registers the handler for streams of a purpose.
   *
   * @throws USAGE
   */
  handle(purpose: string, handler: PurposeHandler) {
    this.#acceptor.handle(purpose, handler)
  }

  /** Streams that are open, or wait for the backend. */
  get streams(): number {
    return this.#acceptor.streams
  }

  get stats() {
    return this.#acceptor.stats
  }

  /** Checks again who may open streams, and ends streams of those who may not. */
  recheck() {
    this.#acceptor.recheck()
  }

  /** Refuses new streams, and waits until the open ones have ended, for at most `timeout` ms. */
  drain(timeout: number): Promise<void> {
    return this.#acceptor.drain(timeout)
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED */
  override async _open() {
    try {
      await this.#acceptor.ready()
      await this.#listener.ready()
      this.#network.on('moved', this.#onmoved)
    } catch (error) {
      await this._close()
      throw error
    }
  }

  readonly #onmoved = () => {
    void this.#acceptor.checkPaths()
    void this.#listener.refresh()
  }

  override async _close() {
    this.#network.off('moved', this.#onmoved)
    await this.#listener.close()
    await this.#acceptor.close()
  }
}
