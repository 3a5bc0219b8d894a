import { SeaportError } from '../../core/errors.js'
import type { Limits } from './limits.js'

/** Offences after which a key is not listened to for a while; one may be a mistake. */
const MAX_OFFENCES = 3
/** Offenders remembered; the oldest are forgotten first. */
const MAX_OFFENDERS = 4096
const OFFENCES = new Set(['NOT_A_MEMBER', 'BAD_SIGNATURE', 'BAD_MESSAGE'])

/** Decides whose connections are worth a hello: not too many of one address, and no known impostor's. */
export class ConnectionGate {
  readonly #limits: Limits
  readonly #now: () => number
  readonly #connections = new Map<string, number>()
  readonly #offenders = new Map<string, { offences: number; until: number }>()

  constructor(limits: Limits, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
  }

  /** Impostors that are remembered. */
  get offenders(): number {
    return this.#offenders.size
  }

  /** Whether a key broke the rules MAX_OFFENCES times, each soon after the one before: it is not worth an answer. */
  isBarred(key: string): boolean {
    const offender = this.#offenders.get(key)
    if (!offender) return false
    if (offender.until <= this.#now()) this.#offenders.delete(key)
    return offender.until > this.#now() && offender.offences >= MAX_OFFENCES
  }

  /**
   * Counts a connection, until the function that this returns is called.
   *
   * @throws LIMIT_REACHED
   */
  admit(address: string): () => void {
    const connections = this.#connections.get(address) ?? 0
    if (connections >= this.#limits.connectionsPerAddress) {
      throw SeaportError.LIMIT_REACHED(
        `${connections} connections come from this address, and no more are taken`
      )
    }
    this.#connections.set(address, connections + 1)
    return () => this.#leave(address)
  }

  /** Remembers who broke the rules. Who merely lacks a grant may get one. */
  report(key: string, { code }: SeaportError) {
    if (!OFFENCES.has(code)) return
    const known = this.#offenders.get(key)
    const isRecent = known !== undefined && known.until > this.#now()
    this.#offenders.delete(key)
    this.#offenders.set(key, {
      offences: (isRecent ? known.offences : 0) + 1,
      until: this.#now() + this.#limits.memory
    })
    if (this.#offenders.size <= MAX_OFFENDERS) return
    const [oldest] = this.#offenders.keys()
    if (oldest !== undefined) this.#offenders.delete(oldest)
  }

  #leave(address: string) {
    const connections = (this.#connections.get(address) ?? 1) - 1
    if (connections === 0) this.#connections.delete(address)
    else this.#connections.set(address, connections)
  }
}
