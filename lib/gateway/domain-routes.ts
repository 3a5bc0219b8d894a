import { SeaportError } from '../core/errors.js'
import type { RoleRange } from '../core/role.js'
import type { Directory, Instance } from '../registry/replica/directory.js'
import type { AppStatement } from '../registry/trust/signed.js'
import type { Principal } from './access.js'
import { rangeOf } from './app-hostnames.js'
import type { CorsTarget } from './cors.js'
import type { DomainRule, DomainTable } from './domains.js'
import type { Upstream, Upstreams } from './upstream.js'

const HOSTNAME_TAG = 'hostname='

/** Finds where the hosts lead that the gateway's rules name. */
export class DomainRoutes {
  readonly #directory: Directory
  readonly #upstreams: Upstreams

  constructor(directory: Directory, upstreams: Upstreams) {
    this.#directory = directory
    this.#upstreams = upstreams
  }

  /**
   * The upstream of a name; null if no rule names it.
   *
   * @throws UNAUTHORIZED, FORBIDDEN, NOT_FOUND where no app has it, NO_INSTANCE
   */
  upstreamOf(name: string, domains: DomainTable, principal: Principal): Upstream | null {
    const rules = domains.match(name)
    for (const rule of rules) {
      if ('role' in rule) return this.#upstreams.ofRole(rule.role, principal)
      if ('apps' in rule) {
        const instances = () => this.#instancesOf(appOf(name, rule))
        if (appOf(name, rule)) return this.#upstreams.ofHostname(name, instances, principal)
        continue
      }
      const claiming = () => this.#claiming(name, rule)
      if (claiming().length > 0) return this.#upstreams.ofHostname(name, claiming, principal)
    }
    if (rules.some((rule) => 'keys' in rule)) {
      throw SeaportError.NO_INSTANCE(`nobody serves ${name} now`)
    }
    if (rules.length > 0) throw SeaportError.NOT_FOUND(`no app that is to run has ${name}`)
    return null
  }

  /** The target of a name, as CORS rules need it. */
  corsTargetOf(name: string, domains: DomainTable): CorsTarget | null {
    for (const rule of domains.match(name)) {
      if ('role' in rule) return this.newestOf(rule.role)
      const app = 'apps' in rule ? appOf(name, rule) : null
      if (app) return { role: app.app, version: app.version }
      const [claimant] = 'keys' in rule ? this.#claiming(name, rule) : []
      if (claimant) return claimant
    }
    return null
  }

  newestOf({ role, range }: RoleRange): CorsTarget {
    const [first] = this.#directory.resolve(role, range)
    return { role, version: first?.version ?? null }
  }

  /** The instances of an app, those of versions that are being replaced included. */
  #instancesOf(app: AppStatement | null): readonly Instance[] {
    return app ? this.#directory.resolve(app.app, rangeOf(app), 'all') : []
  }

  /** The instances that claim this hostname, among those that the rule allows to. */
  #claiming(name: string, { keys }: Extract<DomainRule, { keys: unknown }>): Instance[] {
    return [...keys]
      .map((key) => this.#directory.get(key))
      .filter((instance) => instance !== null)
      .filter(({ tags }) => tags.some((tag) => tag.toLowerCase() === `${HOSTNAME_TAG}${name}`))
  }
}

function appOf(name: string, { apps, only }: Extract<DomainRule, { apps: unknown }>) {
  const app = apps.appOf(name)
  return only === null || app?.app === only ? app : null
}
