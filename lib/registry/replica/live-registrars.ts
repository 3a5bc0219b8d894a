import { SeaportError } from '../../core/errors.js'
import type { Peer } from '../swarm/peer.js'
import type { Statement } from '../trust/statement.js'

/** The registrars that ping us, the log that each writes, and when each was last heard of. */
export class LiveRegistrars {
  readonly #live = new Map<string, { peer: Peer; logKey: string }>()
  readonly #heardAt = new Map<string, number>()
  /** The same by `performance.now()`. */
  readonly #heardSince = new Map<string, number>()

  get size(): number {
    return this.#live.size
  }

  get peers(): Peer[] {
    return [...this.#live.values()].map(({ peer }) => peer)
  }

  /** The connection and log of a registrar that pings us, by its swarm key. */
  get(registrarKey: string): { peer: Peer; logKey: string } | undefined {
    return this.#live.get(registrarKey)
  }

  /** When it last pinged, in ms since 1970; null if not in this run. */
  heardAt(registrarKey: string): number | null {
    return this.#heardAt.get(registrarKey) ?? null
  }

  /** The same by `performance.now()`; -Infinity if not in this run. */
  heardSince(registrarKey: string): number {
    return this.#heardSince.get(registrarKey) ?? Number.NEGATIVE_INFINITY
  }

  /** Whether it pinged in the last `ms`, whatever became of the clock. */
  wasHeardWithin(ms: number, registrarKey: string): boolean {
    return performance.now() - this.heardSince(registrarKey) < ms
  }

  /** Takes a ping of a registrar. */
  hear(peer: Peer, logKey: string) {
    this.#heardAt.set(peer.key, Date.now())
    this.#heardSince.set(peer.key, performance.now())
    this.#live.set(peer.key, { peer, logKey })
  }

  /** Returns the log that nobody pings for any more, null if the connection did not count. */
  lose(peer: Peer): string | null {
    const known = this.#live.get(peer.key)
    if (known?.peer !== peer) return null
    this.#live.delete(peer.key)
    return known.logKey
  }

  /**
   * Has a statement written. One registrar is enough, the others copy it; but all that are there are told at once.
   *
   * @throws REGISTRAR_NOT_FOUND, or what all of them refuse it with: NOT_GRANTED, CONFLICT, UNKNOWN_KIND…
   */
  async put(statement: Statement) {
    const answers = await Promise.allSettled(this.peers.map((peer) => peer.put(statement)))
    const given = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    if (given.some(({ code }) => code === '')) return
    const [refusal] = given
    if (refusal) throw SeaportError.remote(refusal.code, refusal.text)
    throw SeaportError.REGISTRAR_NOT_FOUND('no registrar answered, and only they write logs')
  }
}
