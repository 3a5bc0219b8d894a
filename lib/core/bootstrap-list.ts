import { lookup } from 'node:dns/promises'
import { isIPv4 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from './errors.js'
import type { Address } from './holepunch.js'

/** How long names may take to resolve before the nodes that are known do. */
const RESOLVE_PATIENCE_MS = 2000
const MAX_PORT = 65535

export interface BootstrapListOptions {
  /** Gives the IPv4 addresses of a name. Default: what this machine's resolver says. */
  resolve?: (name: string) => Promise<string[]>
  /** How long names may take, in ms. */
  patience?: number
}

/**
 * The nodes that a private DHT is entered by, as somebody named them: by address, or by a name whose
 * addresses may change with the network. HyperDHT itself pings addresses only.
 */
export class BootstrapList {
  readonly named: readonly Address[]
  /** What the resolver said of a name that has no address. */
  readonly #failures = new Map<string, string>()
  readonly #resolve: (name: string) => Promise<string[]>
  readonly #patience: number
  /** What each name stood for when it was last resolved. */
  readonly #known = new Map<string, string[]>()
  readonly #asking = new Map<string, Promise<void>>()

  constructor(
    named: readonly Address[],
    { resolve = resolveName, patience = RESOLVE_PATIENCE_MS }: BootstrapListOptions = {}
  ) {
    this.named = named
    this.#resolve = resolve
    this.#patience = patience
    for (const { host } of named) if (isIPv4(host)) this.#known.set(host, [host])
  }

  /** Whether there is a name whose address is not known. */
  get isIncomplete(): boolean {
    return this.unresolved.size > 0
  }

  /** Names that have no address here, and why not: the resolver's code, or that it has not answered. */
  get unresolved(): Map<string, string> {
    const names = this.named.map(({ host }) => host).filter((host) => !this.#known.has(host))
    return new Map(names.map((name) => [name, this.#failures.get(name) ?? 'no answer yet']))
  }

  /** The nodes whose addresses are known, each once. */
  get nodes(): Address[] {
    const all = this.named.flatMap(({ host, port }) =>
      (this.#known.get(host) ?? []).map((address) => ({ host: address, port }))
    )
    return [...new Map(all.map((node) => [`${node.host}:${node.port}`, node])).values()]
  }

  /** Asks for all names at once. Resolves with what is known when all have answered, or after a while. Never rejects. */
  async resolve(): Promise<Address[]> {
    const names = new Set(this.named.map(({ host }) => host).filter((host) => !isIPv4(host)))
    if (names.size === 0) return this.nodes
    const answered = Promise.all([...names].map((name) => this.#ask(name)))
    const patience = new AbortController()
    const late = sleep(this.#patience, undefined, { signal: patience.signal }).catch(() => {})
    await Promise.race([answered, late])
    patience.abort()
    return this.nodes
  }

  /** A resolver that is out of reach may take half a minute to say so; it is asked for a name once at a time. */
  #ask(name: string): Promise<void> {
    const asking = this.#asking.get(name) ?? this.#askNow(name)
    this.#asking.set(name, asking)
    return asking
  }

  async #askNow(name: string) {
    try {
      this.#known.set(name, await this.#resolve(name))
    } catch (error) {
      // What it stood for before is better than nothing, and stays.
      this.#failures.set(name, (error as NodeJS.ErrnoException).code ?? 'no reason given')
    } finally {
      this.#asking.delete(name)
    }
  }
}

/**
 * The nodes that are meant: those that are given, else those that the environment names. Undefined for the public DHT,
 * which an empty list means, too.
 *
 * @throws OFFLINE, USAGE
 */
export function readBootstrap(
  bootstrap: string | (Address | string)[] | undefined = bootstrapOfEnvironment()
): Address[] | undefined {
  const nodes =
    typeof bootstrap === 'string' ? parseBootstrap(bootstrap) : bootstrap?.flatMap(readNode)
  if (nodes && nodes.length > 0) return nodes
  // An empty text may come of a variable that is not set. Whoever meant an island must not be brought to the public DHT.
  if (typeof bootstrap === 'string') {
    throw SeaportError.USAGE(
      '--bootstrap names no node: say host:port, or leave it out for the public DHT'
    )
  }
  if (process.env.HYPERSEAPORT_OFFLINE === '1') {
    throw SeaportError.OFFLINE(
      'HYPERSEAPORT_OFFLINE=1 forbids the public DHT: name a private node with --bootstrap host:port'
    )
  }
  return undefined
}

/** An empty variable counts as unset, as it does for the command line. */
function bootstrapOfEnvironment(): string | undefined {
  return process.env.HYPERSEAPORT_BOOTSTRAP || process.env.hyperseaport_bootstrap || undefined
}

/**
 * Reads `host:port[,host:port…]`.
 *
 * @throws USAGE
 */
export function parseBootstrap(text: string): Address[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const [, host = '', port] = /^([^\s:]+):(\d{1,5})$/.exec(part.trim()) ?? []
      return checkNode({ host, port: Number(port) }, part)
    })
}

function readNode(node: Address | string): Address[] {
  return typeof node === 'string' ? parseBootstrap(node) : [checkNode(Object(node), node)]
}

function checkNode({ host, port }: Partial<Address>, said: unknown): Address {
  if (host && Number.isInteger(port) && Number(port) > 0 && Number(port) <= MAX_PORT) {
    return { host, port: Number(port) }
  }
  throw SeaportError.USAGE(
    `a bootstrap node is host:port, as in 10.0.0.2:49737, not ${JSON.stringify(said)}`
  )
}

async function resolveName(name: string): Promise<string[]> {
  const found = await lookup(name, { all: true, family: 4 })
  return found.map(({ address }) => address)
}

export function isSameNode(one: Address, other: Address): boolean {
  return one.host === other.host && one.port === other.port
}
