import semver from 'semver'
import { Dialer } from '../dialing/dialer.js'
import { Experience } from '../dialing/experience.js'
import { SeaportError } from '../errors.js'
import type { LinkPool } from '../link/pool.js'
import type { Directory, Instance } from '../registry/directory.js'
import type { RoleRange } from '../role.js'
import { denied, type Viewer } from './access.js'

/** Where requests for one target go, as one viewer may reach it. */
export interface Upstream {
  /** How errors and logs call it. */
  name: string
  dialer: Dialer
  instances: () => readonly Instance[]
}

export interface UpstreamsOptions {
  directory: Directory
  pool: Pick<LinkPool, 'open' | 'isSuspect' | 'pathOf'>
}

/** Different ranges and viewers; whoever may ask might ask for any number of them. */
const MAX_UPSTREAMS = 1024

/** Finds where a request goes, or why it goes nowhere. What is learned of an instance, all know. */
export class Upstreams {
  readonly #directory: Directory
  readonly #pool: UpstreamsOptions['pool']
  readonly #experience = new Experience()
  /** By viewer, then by what they ask for: a range as it was read, a key or a hostname. */
  #upstreams = new Map<Viewer, Map<RoleRange | string, Upstream>>()
  #size = 0

  constructor({ directory, pool }: UpstreamsOptions) {
    this.#directory = directory
    this.#pool = pool
  }

  /** @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE */
  ofRole(wanted: RoleRange, viewer: Viewer): Upstream {
    const { role, range } = wanted
    if (!viewer.mayReachRole(role)) throw denied(viewer, role)
    const resolve = () => this.#directory.resolve(role, range)
    const upstream =
      this.#kept(wanted, viewer) ?? this.#keep(wanted, viewer, `${role}@${range}`, resolve)
    if (upstream.instances().length > 0) return upstream
    if (resolve().length > 0) throw denied(viewer, upstream.name)
    throw this.#missing(role, range)
  }

  /** @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE */
  ofInstance(key: string, viewer: Viewer): Upstream {
    const known = this.#directory.get(key)
    const name = `instance ${key.slice(0, 8)}…`
    if (!known && viewer.isAnonymous && !viewer.mayReachAll) throw denied(viewer, name)
    if (!known && this.#directory.entry(key)) throw SeaportError.NO_INSTANCE(`${name} is gone`)
    if (!known) throw SeaportError.NOT_FOUND(`the registry has no ${name}`)
    if (!viewer.mayReach(known.role, known.version)) throw denied(viewer, name)
    return this.#kept(key, viewer) ?? this.#keep(key, viewer, name, () => this.#present(key))
  }

  /**
   * Those of some instances that claim a hostname.
   *
   * @throws UNAUTHORIZED, FORBIDDEN, NO_INSTANCE
   */
  ofHostname(hostname: string, instances: () => readonly Instance[], viewer: Viewer): Upstream {
    const upstream =
      this.#kept(hostname, viewer) ?? this.#keep(hostname, viewer, hostname, instances)
    if (upstream.instances().length > 0) return upstream
    if (instances().length > 0) throw denied(viewer, hostname)
    throw SeaportError.NO_INSTANCE(`nobody serves ${hostname} now`)
  }

  /** What a viewer may know of. */
  list(role: RoleRange | null, viewer: Viewer): Instance[] {
    const instances = role ? this.#directory.resolve(role.role, role.range) : this.#directory.list()
    return instances.filter((instance) => viewer.mayReach(instance.role, instance.version))
  }

  #kept(target: RoleRange | string, viewer: Viewer): Upstream | undefined {
    return this.#upstreams.get(viewer)?.get(target)
  }

  #keep(
    target: RoleRange | string,
    viewer: Viewer,
    name: string,
    all: () => readonly Instance[]
  ): Upstream {
    const instances = viewer.mayReachAll
      ? all
      : () => all().filter((instance) => mayReach(viewer, instance))
    const dialer = new Dialer({
      role: name,
      resolve: instances,
      watch: (listener) => this.#directory.watch(listener),
      pool: this.#pool,
      experience: this.#experience
    })
    const upstream = { name, dialer, instances }
    if (this.#size >= MAX_UPSTREAMS) this.reset()
    this.#size++
    const ofViewer = this.#upstreams.get(viewer) ?? new Map<RoleRange | string, Upstream>()
    this.#upstreams.set(viewer, ofViewer.set(target, upstream))
    return upstream
  }

  /** Forgets what viewers could reach before their list changed. */
  reset() {
    this.#upstreams = new Map()
    this.#size = 0
  }

  #present(key: string): Instance[] {
    const instance = this.#directory.get(key)
    return instance ? [instance] : []
  }

  /** A role that was there is away; one that never was is unknown. */
  #missing(role: string, range: string): SeaportError {
    const known = this.#directory.knownVersions(role)
    if (semver.maxSatisfying(known, range) !== null) {
      return SeaportError.NO_INSTANCE(`nobody serves ${role}@${range} now`)
    }
    if (known.length === 0) return SeaportError.NOT_FOUND(`the registry has no ${role}`)
    const versions = semver.rsort(known).slice(0, 10).join(', ')
    return SeaportError.NOT_FOUND(`the registry has no ${role}@${range}, but ${versions}`)
  }
}

function mayReach(viewer: Viewer, { role, version }: Instance): boolean {
  return viewer.mayReach(role, version)
}
