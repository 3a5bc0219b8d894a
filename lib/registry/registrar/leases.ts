import type { Peer } from '../swarm/peer.js'
import type { ServiceRecord } from '../trust/record.js'

export interface HeldLease {
  peer: Peer
  record: ServiceRecord
  /** The id of the request that it was given for. */
  id: number
}

/** The leases that a registrar gave, by service key, and how many each participant holds. */
export class Leases extends Map<string, HeldLease> {
  readonly #counts = new Map<string, number>()

  /** @param holder its swarm key, over however many connections */
  heldBy(holder: string): number {
    return this.#counts.get(holder) ?? 0
  }

  override set(key: string, lease: HeldLease): this {
    this.delete(key)
    this.#counts.set(lease.peer.key, this.heldBy(lease.peer.key) + 1)
    return super.set(key, lease)
  }

  override delete(key: string): boolean {
    const holder = this.get(key)?.peer.key
    if (holder === undefined) return false
    const left = this.heldBy(holder) - 1
    if (left === 0) this.#counts.delete(holder)
    else this.#counts.set(holder, left)
    return super.delete(key)
  }
}
