import { SeaportError } from '../core/errors.js'
import { parseRolePattern, type RolePattern } from '../core/role-pattern.js'
import { AccessList, type AccessListOptions } from './access.js'
import { AppHostnames } from './app-hostnames.js'
import { type CorsOptions, type CorsRule, readCors } from './cors.js'
import {
  type AppDomainOptions,
  type DomainOptions,
  DomainTable,
  type HostnameOptions,
  readAppDomain,
  readDomain,
  readHostname
} from './domains.js'
import { HostGuard } from './host-guard.js'

/** The rules of a gateway, as its owner writes them. They may be changed while it runs. */
export interface WebRules {
  /** Hosts that lead to a role: `{ host: 'api.example.com', role: 'api@^2' }`; `*.example.com` too. */
  domains?: DomainOptions[] | undefined
  /** Which services may claim which hosts by a tag `hostname=<host>`: `{ host: '*.example.com', services: [key] }`. */
  hostnames?: HostnameOptions[] | undefined
  /** Hosts that lead to the apps which claim them: `{ host: '*.example.com' }`, or for one app `{ host, app: 'shop' }`. */
  apps?: AppDomainOptions[] | undefined
  /**
   * Further names of the gateway, for when neither `access` nor `open` says who may reach what: `gateway.example.com`,
   * `*.example.com` or `*`. Requests for other names are refused, because they may come from a stranger's page whose
   * name was made to lead here.
   */
  allowedHosts?: string[] | undefined
  /** The text of an access file. Without it, and without `open`, whoever connects may reach all. */
  access?: string | undefined
  /** Roles that need no credentials, as in `api@1.x`, `@team/*` or `*`. */
  open?: string[] | undefined
  /** Pages that may call a role from a browser: `{ role: 'api@1.x', origin: 'https://app.example.com' }`. */
  cors?: CorsOptions[] | undefined
  /** Roles that are asked over HTTP/2 in clear text, as in `api@1.x`, beside instances with the tag `protocol=h2` and gRPC. */
  http2?: string[] | undefined
  /** How long the answers of a role may take to begin, in ms: `{ role: 'api@1.x', ms: 5000 }`. The first that fits counts. */
  deadlines?: DeadlineOptions[] | undefined
}

export interface DeadlineOptions {
  /** The roles that it is for, as in `api@1.x`, `@team/*` or `*`. */
  role: string
  ms: number
}

/** The rules of a gateway, parsed. */
export interface GatewayRules {
  domains: DomainTable
  access: AccessList
  hosts: HostGuard
  cors: readonly CorsRule[]
  http2: readonly RolePattern[]
  /** How long answers may take to begin, in ms; the first that fits counts. */
  deadlines: readonly { roles: RolePattern; ms: number }[]
}

/** @throws BAD_ROLE, BAD_KEY, BAD_CONFIG, USAGE */
export function readRules(
  {
    domains = [],
    hostnames = [],
    apps = [],
    allowedHosts,
    access,
    open = [],
    cors = [],
    http2 = [],
    deadlines = []
  }: WebRules = {},
  appHostnames = new AppHostnames()
): GatewayRules {
  const credentials: AccessListOptions = { text: access, open: open.map(parseRolePattern) }
  return {
    domains: new DomainTable([
      ...domains.map(readDomain),
      ...hostnames.map(readHostname),
      ...apps.map((options) => readAppDomain(options, appHostnames))
    ]),
    access: new AccessList(credentials),
    hosts: new HostGuard(allowedHosts),
    cors: cors.map(readCors),
    http2: http2.map(parseRolePattern),
    deadlines: deadlines.map(readDeadline)
  }
}

function readDeadline({ role, ms }: DeadlineOptions): GatewayRules['deadlines'][number] {
  if (!(ms > 0)) {
    throw SeaportError.USAGE(`the deadline of ${role} must be a number of ms above 0, not ${ms}`)
  }
  return { roles: parseRolePattern(role), ms }
}
