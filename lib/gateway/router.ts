import { SeaportError } from '../core/errors.js'
import { hostnameOf, isOwnName } from '../core/hostname.js'
import type { Forwarded } from '../http/forwarded.js'
import { listed } from '../http/headers.js'
import { isOverHttp2, type RequestHead } from '../http/message-head.js'
import type { Directory, Instance } from '../registry/replica/directory.js'
import type { Principal } from './access.js'
import { addressOf } from './access-log.js'
import { clientOf } from './client-address.js'
import { Cors, type CorsTarget } from './cors.js'
import { DomainRoutes } from './domain-routes.js'
import type { MessageRoute } from './messages.js'
import { hostOf, isHost, pathOf } from './request-target.js'
import type { GatewayRules } from './rules.js'
import {
  type ChannelTarget,
  type ListTarget,
  type PageTarget,
  parseTarget,
  readRole
} from './target.js'
import { TrustedProxies } from './trusted-proxies.js'
import type { Upstream, Upstreams } from './upstream.js'

/** Where a request goes: to instances of the registry, or to the gateway itself. */
export type Route =
  | ForwardRoute
  | MessageRoute
  | ChannelRoute
  | ((ListTarget | PageTarget) & { principal: Principal })

export interface ForwardRoute {
  kind: 'forward'
  upstream: Upstream
  /** The path that the instance is asked for, with the query. */
  path: string
  prefix: string
  /** The name that the client asked for, as it came. */
  host: string
  principal: Principal
  /** Whether the client's Authorization was for us. */
  isOurAuthorization: boolean
}

/** The route of a channel. The page says who it is once it is connected. */
export interface ChannelRoute extends ChannelTarget {
  principal: Principal
  host: string
}

export interface RouterOptions {
  rules: GatewayRules
  upstreams: Upstreams
  directory: Directory
  pseudonym: string
  /** Whether requests come over TLS. */
  isSecure: boolean
  /** How long answers may take to begin, where no rule says otherwise, in ms. */
  timeout?: number | undefined
  /** Addresses of proxies in front, as in `10.0.0.0/8`, beside those on loopback. */
  trustedProxies?: readonly string[] | undefined
}

const TIMEOUT_MS = 60_000

/** What the fields of a request tell: who asks, by which field that is known, and which host is asked for. */
export type Caller = Pick<ForwardRoute, 'host' | 'principal' | 'isOurAuthorization'>

type Identity = Omit<Caller, 'host'>

/** Names below it lead to this machine (RFC 6761). */
const LOCAL = '.localhost'
/** The tag of an instance whose backend speaks HTTP/2 from the first byte. */
const HTTP2_TAG = 'protocol=h2'
/** gRPC needs HTTP/2. gRPC-Web does not: it is made for HTTP/1.1. */
const GRPC = /^application\/grpc(?!-web)/i

/** Finds where requests go, and checks that their senders may go there. */
export class Router {
  rules: GatewayRules
  readonly #upstreams: Upstreams
  readonly #directory: Directory
  readonly #domains: DomainRoutes
  readonly #pseudonym: string
  readonly #proto: Forwarded['proto']
  readonly #timeout: number
  readonly #trustedProxies: TrustedProxies
  /**
   * Whether any instance of a list takes HTTP/2, remembered by list: the directory gives the same list until it
   * changes.
   */
  readonly #http2 = new WeakMap<readonly Instance[], { rules: GatewayRules; isAny: boolean }>()

  constructor({
    rules,
    upstreams,
    directory,
    pseudonym,
    isSecure,
    timeout = TIMEOUT_MS,
    trustedProxies
  }: RouterOptions) {
    this.rules = rules
    this.#upstreams = upstreams
    this.#directory = directory
    this.#domains = new DomainRoutes(directory, upstreams)
    this.#pseudonym = pseudonym
    this.#proto = isSecure ? 'https' : 'http'
    this.#timeout = timeout
    this.#trustedProxies = new TrustedProxies(trustedProxies)
  }

  /**
   * The route of a request. It returns a promise only where a password is checked for the first time.
   *
   * @throws BAD_REQUEST, BAD_ROLE, BAD_KEY, NOT_IMPLEMENTED, LOOP, UNAUTHORIZED, FORBIDDEN, NOT_FOUND,
   *   NO_INSTANCE
   */
  route(request: RequestHead): Route | Promise<Route> {
    const url = pathOf(request)
    const caller = this.callerOf(request)
    return caller instanceof Promise
      ? caller.then((caller) => this.lead(url, caller))
      : this.lead(url, caller)
  }

  /**
   * The caller of a request. Requests with equal fields have the same caller until the rules change, unless the target
   * of one is a whole URL.
   *
   * @throws BAD_REQUEST, NOT_IMPLEMENTED, LOOP, UNAUTHORIZED, FORBIDDEN, NOT_FOUND
   */
  callerOf(request: RequestHead): Caller | Promise<Caller> {
    this.#checkMessage(request)
    const host = hostOf(request)
    if (!isHost(host)) throw SeaportError.BAD_REQUEST('the Host is not a name with a port')
    this.#checkHost(host, request)
    const identity = this.#identify(request)
    if (!(identity instanceof Promise)) return { host, ...identity }
    return identity.then((known) => {
      // The rights may have changed while the password was checked.
      if (!this.rules.access.isCurrent(known.principal)) return this.callerOf(request)
      return { host, ...known }
    })
  }

  /**
   * The route of a path for a caller.
   *
   * @throws BAD_REQUEST, BAD_ROLE, BAD_KEY, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NO_INSTANCE
   */
  lead(url: string, { host, principal, isOurAuthorization }: Caller): Route {
    const forward = (upstream: Upstream, path: string, prefix: string): ForwardRoute => ({
      kind: 'forward',
      upstream,
      path,
      prefix,
      host,
      principal,
      isOurAuthorization
    })

    if (!this.rules.domains.isEmpty) {
      const name = hostnameOf(host)
      const domain = this.#domains.upstreamOf(name, this.rules.domains, principal)
      if (domain) return forward(domain, url, '')
      if (!isOwnName(name) && !this.rules.hosts.allows(name)) throw notServed(name)
    }
    const local = this.#ofLocalName(hostnameOf(host), principal)
    if (local) return forward(local, url, '')
    const target = parseTarget(url)
    switch (target.kind) {
      case 'role':
        return forward(this.#upstreams.ofRole(target.role, principal), target.path, target.prefix)
      case 'instance':
        return forward(
          this.#upstreams.ofInstance(target.name, principal),
          target.path,
          target.prefix
        )
      case 'list':
      case 'page':
        return { ...target, principal }
      case 'channel':
        return { ...target, principal, host }
      default: {
        const upstream =
          target.kind === 'call'
            ? this.#upstreams.ofCall(target, principal)
            : this.#upstreams.ofRole(target.role, principal)
        return { kind: 'message', target, upstream, principal, host }
      }
    }
  }

  /**
   * The answer to a preflight, null if it is none or no rule speaks of its target. Browsers send no credentials with
   * it (Fetch standard §4.8), so nobody is asked who they are.
   *
   * @throws BAD_REQUEST, NOT_IMPLEMENTED, LOOP, FORBIDDEN, NOT_FOUND
   */
  preflightOf(request: RequestHead): Cors | null {
    const cors = request.method === 'OPTIONS' ? this.corsOf(request) : null
    if (!cors?.isPreflight) return null
    this.#checkMessage(request)
    this.#checkHost(hostOf(request), request)
    return cors
  }

  /**
   * The CORS decision for a request; null if no rule is about its target.
   *
   * @param upstream where it went, if it did: whoever sends it may reach some of the versions only
   */
  corsOf(request: RequestHead, upstream?: Upstream): Cors | null {
    const { cors } = this.rules
    if (cors.length === 0) return null
    const target = upstream?.instances()[0] ?? this.#corsTargetOf(request)
    return target && Cors.of(cors, request, target)
  }

  #corsTargetOf(request: RequestHead): CorsTarget | null {
    try {
      const domain = this.#domains.corsTargetOf(hostnameOf(hostOf(request)), this.rules.domains)
      if (domain) return domain
      const asked = parseTarget(pathOf(request))
      if (asked.kind === 'role') return this.#domains.newestOf(asked.role)
      return asked.kind === 'instance' ? this.#upstreams.find(asked.name) : null
    } catch {
      return null
    }
  }

  /** How long the answer may take to begin, in ms. */
  deadlineOf({ upstream }: ForwardRoute): number {
    const { deadlines } = this.rules
    const [instance] = deadlines.length === 0 ? [] : upstream.instances()
    if (!instance) return this.#timeout
    const { role, version } = instance
    return deadlines.find(({ roles }) => roles.has(role, version))?.ms ?? this.#timeout
  }

  /** What the instance is told about the client of a request. */
  forwardedOf({ socket }: RequestHead, { host, prefix }: ForwardRoute): Forwarded {
    const client = addressOf(socket)
    return { client, host, prefix, proto: this.#proto, isTrusted: this.#trustedProxies.has(client) }
  }

  /**
   * Whether an instance, by its key in hex, is asked over HTTP/2: where its record or the gateway's owner says so, and
   * for gRPC, which knows nothing else.
   */
  isHttp2({ headers }: RequestHead, key: string): boolean {
    if (GRPC.test(String(headers['content-type'] ?? ''))) return true
    const instance = this.#directory.get(key)
    return instance !== null && this.#speaksHttp2(instance)
  }

  /** Whether any instance that a request may go to is asked over HTTP/2. */
  mayBeHttp2({ upstream }: ForwardRoute): boolean {
    const instances = upstream.instances()
    const known = this.#http2.get(instances)
    if (known?.rules === this.rules) return known.isAny
    const isAny = instances.some((instance) => this.#speaksHttp2(instance))
    this.#http2.set(instances, { rules: this.rules, isAny })
    return isAny
  }

  #speaksHttp2({ role, version, tags }: Instance): boolean {
    return tags.includes(HTTP2_TAG) || this.rules.http2.some((roles) => roles.has(role, version))
  }

  /** The address that a request counts for, where clients are told apart. */
  clientOf(request: Pick<RequestHead, 'socket' | 'rawHeaders'>): string {
    return clientOf(request, (address) => this.#trustedProxies.has(address))
  }

  /** Refuses messages that node:http's parser lets through and a gateway must not. */
  #checkMessage(request: RequestHead) {
    const { rawHeaders, headers, httpVersion } = request
    const overHttp2 = isOverHttp2(request)
    if (!overHttp2 && !/^1\.[01]$/.test(httpVersion)) {
      throw SeaportError.BAD_REQUEST(`HTTP/${httpVersion} is not spoken on this connection`)
    }
    if (httpVersion === '1.1' && headers.host === undefined) {
      throw SeaportError.BAD_REQUEST('there is no Host')
    }
    if (!overHttp2 && listed(rawHeaders, 'host').length > 1) {
      throw SeaportError.BAD_REQUEST('there is more than one Host')
    }
    const coding = headers['transfer-encoding']
    if (coding !== undefined && !/^chunked$/i.test(coding.trim())) {
      throw SeaportError.NOT_IMPLEMENTED('of transfer codings, only chunked is understood here')
    }
    if (coding !== undefined && httpVersion === '1.0') {
      throw SeaportError.BAD_REQUEST('HTTP/1.0 has no Transfer-Encoding')
    }
    if (coding !== undefined && headers['content-length'] !== undefined) {
      throw SeaportError.BAD_REQUEST('there is a Content-Length beside a Transfer-Encoding')
    }
    // Our own name in Via means that the request was here before (RFC 9110 §7.6.3).
    if (String(headers.via ?? '').includes(this.#pseudonym)) {
      throw SeaportError.LOOP('the request came back to the gateway that had passed it on')
    }
  }

  /** Refuses pages of strangers where there are no access rules. */
  #checkHost(host: string, { headers }: RequestHead) {
    const { access, domains, hosts, cors } = this.rules
    const name = hostnameOf(host)
    if (!access.isOpen || domains.match(name).length > 0) return
    // Over TLS the check is not needed: a stranger's name would need a certificate.
    if (this.#proto === 'http' && domains.isEmpty && !hosts.isHarmless(name)) throw notServed(name)
    const { origin, upgrade } = headers
    if (upgrade === undefined || origin === undefined) return
    if (hosts.isHarmlessOrigin(origin, host) || cors.some((rule) => rule.origin === origin)) return
    throw SeaportError.FORBIDDEN(`pages of ${origin} may not open streams here`)
  }

  #identify(request: RequestHead): Identity | Promise<Identity> {
    const { access } = this.rules
    const { headers } = request
    const client = this.clientOf(request)
    const anonymous = { principal: access.anonymous, isOurAuthorization: false }
    const own = () =>
      identityOf(access.identify(headers.authorization ?? '', client), true) ?? anonymous
    const ownLater = async () => (await own()) ?? anonymous
    // A caller may send Proxy-Authorization to us if its service uses Authorization itself.
    const proxied = identityOf(access.identify(headers['proxy-authorization'] ?? '', client), false)
    if (proxied instanceof Promise) return proxied.then((identity) => identity ?? ownLater())
    if (proxied) return proxied
    const identity = own()
    return identity instanceof Promise
      ? identity.then((identity) => identity ?? anonymous)
      : identity
  }

  /**
   * The upstream of a name below `.localhost`: `couchdb.localhost` is the role `couchdb`, and `api.team.localhost` is
   * `@team/api` unless there is an `api.team`. If there is no such role, the name is the gateway's own; but only a
   * principal who may reach all is told so, since nobody else may learn which roles exist.
   */
  #ofLocalName(name: string, principal: Principal): Upstream | null {
    if (!name.endsWith(LOCAL)) return null
    const isKnown = (role: string) => this.#directory.knownVersions(role).length > 0
    const plain = name.slice(0, -LOCAL.length)
    const [, base, scope] = /^([^.]+)\.([^.]+)$/.exec(plain) ?? []
    const role = scope === undefined || isKnown(plain) ? plain : `@${scope}/${base}`
    if (principal.mayReachAll && !isKnown(role)) return null
    return this.#upstreams.ofRole(readRole(role), principal)
  }
}

function notServed(name: string): SeaportError {
  return SeaportError.NOT_FOUND(
    `${name} is not served here; whoever runs this gateway can have it so (--domain, --allowedHost)`
  )
}

function identityOf(
  principal: Principal | null | Promise<Principal | null>,
  isOurAuthorization: boolean
): Identity | null | Promise<Identity | null> {
  if (principal instanceof Promise) {
    return principal.then((principal) => principal && { principal, isOurAuthorization })
  }
  return principal && { principal, isOurAuthorization }
}
