import type { Child } from '../child.js'
import type { Island } from '../island.js'
import type { Near, Path, PathKind } from './path.js'

const DIRECT_FLAG = '--direct'
let roles = 0

/** A service and its proxy, through the real binary, as it comes: over TCP where it can. */
export const seaportDirect: PathKind = {
  name: 'hyperseaport, direct',
  isBaseline: false,
  missing: async (island) =>
    (await island.knows('service', DIRECT_FLAG)) ? null : 'this build has no direct path',
  open: (island, backendPort) => SeaportPath.open(seaportDirect, island, backendPort, [])
}

/** The same without the direct path: all goes through HyperDHT's UDX. */
export const seaportUdx: PathKind = {
  name: 'hyperseaport, UDX',
  isBaseline: false,
  missing: async () => null,
  async open(island, backendPort) {
    const flags = (await island.knows('service', DIRECT_FLAG)) ? [DIRECT_FLAG, 'off'] : []
    return SeaportPath.open(seaportUdx, island, backendPort, flags)
  }
}

/** A role of its own, with as many services and proxies as a row wants. */
export class SeaportPath implements Path {
  readonly kind: PathKind
  readonly role = `bench-${roles++}`
  readonly #island: Island
  readonly #flags: string[]
  readonly #services = new Map<Child, { port: number; dir: string }>()

  private constructor(kind: PathKind, island: Island, flags: string[]) {
    this.kind = kind
    this.#island = island
    this.#flags = flags
  }

  static async open(
    kind: PathKind,
    island: Island,
    backendPort: number,
    flags: string[]
  ): Promise<SeaportPath> {
    const path = new SeaportPath(kind, island, flags)
    await path.service(backendPort)
    return path
  }

  get far(): Child | null {
    const [first = null] = this.#services.keys()
    return first
  }

  /** Starts an instance and waits until it is registered. */
  async service(port: number, dir = this.#island.folder()): Promise<Child> {
    const args = ['-p', `${port}`, '-r', `${this.role}@1.0.0`, '--dir', dir]
    const service = this.#island.seaport('service', [...args, ...this.#flags])
    this.#services.set(service, { port, dir })
    await service.waitForLine('registered service')
    return service
  }

  /** Stops an instance as an operator would, and starts it again under its key. */
  async restart(service: Child): Promise<Child> {
    const { port, dir } = this.#services.get(service) ?? {}
    if (port === undefined || dir === undefined) throw new Error('an instance of another path')
    await service.stop('SIGTERM')
    this.#services.delete(service)
    return this.service(port, dir)
  }

  async near(): Promise<Near> {
    const args = ['-p', '0', '-r', `${this.role}@1.x`, '--dir', this.#island.folder()]
    const child = this.#island.seaport('proxy', args)
    const port = Number.parseInt(await child.waitForLine('proxy from  '), 10)
    return { port, child, stop: () => child.stop() }
  }

  async close(signal: NodeJS.Signals = 'SIGTERM') {
    await Promise.all([...this.#services.keys()].map((service) => service.stop(signal)))
  }
}
