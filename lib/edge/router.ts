import type { IncomingMessage } from 'node:http'
import { SeaportError } from '../errors.js'
import type { Directory, Instance } from '../registry/directory.js'
import type { AccessList, Reach, Viewer } from './access.js'
import type { CorsRule } from './cors.js'
import { type DomainRule, type DomainTable, hostnameOf, isOwnName } from './domains.js'
import { listed } from './headers.js'
import { type ListTarget, type PageTarget, parseTarget } from './target.js'
import type { Upstream, Upstreams } from './upstream.js'

/** What may change while the gateway runs. */
export interface GatewayRules {
  domains: DomainTable
  access: AccessList
  cors: readonly CorsRule[]
  /** How long answers may take to begin, in ms; the first that fits counts. */
  deadlines: readonly { reach: Reach; ms: number }[]
}

/** Where a request goes: to instances of the registry, or to the gateway itself. */
export type Route = ForwardRoute | ((ListTarget | PageTarget) & { viewer: Viewer })

export interface ForwardRoute {
  kind: 'forward'
  upstream: Upstream
  /** What the instance is asked for, with the query. */
  path: string
  prefix: string
  /** The name that the client asked for, as it came. */
  host: string
  viewer: Viewer
  /** Whether the client's Authorization was for us. */
  isOurAuthorization: boolean
}

export interface RouterOptions {
  rules: GatewayRules
  upstreams: Upstreams
  directory: Directory
  pseudonym: string
}

const HOSTNAME_TAG = 'hostname='

/** Reads where requests go, and whether whoever sent them may go there. */
export class Router {
  rules: GatewayRules
  readonly #upstreams: Upstreams
  readonly #directory: Directory
  readonly #pseudonym: string

  constructor({ rules, upstreams, directory, pseudonym }: RouterOptions) {
    this.rules = rules
    this.#upstreams = upstreams
    this.#directory = directory
    this.#pseudonym = pseudonym
  }

  /**
   * @throws BAD_REQUEST, BAD_ROLE, BAD_KEY, NOT_IMPLEMENTED, LOOP, UNAUTHORIZED, FORBIDDEN, NOT_FOUND,
   *   NO_INSTANCE
   */
  async route(request: IncomingMessage): Promise<Route> {
    this.#checkMessage(request)
    const { host, url } = readRequestTarget(request)
    const { viewer, isOurAuthorization } = await this.#identify(request)
    const forward = (upstream: Upstream, path: string, prefix: string): ForwardRoute => ({
      kind: 'forward',
      upstream,
      path,
      prefix,
      host,
      viewer,
      isOurAuthorization
    })

    const name = hostnameOf(host)
    const domain = this.#ofDomain(name, viewer)
    if (domain) return forward(domain, url, '')
    if (!this.rules.domains.isEmpty && !isOwnName(name)) {
      throw SeaportError.NOT_FOUND(`${name} is not served here`)
    }
    const target = parseTarget(url)
    switch (target.kind) {
      case 'role':
        return forward(this.#upstreams.ofRole(target.role, viewer), target.path, target.prefix)
      case 'instance':
        return forward(this.#upstreams.ofInstance(target.key, viewer), target.path, target.prefix)
      default:
        return { ...target, viewer }
    }
  }

  /** In ms, if there is a rule. */
  deadlineOf({ upstream }: ForwardRoute): number | undefined {
    const [instance] = upstream.instances()
    if (!instance) return undefined
    const { role, version } = instance
    return this.rules.deadlines.find(({ reach }) => reach.has(role, version))?.ms
  }

  /** What node:http's parser lets through and a gateway must not. */
  #checkMessage({ rawHeaders, headers, httpVersionMajor }: IncomingMessage) {
    if (httpVersionMajor < 2 && listed(rawHeaders, 'host').length > 1) {
      throw SeaportError.BAD_REQUEST('there is more than one Host')
    }
    const coding = headers['transfer-encoding']
    if (coding !== undefined && !/^chunked$/i.test(coding.trim())) {
      throw SeaportError.NOT_IMPLEMENTED('of transfer codings, only chunked is understood here')
    }
    if (coding !== undefined && headers['content-length'] !== undefined) {
      throw SeaportError.BAD_REQUEST('there is a Content-Length beside a Transfer-Encoding')
    }
    // RFC 9110 §7.6.3: our own name in Via says that it was here before.
    if (String(headers.via ?? '').includes(this.#pseudonym)) {
      throw SeaportError.LOOP('the request came back to the gateway that had passed it on')
    }
  }

  async #identify({ headers }: IncomingMessage) {
    const { access } = this.rules
    // The second field is for callers whose service has a use for the first itself.
    for (const name of ['proxy-authorization', 'authorization'] as const) {
      const value = headers[name]
      const viewer = value ? await access.identify(value) : null
      if (viewer) return { viewer, isOurAuthorization: name === 'authorization' }
    }
    return { viewer: access.anonymous, isOurAuthorization: false }
  }

  #ofDomain(name: string, viewer: Viewer): Upstream | null {
    const rules = this.rules.domains.match(name)
    for (const rule of rules) {
      if ('role' in rule) return this.#upstreams.ofRole(rule.role, viewer)
      const claiming = () => this.#claiming(name, rule)
      if (claiming().length > 0) return this.#upstreams.ofHostname(name, claiming, viewer)
    }
    if (rules.length > 0) throw SeaportError.NO_INSTANCE(`nobody serves ${name} now`)
    return null
  }

  /** Of those that may claim hostnames, the instances that claim this one. */
  #claiming(name: string, { keys }: Extract<DomainRule, { keys: unknown }>): Instance[] {
    return [...keys]
      .map((key) => this.#directory.get(key))
      .filter((instance) => instance !== null)
      .filter(({ tags }) => tags.some((tag) => tag.toLowerCase() === `${HOSTNAME_TAG}${name}`))
  }
}

/**
 * The host and the path that are asked for. A request may name both in its first line (RFC 9112
 * §3.2.2), and Host does not count then.
 */
function readRequestTarget(request: IncomingMessage): { host: string; url: string } {
  const { url = '/', headers } = request
  const host = headers.host ?? String(headers[':authority'] ?? '')
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  if (absolute) {
    const path = absolute[2] ?? ''
    return { host: absolute[1] ?? '', url: path.startsWith('/') ? path : `/${path}` }
  }
  if (url === '*') return { host, url: '/' }
  if (!url.startsWith('/')) throw SeaportError.BAD_REQUEST('the request target is not a path')
  return { host, url }
}
