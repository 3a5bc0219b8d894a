import { ReadyResource } from '../holepunch.js'
import { KeyPair, toHex } from '../keys.js'
import { Network, type NetworkOptions } from '../network.js'
import type { PeeringOptions } from './peering.js'
import { Replica } from './replica.js'
import { defaultDir, Storage } from './storage.js'

export interface ParticipantOptions extends NetworkOptions {
  /** The registry's public key. */
  registry: Buffer
  /** Folder of its replica. Default: the user's data folder, by registry and verb. */
  dir?: string | undefined
  /** What it is called in the default folder. */
  verb: string
  as?: PeeringOptions['as']
}

/**
 * This process as a member of one registry: its key, its connections and its replica, shared by all
 * services and consumers in it. Who acquires it must release it; the last one closes it. Emits
 * `notice` (a SeaportError).
 */
export class Participant extends ReadyResource {
  static readonly #shared = new Map<string, Participant>()

  /** The process key. */
  readonly keyPair = KeyPair()
  readonly network: Network
  readonly storage: Storage
  readonly replica: Replica

  #users = 1

  /** @throws OFFLINE, USAGE */
  static acquire(options: ParticipantOptions): Participant {
    const { registry, bootstrap, host, dir, as } = options
    const id = JSON.stringify([toHex(registry), bootstrap, host, dir, as])
    const shared = Participant.#shared.get(id)
    if (shared && !shared.closing) {
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
    as = 'replica'
  }: ParticipantOptions) {
    super()
    this.network = Network.acquire({ bootstrap, host })
    this.storage = new Storage({ dir: dir ?? defaultDir(registry, verb), fallback: true })
    this.replica = new Replica({
      network: this.network,
      registry,
      storage: this.storage,
      keyPair: this.keyPair,
      as
    })
    this.replica.on('notice', (notice) => this.emit('notice', notice))
  }

  /** @throws STORAGE_FAILED */
  override async _open() {
    try {
      await this.storage.ready()
      await this.network.ready()
      await this.replica.ready()
    } catch (error) {
      await this.#closeAll()
      throw error
    }
  }

  override async _close() {
    await this.#closeAll()
  }

  /** Gives back what `acquire` gave. */
  async release() {
    if (--this.#users === 0) await this.close()
  }

  async #closeAll() {
    await this.replica.close()
    await this.storage.close()
    await this.network.release()
  }
}
