import { createHmac, randomBytes } from 'node:crypto'
import type { Directory, Instance } from '../registry/replica/directory.js'
import type { Principal } from './access.js'

export interface InstanceViewsOptions {
  directory: Pick<Directory, 'list'>
  /**
   * What ids are made with. Gateways with the same secret make the same ids, so that a link of one leads to the
   * same instance at another. Default: a random one.
   */
  secret?: Buffer | undefined
}

/** An instance as it is shown to somebody who may not reach everything. */
export interface GuestView extends Omit<Instance, 'servicePublicKey' | 'direct' | 'reason'> {
  id: string
}

const SECRET_BYTES = 32
/** In hex digits: enough that nobody guesses one, and shorter than a key, so that the two are told apart. */
const ID_LENGTH = 32

/**
 * What viewers are shown of instances. Who may reach everything sees the directory. Anybody else gets an `id` in
 * place of an instance's key, no addresses, and not what is wrong with it: the id leads to the instance through a gateway, and nowhere else.
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
    const { servicePublicKey, direct: _, reason: __, ...shown } = instance
    return { ...shown, id: this.idOf(servicePublicKey) }
  }

  /** What a principal knows an instance by: its key, or its id. */
  nameOf(key: string, principal: Principal): string {
    return principal.mayReachAll ? key : this.idOf(key)
  }

  /** The key of the instance that has this id; null if none of those that are there has it. */
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

  /** What an instance is called where its key is not shown. */
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

  /** Makes the ids of the instances that are there now, and forgets those of all others. */
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

/** Whether it is written as an id, and not as a key. */
export function isInstanceId(text: string): boolean {
  return text.length === ID_LENGTH && /^[0-9a-f]+$/.test(text)
}
