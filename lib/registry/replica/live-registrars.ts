import { SeaportError } from '../../core/errors.js'
import type { Peer } from '../swarm/peer.js'
import type { Statement } from '../trust/statement.js'

/** Registrars whose last ping is remembered. Of one that crashes again and again on an empty disk, each is another one. */
const MAX_HEARD = 1024

/** The registrars that ping us, the log that each writes, and when each was last heard of. */
export class LiveRegistrars {
  readonly #live = new Map<string, { peer: Peer; logKey: string }>()
  /** By `Date.now()`, and by `performance.now()`. Who pinged last comes last. */
  readonly #heard = new Map<string, { at: number; since: number }>()

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
    return this.#heard.get(registrarKey)?.at ?? null
  }

  /** The same by `performance.now()`; -Infinity if not in this run. */
  heardSince(registrarKey: string): number {
    return this.#heard.get(registrarKey)?.since ?? Number.NEGATIVE_INFINITY
  }

  /** Whether it pinged in the last `ms`, whatever became of the clock. */
  wasHeardWithin(ms: number, registrarKey: string): boolean {
    return performance.now() - this.heardSince(registrarKey) < ms
  }

  /** Takes a ping of a registrar. */
  hear(peer: Peer, logKey: string) {
    this.#live.set(peer.key, { peer, logKey })
    this.#heard.delete(peer.key)
    this.#heard.set(peer.key, { at: Date.now(), since: performance.now() })
    if (this.#heard.size <= MAX_HEARD) return
    const oldest = [...this.#heard.keys()].find((key) => !this.#live.has(key))
    if (oldest !== undefined) this.#heard.delete(oldest)
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
