import { toHex } from '../core/keys.js'
import type { Link } from './link.js'

/** From so many of the links that may be, idle ones give way to new ones. */
const CROWDED = 3 / 4

/**
 * Which links a service has, and which of them gives way when there are many. Neither a key nor an address has a limit
 * of its own, since one key may be all processes of a user, and one address all of a NAT. But from three quarters full
 * on, each new link ends an idle one: of the key that has most, or, where no key has two, of the address that has most.
 * A link that ends so is made again when it is needed.
 */
export class Admission {
  readonly #maxLinks: number
  readonly #links = new Set<Link>()
  readonly #byKey = new Map<string, Set<Link>>()
  readonly #byAddress = new Map<string, Set<Link>>()

  constructor(maxLinks: number) {
    this.#maxLinks = maxLinks
  }

  get links(): ReadonlySet<Link> {
    return this.#links
  }

  /** Whether another link can be taken, if `makeRoom` is called then. */
  get hasRoom(): boolean {
    return this.#links.size < this.#maxLinks || this.#idlest(this.#links) !== null
  }

  /** The link that is to end before another is taken; null if none has to, or none can. */
  get surplus(): Link | null {
    if (this.#links.size < this.#maxLinks * CROWDED) return null
    const link = this.#idlestOfLargest(this.#byKey) ?? this.#idlestOfLargest(this.#byAddress)
    if (link || this.#links.size < this.#maxLinks) return link
    return this.#idlest(this.#links)
  }

  add(link: Link) {
    const key = toHex(link.remotePublicKey)
    // Of a relayed one it is the relay's, which says nothing of who comes.
    const address = link.path === 'relayed' ? null : link.connection.rawStream.remoteHost
    this.#links.add(link)
    join(this.#byKey, key, link)
    if (address !== null) join(this.#byAddress, address, link)
    link.on('close', () => {
      this.#links.delete(link)
      leave(this.#byKey, key, link)
      if (address !== null) leave(this.#byAddress, address, link)
    })
  }

  /** Of the groups with two links or more, the largest that has an idle one gives it. */
  #idlestOfLargest(groups: ReadonlyMap<string, Set<Link>>): Link | null {
    let found: Link | null = null
    let size = 1
    for (const group of groups.values()) {
      if (group.size <= size) continue
      const link = this.#idlest(group)
      if (!link) continue
      found = link
      size = group.size
    }
    return found
  }

  #idlest(links: Iterable<Link>): Link | null {
    let found: Link | null = null
    let earliest = Number.POSITIVE_INFINITY
    for (const link of links) {
      if (link.size > 0) continue
      const { idleSince } = link
      if (idleSince < earliest) {
        found = link
        earliest = idleSince
      }
    }
    return found
  }
}

function join(groups: Map<string, Set<Link>>, name: string, link: Link) {
  const group = groups.get(name)
  if (group) group.add(link)
  else groups.set(name, new Set([link]))
}

function leave(groups: Map<string, Set<Link>>, name: string, link: Link) {
  const group = groups.get(name)
  group?.delete(link)
  if (group?.size === 0) groups.delete(name)
}
