import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { type Child, start } from './fixtures/child.js'
import { Hosts, KINDS, type Kind, type Owner } from './hosts.js'

/** What services and consumers are told. */
export interface MeetingPlace {
  bootstrap: string
  registryPublicKey: string
  dir: string
}

/** How a consumer and a service met. */
export interface Meeting {
  role: string
  /** In ms, until the first answer; null if there was none in time. */
  took: number | null
  path: string | null
  /** What went wrong until then. */
  errors: string[]
}

export interface MeetingOptions {
  /** What the registrar has between itself and the internet. */
  registry?: Kind
  /** How many nodes the DHT has, each with an address of its own. */
  nodes?: number
  /** What else the registrar is told. */
  options?: object
}

const PORT = 49737

/**
 * A private DHT on an internet of its own, a registrar, and services and consumers that have this or that
 * between themselves and the internet.
 */
export class MeetingPoint {
  readonly hosts: Hosts
  readonly bootstrap: string
  readonly registryPublicKey: string
  /** Answers to `stats`. */
  registry: Child<object> | null = null
  readonly #owner: Owner
  readonly #dir: string
  /** Networks so far. */
  #networks = 0

  static async make(
    owner: Owner,
    { registry = 'public', nodes = 8, options = {} }: MeetingOptions = {}
  ): Promise<MeetingPoint> {
    const seed = randomSeed()
    const addresses = Array.from({ length: nodes }, (_, i) => `45.45.45.${200 + i}`)
    const point = new MeetingPoint(owner, addresses, toHex(KeyPair(seed).publicKey))
    await Promise.all(
      addresses.map((address, i) =>
        point.#start('meet-dht.js', point.hosts.add(`dht${i}`, address), { address })
      )
    )
    const { bootstrap } = point
    const dir = point.#newDir()
    point.registry = await point.#start('meet-registry.js', point.place(registry, 'registry'), {
      ...options,
      bootstrap,
      seed: toHex(seed),
      dir
    })
    return point
  }

  private constructor(owner: Owner, addresses: string[], registryPublicKey: string) {
    this.#owner = owner
    this.#dir = mkdtempSync(join(tmpdir(), 'hyperseaport-meeting-'))
    owner.teardown(() => rmSync(this.#dir, { recursive: true, force: true }))
    this.hosts = new Hosts(owner)
    this.bootstrap = addresses.map((address) => `${address}:${PORT}`).join()
    this.registryPublicKey = registryPublicKey
  }

  /** A host that has this between itself and the internet. Returns the words that run a command there. */
  place(kind: Kind, name: string): string[] {
    this.#networks++
    return this.hosts.addOf(kind, name, this.#networks, `45.45.45.${this.#networks}`)
  }

  /** @param at the words that run a command at its host */
  service(at: string[], role: string): Promise<Child<object>> {
    return this.#start('meet-service.js', at, { ...this.#member(), role })
  }

  /** @param at the words that run a command at its host */
  consumer(at: string[], roles: string[]): Promise<Child<object>> {
    return this.#start('meet-consumer.js', at, { ...this.#member(), roles })
  }

  #member(): MeetingPlace {
    const { bootstrap, registryPublicKey } = this
    return { bootstrap, registryPublicKey, dir: this.#newDir() }
  }

  #newDir(): string {
    return mkdtempSync(join(this.#dir, 'of-'))
  }

  #start(script: string, at: string[], argument: object): Promise<Child<object>> {
    return start(this.#owner, script, [JSON.stringify(argument)], { at, kill: true })
  }
}

/** The role of the service that has this between itself and the internet. */
export function roleOf(kind: Kind): string {
  return `${kind}@1.0.0`
}

export { KINDS, type Kind }
