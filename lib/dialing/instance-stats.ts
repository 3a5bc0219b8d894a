import { Ejection, type EjectionOptions } from './ejection.js'
import { Load } from './load.js'

/** What is known here of one instance, from having dialed it. */
export class DialedInstance {
  /** Hex. */
  readonly servicePublicKey: string
  readonly key: Buffer
  readonly load: Load
  readonly ejection: Ejection

  constructor(servicePublicKey: string, options: EjectionOptions) {
    this.servicePublicKey = servicePublicKey
    this.key = Buffer.from(servicePublicKey, 'hex')
    this.load = new Load(options)
    this.ejection = new Ejection(options)
  }
}

/**
 * Bounds what is remembered: instances come and go for as long as the process runs, and nobody can tell which come
 * back.
 */
const MAX_INSTANCES = 4096

/** What is known here of each instance that was dialed. Several dialers may share it. */
export class InstanceStats {
  readonly #options: EjectionOptions
  readonly #stats = new Map<string, DialedInstance>()

  constructor(options: EjectionOptions = {}) {
    this.#options = options
  }

  /** @param servicePublicKey hex */
  of(servicePublicKey: string): DialedInstance {
    const known = this.#stats.get(servicePublicKey)
    if (known) return known
    const stat = new DialedInstance(servicePublicKey, this.#options)
    if (this.#stats.size >= MAX_INSTANCES) this.#forgetOldest()
    this.#stats.set(servicePublicKey, stat)
    return stat
  }

  #forgetOldest() {
    const [oldest] = this.#stats.keys()
    if (oldest !== undefined) this.#stats.delete(oldest)
  }
}
