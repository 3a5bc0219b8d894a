import { Ejection, type EjectionOptions } from './ejection.js'
import { Load } from './load.js'

/** What is known here of one instance, from having dialed it. */
export class Acquaintance {
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

/** Instances come and go for as long as the process runs; nothing tells for sure which come back. */
const MAX_ACQUAINTANCES = 4096

/** What was experienced with each instance. Several dialers may share it. */
export class Experience {
  readonly #options: EjectionOptions
  readonly #acquaintances = new Map<string, Acquaintance>()

  constructor(options: EjectionOptions = {}) {
    this.#options = options
  }

  /** @param servicePublicKey hex */
  of(servicePublicKey: string): Acquaintance {
    const known = this.#acquaintances.get(servicePublicKey)
    if (known) return known
    const acquaintance = new Acquaintance(servicePublicKey, this.#options)
    if (this.#acquaintances.size >= MAX_ACQUAINTANCES) this.#forgetOldest()
    this.#acquaintances.set(servicePublicKey, acquaintance)
    return acquaintance
  }

  #forgetOldest() {
    const [oldest] = this.#acquaintances.keys()
    if (oldest !== undefined) this.#acquaintances.delete(oldest)
  }
}
