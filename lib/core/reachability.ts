import { EventEmitter } from 'node:events'
import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { declareReachable, pingFromElsewhere } from './dht-node.js'
import type { Address, HyperDHT } from './holepunch.js'

export interface ReachabilityOptions {
  dht: HyperDHT
  /** Whether it is known already if others can call us. Then nothing is changed, and nodes are asked only if they are there. */
  isKnown?: boolean
  /** The addresses of this machine. */
  hosts?: () => Set<string>
}

/** What one node of the DHT says of us. */
interface View {
  /** The address that it sees us under. */
  seenAs: Address
  /** Where a packet from it arrived, at the port that takes calls and had sent it nothing. */
  reachedAt: Address | null
}

/** How long the others may take after the first node has answered, in ms. */
const STRAGGLERS_MS = 100

/**
 * Whether others can call us, in a private DHT. HyperDHT takes itself for firewalled until a few nodes
 * have told it otherwise. In a private DHT there may be one node and no more: then two processes of one
 * LAN would punch holes, give up for want of evidence, and now and then cut the direct path that they had
 * just found (measured: half of the connections were lost on loopback, nearly all between hosts). So all
 * nodes that are named are asked: who is seen under an address of its own, and gets a packet at a port
 * that sent none, has nothing in between. Emits `answer` (an Address: the first time that a node answers)
 * and `change` when it turned out otherwise than it was taken for.
 */
export class Reachability extends EventEmitter<{ answer: [node: Address]; change: [] }> {
  readonly #dht: HyperDHT
  readonly #isKnown: boolean
  readonly #hosts: () => Set<string>
  readonly #views = new Map<string, View>()
  #open: Address | null = null
  /** Called once enough is known. What other nodes say later may still change it. */
  #ondecided: () => void = () => {}

  constructor({ dht, isKnown = false, hosts = ownAddresses }: ReachabilityOptions) {
    super()
    this.#dht = dht
    this.#isKnown = isKnown
    this.#hosts = hosts
    // An answer to what was sent from another port makes HyperDHT doubt at which address we can be called.
    dht.on('nat-update', () => {
      const open = this.#open
      if (open && (dht.host !== open.host || dht.port !== open.port)) declareReachable(dht, open)
    })
  }

  /**
   * Asks all of them at once. Resolves soon after the first has answered, or when none does; what comes
   * later counts too. Never rejects.
   */
  async ask(nodes: readonly Address[]) {
    const asked = nodes.map((node) => this.#ask(node))
    await Promise.any(asked.map(({ first }) => first)).catch(() => {})
    const over = new AbortController()
    const late = sleep(STRAGGLERS_MS, undefined, { signal: over.signal }).catch(() => {})
    const decided = new Promise<void>((resolve) => {
      this.#ondecided = resolve
      this.#judge()
    })
    await Promise.race([Promise.all(asked.map(({ all }) => all)), decided, late])
    over.abort()
  }

  /** Forgets all answers: they are of another network. */
  forget() {
    this.#views.clear()
    if (this.#open) declareReachable(this.#dht, null)
    this.#open = null
  }

  #ask(node: Address): { first: Promise<void>; all: Promise<unknown> } {
    const first = this.#dht.ping(node).then(({ to }) => this.#onview(node, to))
    // The first ping does not show that others can call us: a firewall lets the answer in since we have sent something.
    const second = this.#dht.firewalled
      ? pingFromElsewhere(this.#dht, node).then(({ to }) => this.#onreached(node, to))
      : first
    const all = Promise.allSettled([first, second])
    return { first, all }
  }

  #onview(node: Address, seenAs: Address) {
    const before = this.#views.get(nameOf(node))
    this.#views.set(nameOf(node), { seenAs, reachedAt: before?.reachedAt ?? null })
    this.emit('answer', node)
    this.#judge()
  }

  #onreached(node: Address, reachedAt: Address) {
    const { seenAs = reachedAt } = this.#views.get(nameOf(node)) ?? {}
    this.#views.set(nameOf(node), { seenAs, reachedAt })
    this.#judge()
  }

  #judge() {
    if (this.#isKnown) return this.#ondecided()
    const open = this.#openAt()
    const own = this.#hosts()
    const isBehindRouter = [...this.#views.values()].some(({ seenAs }) => !own.has(seenAs.host))
    if (open || isBehindRouter) this.#ondecided()
    if ((this.#open === null) === (open === null)) return
    this.#open = open
    declareReachable(this.#dht, open)
    this.emit('change')
  }

  /** Where all can call us, or null. What nodes on this machine say counts only if no other answers. */
  #openAt(): Address | null {
    const own = this.#hosts()
    const all = [...this.#views]
    const others = all.filter(([name]) => !own.has(name.split(':')[0] ?? ''))
    const views = (others.length > 0 ? others : all).map(([, view]) => view)
    if (!views.every(({ seenAs }) => own.has(seenAs.host))) return null
    return views.find(({ reachedAt }) => reachedAt)?.reachedAt ?? null
  }
}

/** The addresses of this machine, in a form that compares. */
export function hostsNow(): string {
  return [...ownAddresses()].filter(isIPv4).sort().join()
}

/** The addresses of this machine. */
function ownAddresses(): Set<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return new Set(all.map(({ address }) => address))
}

function nameOf({ host, port }: Address): string {
  return `${host}:${port}`
}
