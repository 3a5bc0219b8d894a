import { crypto } from '../core/holepunch.js'

/** A host and its rank for an app. A lower rank is better. */
export interface Ranked {
  host: string
  rank: number
}

/** How many bytes of the hash are compared. A number holds an integer of 48 bits exactly. */
const RANK_BYTES = 6

/**
 * The order of hosts for each app, by rendezvous hashing. Every host computes the same order, and a host that comes or
 * goes does not move others. Orders are kept, because hashing all pairs takes ten times as long as all decisions that
 * follow from them.
 */
export class Ranks {
  readonly #hosts: readonly string[]
  readonly #orders: Map<string, readonly Ranked[]>

  /**
   * @param hosts keys in hex, of all hosts that there are
   * @param former ranks that were computed for an earlier set of hosts, and are reused where they still hold
   */
  constructor(hosts: Iterable<string>, former?: Ranks) {
    this.#hosts = [...new Set(hosts)].sort()
    this.#orders = former?.fits(this.#hosts) ? former.#orders : new Map()
    if (former && this.#orders.size === 0) this.#follow(former)
  }

  /** The hosts for an app, the best first. */
  of(app: string): readonly Ranked[] {
    const known = this.#orders.get(app)
    if (known) return known
    const order = this.#hosts.map((host) => ({ host, rank: rankOf(app, host) })).sort(byRank)
    this.#orders.set(app, order)
    return order
  }

  /** Forgets apps that there are no more. */
  keep(apps: ReadonlySet<string>) {
    for (const app of this.#orders.keys()) if (!apps.has(app)) this.#orders.delete(app)
  }

  /** Whether these are the hosts of this order. They have to be sorted. */
  fits(hosts: readonly string[]): boolean {
    return hosts.length === this.#hosts.length && hosts.every((host, i) => host === this.#hosts[i])
  }

  /** Takes over earlier orders: without hosts that have left, and with those that have come. */
  #follow(former: Ranks) {
    const [before, now] = [new Set(former.#hosts), new Set(this.#hosts)]
    const come = this.#hosts.filter((host) => !before.has(host))
    const hasLost = former.#hosts.some((host) => !now.has(host))
    for (const [app, order] of former.#orders) {
      const stayed = hasLost ? order.filter(({ host }) => now.has(host)) : order
      const added = come.map((host) => ({ host, rank: rankOf(app, host) }))
      this.#orders.set(app, added.length > 0 ? [...stayed, ...added].sort(byRank) : stayed)
    }
  }
}

/**
 * The first 48 bits of the BLAKE2b-256 hash of app and host. Names of apps have no line ends, so no two pairs give the
 * same text.
 */
function rankOf(app: string, host: string): number {
  return crypto.hash(Buffer.from(`${app}\n${host}`)).readUIntBE(0, RANK_BYTES)
}

function byRank(a: Ranked, b: Ranked): number {
  return a.rank - b.rank || (a.host < b.host ? -1 : 1)
}
