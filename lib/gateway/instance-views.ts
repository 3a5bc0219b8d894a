import { createHmac, randomBytes } from 'node:crypto'
import type { Directory, Instance } from '../registry/replica/directory.js'
import type { Principal } from './access.js'

export interface InstanceViewsOptions {
  directory: Pick<Directory, 'list'>
  /**
   * The secret that ids are derived with. Gateways with the same secret make the same ids, so that a URL of one leads
   * to the same instance at another. Default: a random one.
   */
  secret?: Buffer | undefined
}

/** An instance as it is shown to somebody who may not reach everything. */
export interface GuestView
  extends Omit<Instance, 'servicePublicKey' | 'direct' | 'reason' | 'app'> {
  id: string
}

const SECRET_BYTES = 32
/**
 * The length of an id in hex digits: too long to be guessed, and shorter than a key, so that the two can be told apart.
 */
const ID_LENGTH = 32

/**
 * Decides what viewers are shown of instances. A principal who may reach everything sees the directory as it is.
 * Anybody else gets an `id` in place of an instance's key, no addresses, no host, and no reason of a failure. The id leads to
 * the instance through a gateway, and nowhere else.
 */
export class InstanceViews {
  readonly #directory: InstanceViewsOptions['directory']
  readonly #secret: Buffer
  #ids = new Map<string, string>()
  #keys = new Map<string, string>()
  #isComplete = false

  constructor({ directory, secret = randomBytes(SECRET_BYTES) }: InstanceViewsOptions) {
    this.#directory = directory
    this.#secret = secret
  }

  /** An instance as a principal may see it. */
  of(instance: Instance, principal: Principal): Instance | GuestView {
    if (principal.mayReachAll) return instance
    const { servicePublicKey, direct: _, reason: __, app: ___, ...shown } = instance
    return { ...shown, id: this.idOf(servicePublicKey) }
  }

  /** The name by which a principal knows an instance: its key, or its id. */
  nameOf(key: string, principal: Principal): string {
    return principal.mayReachAll ? key : this.idOf(key)
  }

  /** The key of the listed instance with this id; null if there is none. */
  keyOf(id: string): string | null {
    const known = this.#keys.get(id)
    if (known !== undefined || this.#isComplete) return known ?? null
    this.#readAll()
    return this.#keys.get(id) ?? null
  }

  /** Called when the directory has changed. */
  forget() {
    this.#isComplete = false
  }

  /** The id of an instance. */
  idOf(key: string): string {
    const known = this.#ids.get(key)
    if (known !== undefined) return known
    const id = createHmac('sha256', this.#secret)
      .update('hyperseaport instance')
      .update(key)
      .digest('hex')
      .slice(0, ID_LENGTH)
    this.#ids.set(key, id)
    this.#keys.set(id, key)
    return id
  }

  /** Makes the ids of the listed instances, and forgets all others. */
  #readAll() {
    const before = this.#ids
    this.#ids = new Map()
    this.#keys = new Map()
    for (const { servicePublicKey: key } of this.#directory.list()) {
      const id = before.get(key)
      if (id === undefined) this.idOf(key)
      else {
        this.#ids.set(key, id)
        this.#keys.set(id, key)
      }
    }
    this.#isComplete = true
  }
}

/** Whether a text has the form of an id, and not of a key. */
export function isInstanceId(text: string): boolean {
  return text.length === ID_LENGTH && /^[0-9a-f]+$/.test(text)
}
