import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { forward } from '../../core/forward.js'
import { ReadyResource, type SecretStream } from '../../core/holepunch.js'
import { checkKeyPair, KeyPair, toHex } from '../../core/keys.js'
import { Network, type NetworkOptions, networkId } from '../../core/network.js'
import type { RelayOffer } from '../../core/relay-offer.js'
import { keepProcessKey } from '../log/own-keys.js'
import { defaultDir, nothingKept, Storage, type StorageFailure } from '../log/storage.js'
import { type Wanted, withAdvice } from '../swarm/denial.js'
import { Membership } from '../swarm/membership.js'
import type { PeeringOptions } from '../swarm/peering.js'
import type { StatementKind } from '../trust/statement-kind.js'
import { StatementKinds } from '../trust/statement-kinds.js'
import { Replica } from './replica.js'

/** What each member of a registry is told. */
export interface MemberOptions extends NetworkOptions {
  /** Hex, z-base-32 or 32 bytes. */
  registryPublicKey: Buffer | string
  /** Folder of this process's replica and keys. Default: the user's data folder. */
  dir?: string | undefined
  /** Whether letters between others are passed on. Default: true. */
  forward?: boolean | undefined
}

export interface ParticipantOptions extends NetworkOptions {
  /** The registry's public key. */
  registry: Buffer
  /** Folder of its replica. Default: the user's data folder, by registry and verb. */
  dir?: string | undefined
  /** The name of its folder inside the user's data folder. */
  verb: string
  /** Default: a replica. */
  as?: PeeringOptions['as']
  /** Kinds of statements that it reads beside those of every registry. */
  kinds?: readonly StatementKind[] | undefined
  /** The process key. Default: the one that is kept for this registry, or in the chosen folder. */
  keyPair?: KeyPair | undefined
}

const AS = 'replica'
/** How long whoever has a copy waits for others at first, in ms. */
const COPY_PATIENCE_MS = 500

/**
 * This process as a member of one registry: its key, its connections and its replica, shared by all
 * services and consumers in it. Who acquires it must release it; the last one closes it. Emits
 * `denied` (a SeaportError: the registry does not let us in) and `notice` (a SeaportError).
 */
export class Participant extends ReadyResource {
  static readonly #shared = new Map<string, Participant>()

  readonly network: Network
  readonly membership: Membership
  readonly storage: Storage
  readonly replica: Replica

  readonly #dir: string | undefined
  #ownKeyPair: KeyPair | null
  /** Why that key is of this run only; null if it is kept. */
  #keyLack: SeaportError | null = null
  #users = 1
  /** Whether a damaged store was set aside in this run. */
  #isRepaired = false

  /** @throws BAD_KEY, OFFLINE, USAGE */
  static acquire(options: ParticipantOptions): Participant {
    const { registry, bootstrap, host, dir, as = AS, kinds = [], keyPair } = options
    const process = keyPair && toHex(checkKeyPair(keyPair).publicKey)
    const types = kinds.map(({ type }) => type)
    const network = networkId({ bootstrap, host })
    const id = JSON.stringify([toHex(registry), network, dir, as, types, process])
    const shared = Participant.#shared.get(id)
    if (shared && shared.#users > 0 && !shared.closing) {
      shared.#users++
      return shared
    }
    const participant = new Participant(options)
    Participant.#shared.set(id, participant)
    return participant
  }

  private constructor({
    registry,
    bootstrap,
    host,
    dir,
    verb,
    as = AS,
    kinds,
    keyPair
  }: ParticipantOptions) {
    super()
    // Each service and consumer of this process listens.
    this.setMaxListeners(0)
    this.network = Network.acquire({ bootstrap, host })
    this.#dir = dir
    this.#ownKeyPair = keyPair ?? null
    this.storage = new Storage({
      dir: dir ?? (() => defaultDir(registry, verb)),
      isCopy: true
    })
    this.membership = new Membership(registry, new StatementKinds(kinds))
    this.replica = new Replica({
      network: this.network,
      registry,
      storage: this.storage,
      membership: this.membership,
      as
    })
    forward(this.storage, this, ['notice'])
    forward(this.replica, this, ['notice'])
    this.storage.on('failed', (failure: StorageFailure) => {
      this.#onfailed(failure).catch((notice) => this.emit('notice', notice))
    })
    this.replica.on('denied', (...denial) => this.emit('denied', ...denial))
  }

  /** The process key, to which grants for this process are made. */
  get keyPair(): KeyPair {
    if (!this.#ownKeyPair) throw SeaportError.CLOSED('the participant is not open')
    return this.#ownKeyPair
  }

  /** A denial, with what would help this process. */
  withAdvice(denial: SeaportError, wanted: Pick<Wanted, 'consume'> = {}): SeaportError {
    return withAdvice(denial, { key: this.keyPair.publicKey, lack: this.#keyLack, ...wanted })
  }

  /** @throws STORAGE_FAILED */
  override async _open() {
    try {
      this.#ownKeyPair ??= await this.#processKey()
      this.membership.addIdentity(this.#ownKeyPair)
      await this.storage.ready()
      await this.network.ready()
      const { fault } = this.network
      if (fault) this.emit('notice', fault)
      await this.replica.ready()
    } catch (error) {
      await this.#closeAll()
      throw error
    }
  }

  override async _close() {
    await this.#closeAll()
  }

  /**
   * Resolves when the directory can be used by who goes on and hears of news: when it is synced; or at once from the copy
   * on disk, where nobody is there who may know more.
   */
  async usable() {
    const { directory, peering } = this.replica
    const patience = new AbortController()
    const wait = this.network.isAlone ? 0 : COPY_PATIENCE_MS
    const late = sleep(wait, undefined, { signal: patience.signal }).catch(() => {})
    await Promise.race([this.replica.synced(), late])
    patience.abort()
    if (directory.size === 0 || peering.peers.size > 0) await this.replica.synced()
  }

  /** A link to a service, in the name of this process. */
  connect(servicePublicKey: Buffer, relay?: RelayOffer): SecretStream {
    return this.network.connect(servicePublicKey, this.keyPair, relay?.key)
  }

  /** A relay for links that cannot be made otherwise, if a registrar offers one. */
  get relay(): RelayOffer | null {
    const { relays } = this.replica.peering
    return relays[Math.floor(Math.random() * relays.length)] ?? null
  }

  /** Where a service says that it can be reached directly. */
  addressesOf(servicePublicKey: Buffer): readonly string[] {
    return this.replica.directory.get(toHex(servicePublicKey))?.direct ?? []
  }

  /**
   * Gives back what `acquire` gave.
   *
   * @param goodbyes what is to be closed before, and may have to tell the DHT
   */
  async release(goodbyes: () => Promise<void> = async () => {}) {
    if (--this.#users > 0) return goodbyes()
    await this.network.release(async () => {
      await goodbyes()
      await this.close()
    })
  }

  /**
   * Goes on without what is on the disk: others have it. What is damaged is set aside once; whatever else fails is left
   * alone, and the rest of this run is in memory.
   */
  async #onfailed({ reason, isDamaged }: StorageFailure) {
    const { storage, replica } = this
    const isRepairable = isDamaged && !this.#isRepaired
    this.#isRepaired = true
    try {
      await replica.move(() => (isRepairable ? storage.reopen(true) : this.#workInMemory(reason)))
    } catch (cause) {
      await replica.move(() => this.#workInMemory(cause as SeaportError))
    }
  }

  /** A public registry asks for no certain key, so that one of this run is as good there. */
  async #processKey(): Promise<KeyPair> {
    try {
      return await keepProcessKey(this.replica.registry, this.#dir)
    } catch (error) {
      this.#keyLack = error as SeaportError
      const { text } = this.#keyLack
      this.emit(
        'notice',
        SeaportError.STORAGE_FAILED(
          `${text}. This run has a key of its own, which is granted nothing`
        )
      )
      return KeyPair()
    }
  }

  async #workInMemory(error: SeaportError) {
    this.emit('notice', nothingKept(error))
    await this.storage.workInMemory()
  }

  async #closeAll() {
    await this.replica.close()
    await this.storage.close()
  }

  /** Nobody was found in time who knows the directory. */
  notFound(): SeaportError {
    const { fault } = this.network
    return SeaportError.REGISTRY_NOT_FOUND(
      fault?.text ??
        'neither a registrar nor a replica of this registry answered in time, and the DHT does; is the key right, and the DHT the same? ' +
          'A registrar behind a router is met by chance only from another that gives each call another port: run one where it can be called',
      fault
    )
  }
}
