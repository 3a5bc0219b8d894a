import { EventEmitter } from 'node:events'
import { type Callable, callable } from './core/callable.js'
import type { SeaportError } from './core/errors.js'
import { KeyPair, parseKey, toHex } from './core/keys.js'
import { Lifecycle } from './core/lifecycle.js'
import { LOOPBACK } from './core/listen.js'
import { Network, type NetworkOptions } from './core/network.js'
import { Relay } from './link/relay/relay.js'
import { forwarderOf } from './messaging/mail/forwarding.js'
import { checkOptions } from './option-shapes.js'
import { defaultDir, Storage, temporaryFolder } from './registry/log/storage.js'
import { Registrar } from './registry/registrar/registrar.js'
import type { Instance } from './registry/replica/directory.js'
import type { Limits } from './registry/swarm/limits.js'
import type { ServiceRecord, StatementKind } from './registry/trust/signed.js'

export { defaultDir, temporaryFolder }

/** Bytes per second. */
const RELAY_RATE = 10 * 1024 ** 2

/** What a registrar is told. */
export interface RegistryOptions extends NetworkOptions {
  /** The registry's seed: 32 bytes, hex or z-base-32. Whoever holds it is the registry. */
  seed: Buffer | string
  /** Folder of this registrar's log. Default: the user's data folder. */
  dir?: string | undefined
  /**
   * Whether to admit only keys with a grant. Left out, it is as the folder remembers or others of the registry say; if
   * nobody is found in 5 s who knows, the registry is open. A folder that knows of a private registry needs it said.
   */
  private?: boolean | undefined
  /**
   * How long instances are kept, as a last resort, whose leases vanished together with most others, in ms.
   * Default: 60 s.
   */
  staleGrace?: number | undefined
  /** What others may take of it; what is left out stays as it is. */
  limits?: Partial<Limits> | undefined
  /**
   * Bytes per second that it passes on for pairs of members that cannot meet otherwise, if it can be called from
   * outside; 0 for none. Default: 10 MB.
   */
  relay?: number | undefined
  /** Whether letters between members are passed on. Default: true. */
  forward?: boolean | undefined
  /** Kinds of statements that it takes beside those of every registry. */
  kinds?: readonly StatementKind[] | undefined
}

/** What a registrar emits. */
export interface RegistryEvents {
  /** Its records are there, and can be listed. It may not be found by others yet. */
  opened: []
  /** An instance was written to the log, or changed. */
  registered: [record: ServiceRecord]
  /** An instance was withdrawn by its owner. */
  withdrawn: [record: ServiceRecord]
  /** An instance was lost: its lease ended, and it did not come back in time. */
  gone: [record: ServiceRecord]
  /** An instance is kept although its lease ended, since most others ended then, too. */
  stale: [record: ServiceRecord]
  /** Something that may need a person's attention; the registrar goes on. */
  notice: [notice: SeaportError]
}

/** A registrar of the registry with this seed. Run several, anywhere, for a registry that survives any of them. */
class RegistryFace extends EventEmitter<RegistryEvents> {
  readonly #lifecycle = new Lifecycle({ start: () => this.#start(), stop: () => this.#stop() })
  /** The registry's public key: all that services and consumers need. */
  readonly publicKey: Buffer
  readonly #network: Network
  readonly #storage: Storage
  readonly #registrar: Registrar
  readonly #relayRate: number
  readonly #forwards: boolean | undefined
  #relay: Relay | null = null

  /** @throws BAD_KEY, OFFLINE, USAGE */
  constructor(options: RegistryOptions) {
    super()
    checkOptions(options)
    const { seed, dir, bootstrap, host, private: isPrivate, staleGrace, limits, kinds } = options
    const { relay = RELAY_RATE, forward: forwards } = options
    const keyPair = KeyPair(parseKey(seed, 'registry seed'))
    this.publicKey = keyPair.publicKey
    this.#forwards = forwards
    this.#network = Network.acquire({ bootstrap, host })
    this.#storage = new Storage({ dir: dir ?? (() => defaultDir(keyPair.publicKey, 'registry')) })
    this.#registrar = new Registrar({
      network: this.#network,
      keyPair,
      storage: this.#storage,
      private: isPrivate,
      limits,
      kinds,
      ...(staleGrace === undefined ? {} : { staleGrace })
    })
    this.#relayRate = relay
    for (const event of ['registered', 'withdrawn', 'gone', 'stale'] as const) {
      this.#registrar.on(event, (record: ServiceRecord) => this.emit(event, record))
    }
    for (const part of [this.#storage, this.#registrar]) {
      part.on('notice', (notice: SeaportError) => this.emit('notice', notice))
    }
  }

  /** The public key in hex. */
  get registryPublicKey(): string {
    return toHex(this.publicKey)
  }

  /**
   * Resolves once others can find it.
   *
   * @throws STORAGE_LOCKED, STORAGE_FAILED, PRIVATE_REGISTRY, LISTEN_FAILED, CLOSED
   */
  async setup(): Promise<this> {
    await this.#lifecycle.begin()
    return this
  }

  /** The instances that are known now, by role and version. */
  list(): readonly Instance[] {
    return this.#registrar.replica.directory.list()
  }

  /**
   * Leaves the network and closes the folder. May be called at any time, and more than once; a `setup()` that is under
   * way is rejected with CLOSED.
   */
  destroy(): Promise<void> {
    return this.#lifecycle.end()
  }

  /** `destroy()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /** What was written and refused, the peers, the instances and the logs, as numbers. */
  getStats() {
    const { stats, replica } = this.#registrar
    return {
      ...stats,
      peers: replica.peering.peers.size,
      instances: replica.directory.size,
      logs: replica.logs(),
      forwarding: { ...forwarderOf(replica).stats },
      ...(this.#relay && { relay: { ...this.#relay.stats } })
    }
  }

  async #start() {
    await this.#storage.ready()
    await this.#registrar.recallMode()
    await this.#lifecycle.unlessDestroyed(this.#network.ready())
    const { fault } = this.#network
    if (fault) this.emit('notice', fault)
    await this.#lifecycle.unlessDestroyed(this.#registrar.ready())
    forwarderOf(this.#registrar.replica, this.#forwards)
    await this.#openRelay()
    this.emit('opened')
    if (!this.#network.isAlone) return
    await this.#lifecycle.unlessDestroyed(this.#network.reached())
    await this.#lifecycle.unlessDestroyed(this.#registrar.replica.peering.announceNow())
  }

  /** Who is on loopback alone is met by everybody who is there. */
  async #openRelay() {
    if (this.#relayRate === 0 || this.#network.host === LOOPBACK) return
    this.#relay = new Relay({ dht: this.#network.dht, rate: this.#relayRate })
    this.#relay.on('offer', (offer) => this.#registrar.offerRelay(offer))
    this.#relay.on('notice', (notice) => this.emit('notice', notice))
    await this.#relay.ready()
  }

  async #stop() {
    await this.#network.release(async () => {
      await this.#relay?.close()
      await this.#registrar.close()
      await this.#storage.close()
    })
  }
}

export interface Registry extends RegistryFace {}

/** Makes a registrar; `new` works as well, and so does `extends`. */
export const Registry: Callable<[options: RegistryOptions], Registry> = callable(
  'Registry',
  RegistryFace
)
