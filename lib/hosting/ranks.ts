import { crypto } from '../core/holepunch.js'

/** A host, and how well it is placed for an app: lower is better. */
export interface Ranked {
  host: string
  rank: number
}

/** Bytes of the hash that are compared: an integer of 48 bits, which a number holds exactly. */
const RANK_BYTES = 6

/**
 * The rendezvous order of hosts for each app: every host computes the same, and one that comes or goes moves no
 * other. It is kept, since hashing all pairs takes ten times as long as all decisions that follow from it.
 */
export class Ranks {
  readonly #hosts: readonly string[]
  readonly #orders: Map<string, readonly Ranked[]>

  /**
   * @param hosts keys in hex, of all hosts that there are
   * @param former what was computed for other hosts, and is taken over where it still holds
   */
  constructor(hosts: Iterable<string>, former?: Ranks) {
    this.#hosts = [...new Set(hosts)].sort()
    this.#orders = former?.fits(this.#hosts) ? former.#orders : new Map()
    if (former && this.#orders.size === 0) this.#follow(former)
  }

  /** Best first. */
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

  /** Whether these hosts are ours; they are sorted. */
  fits(hosts: readonly string[]): boolean {
    return hosts.length === this.#hosts.length && hosts.every((host, i) => host === this.#hosts[i])
  }

  /** Takes over the orders of others: without who left, and with who came. */
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

/** BLAKE2b-256 of app and host, its first 48 bits. A name of an app has no line end, so no two pairs are one text. */
function rankOf(app: string, host: string): number {
  return crypto.hash(Buffer.from(`${app}\n${host}`)).readUIntBE(0, RANK_BYTES)
}

function byRank(a: Ranked, b: Ranked): number {
  return a.rank - b.rank || (a.host < b.host ? -1 : 1)
}
