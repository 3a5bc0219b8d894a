import semver from 'semver'
import { SeaportError } from '../core/errors.js'
import type { RoleRange } from '../core/role.js'
import { Dialer } from '../dialing/dialer.js'
import { InstanceStats } from '../dialing/instance-stats.js'
import type { LinkPool } from '../link/pool.js'
import type { Directory, Instance } from '../registry/replica/directory.js'
import { denied, type Principal } from './access.js'
import { type GuestView, type InstanceViews, isInstanceId } from './instance-views.js'
import type { CallTarget } from './target.js'

/** The instances of one target that one principal may reach. */
export interface Upstream {
  /** Its name in errors and logs. */
  name: string
  dialer: Dialer
  instances: () => readonly Instance[]
}

export interface UpstreamsOptions {
  directory: Directory
  views: InstanceViews
  pool: Pick<LinkPool, 'open' | 'isSuspect' | 'pathOf'>
}

/** Bounds the upstreams that are kept, because a client may ask for any number of ranges. */
const MAX_UPSTREAMS = 1024

/** Finds the upstream of a request, or why there is none. All upstreams share what was measured of instances. */
export class Upstreams {
  readonly #directory: Directory
  readonly #views: InstanceViews
  readonly #pool: UpstreamsOptions['pool']
  readonly #instanceStats = new InstanceStats()
  /** Upstreams by principal, and then by what is asked for: a parsed range, a key or a hostname. */
  #upstreams = new Map<Principal, Map<RoleRange | string, Upstream>>()
  #size = 0

  constructor({ directory, views, pool }: UpstreamsOptions) {
    this.#directory = directory
    this.#views = views
    this.#pool = pool
  }

  /** @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE */
  ofRole(wanted: RoleRange, principal: Principal): Upstream {
    const { role, range } = wanted
    if (!principal.mayReachRole(role)) throw denied(principal, role)
    const resolve = () => this.#directory.resolve(role, range)
    const upstream =
      this.#kept(wanted, principal) ?? this.#keep(wanted, principal, `${role}@${range}`, resolve)
    if (upstream.instances().length > 0) return upstream
    if (resolve().length > 0) throw denied(principal, upstream.name)
    throw this.#missing(role, range, principal)
  }

  /**
   * @param asked the key of the instance in hex, or its id
   * @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE
   */
  ofInstance(asked: string, principal: Principal): Upstream {
    const key = this.#keyOf(asked)
    const known = this.#directory.get(key)
    const name = `instance ${asked.slice(0, 8)}…`
    if (!known && principal.isAnonymous && !principal.mayReachAll) throw denied(principal, name)
    if (!known && this.#directory.entry(key)) throw SeaportError.NO_INSTANCE(`${name} is gone`)
    if (!known) throw SeaportError.NOT_FOUND(`the registry has no ${name}`)
    if (!principal.mayReach(known.role, known.version)) throw denied(principal, name)
    return (
      this.#kept(asked, principal) ?? this.#keep(asked, principal, name, () => this.#present(key))
    )
  }

  /**
   * The upstream of a command: the instances of a role, or the one of them that is named.
   *
   * @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE
   */
  ofCall(
    { role, instance }: Pick<CallTarget, 'role' | 'instance'>,
    principal: Principal
  ): Upstream {
    if (instance === undefined) return this.ofRole(role, principal)
    const upstream = this.ofInstance(instance, principal)
    const key = this.#keyOf(instance)
    const ofRole = this.#directory.resolve(role.role, role.range)
    if (ofRole.some(({ servicePublicKey }) => servicePublicKey === key)) return upstream
    throw SeaportError.NOT_FOUND(`${upstream.name} is none of ${role.role}@${role.range}`)
  }

  /**
   * An instance, without asking who may reach it; null if there is none.
   *
   * @param asked the key of the instance in hex, or its id
   */
  find(asked: string): Instance | null {
    return this.#directory.get(this.#keyOf(asked))
  }

  #keyOf(asked: string): string {
    return isInstanceId(asked) ? (this.#views.keyOf(asked) ?? '') : asked
  }

  /**
   * The upstream of the instances that claim a hostname.
   *
   * @throws UNAUTHORIZED, FORBIDDEN, NO_INSTANCE
   */
  ofHostname(
    hostname: string,
    instances: () => readonly Instance[],
    principal: Principal
  ): Upstream {
    const upstream =
      this.#kept(hostname, principal) ?? this.#keep(hostname, principal, hostname, instances)
    if (upstream.instances().length > 0) return upstream
    if (instances().length > 0) throw denied(principal, hostname)
    throw SeaportError.NO_INSTANCE(`nobody serves ${hostname} now`)
  }

  /** The instances that a principal may know of, as the principal may see them. */
  list(role: RoleRange | null, principal: Principal): (Instance | GuestView)[] {
    const instances = role ? this.#directory.resolve(role.role, role.range) : this.#directory.list()
    return instances
      .filter((instance) => mayReach(principal, instance))
      .map((instance) => this.#views.of(instance, principal))
  }

  #kept(target: RoleRange | string, principal: Principal): Upstream | undefined {
    return this.#upstreams.get(principal)?.get(target)
  }

  #keep(
    target: RoleRange | string,
    principal: Principal,
    name: string,
    all: () => readonly Instance[]
  ): Upstream {
    const instances = principal.mayReachAll
      ? all
      : () => all().filter((instance) => mayReach(principal, instance))
    const dialer = new Dialer({
      role: name,
      resolve: instances,
      watch: (listener) => this.#directory.watch(listener),
      pool: this.#pool,
      instanceStats: this.#instanceStats
    })
    const upstream = { name, dialer, instances }
    if (this.#size >= MAX_UPSTREAMS) this.reset()
    this.#size++
    const ofPrincipal = this.#upstreams.get(principal) ?? new Map<RoleRange | string, Upstream>()
    this.#upstreams.set(principal, ofPrincipal.set(target, upstream))
    return upstream
  }

  /** Forgets what principals could reach before the rules changed. */
  reset() {
    this.#upstreams = new Map()
    this.#size = 0
  }

  #present(key: string): Instance[] {
    const instance = this.#directory.get(key)
    return instance ? [instance] : []
  }

  /**
   * The error for a role without instances: NO_INSTANCE if the role was there before, and else NOT_FOUND. Nobody is
   * told of versions that they may not reach.
   */
  #missing(role: string, range: string, principal: Principal): SeaportError {
    const known = this.#directory
      .knownVersions(role)
      .filter((version) => principal.mayReach(role, version))
    if (semver.maxSatisfying(known, range) !== null) {
      return SeaportError.NO_INSTANCE(`nobody serves ${role}@${range} now`)
    }
    if (known.length === 0) return SeaportError.NOT_FOUND(`the registry has no ${role}`)
    const versions = semver.rsort(known).slice(0, 10).join(', ')
    return SeaportError.NOT_FOUND(`the registry has no ${role}@${range}, but ${versions}`)
  }
}

function mayReach(principal: Principal, { role, version }: Instance): boolean {
  return principal.mayReach(role, version)
}
