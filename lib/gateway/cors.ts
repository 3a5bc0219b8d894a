import type { ServerResponse } from 'node:http'
import { SeaportError } from '../core/errors.js'
import { parseRolePattern, type RolePattern } from '../core/role-pattern.js'
import { copyHeaders } from '../http/headers.js'
import type { RawHeaders, RequestHead } from '../http/message-head.js'
import type { Upstream } from './upstream.js'

/** Which web pages may call a role from a browser. */
export interface CorsOptions {
  /** As in `api@1.x`, `@team/*@2.x` or `*`. */
  role: string
  /** As in `https://app.example.com`, or `*` for all. */
  origin: string
}

/** The same, read. */
export interface CorsRule {
  roles: RolePattern
  origin: string
}

const PREFLIGHT_MAX_AGE_S = 600

/** @throws USAGE, BAD_ROLE */
export function readCors({ role, origin }: CorsOptions): CorsRule {
  const isOrigin = URL.canParse(origin) && new URL(origin).origin === origin
  if (origin !== '*' && !isOrigin) {
    throw SeaportError.USAGE(
      `an origin is given as in https://app.example.com, or * for any, not ${JSON.stringify(origin)}`
    )
  }
  return { roles: parseRolePattern(role), origin }
}

/** What CORS (Fetch standard §3.2) means for one request, null if its target has no rule. */
export class Cors {
  readonly #request: RequestHead
  readonly #allowed: string | null

  private constructor(request: RequestHead, allowed: string | null) {
    this.#request = request
    this.#allowed = allowed
  }

  static of(rules: readonly CorsRule[], request: RequestHead, upstream: Upstream): Cors | null {
    if (rules.length === 0) return null
    const [instance] = upstream.instances()
    if (!instance) return null
    const { role, version } = instance
    const applying = rules.filter(({ roles }) => roles.has(role, version))
    if (applying.length === 0) return null
    const { origin = '' } = request.headers
    const origins = applying.map(({ origin }) => origin)
    const allowed = origins.includes(origin) ? origin : origins.includes('*') ? '*' : null
    return new Cors(request, allowed)
  }

  /** Whether the browser only asks whether it may ask. */
  get isPreflight(): boolean {
    const { method, headers } = this.#request
    return (
      method === 'OPTIONS' &&
      headers.origin !== undefined &&
      headers['access-control-request-method'] !== undefined
    )
  }

  /** Answers a preflight; whoever may not is told nothing, which the browser takes for a no. */
  answerPreflight(response: ServerResponse) {
    const { headers } = this.#request
    const asked = headers['access-control-request-headers']
    const allowing = {
      'Access-Control-Allow-Methods': String(headers['access-control-request-method']),
      ...(asked ? { 'Access-Control-Allow-Headers': asked } : {}),
      'Access-Control-Max-Age': `${PREFLIGHT_MAX_AGE_S}`
    }
    response.writeHead(204, {
      ...Object.fromEntries(this.#own()),
      ...(this.#allowed ? allowing : {})
    })
    response.end()
  }

  /** Puts our word in place of the service's own. */
  amend(headers: RawHeaders): RawHeaders {
    const amended: RawHeaders = []
    copyHeaders(headers, amended, (name) => name.startsWith('access-control-'))
    if (this.#allowed) amended.push('Access-Control-Expose-Headers', '*')
    return amended.concat(...this.#own())
  }

  #own(): [string, string][] {
    const own: [string, string][] = [['Vary', 'Origin']]
    if (this.#allowed) own.push(['Access-Control-Allow-Origin', this.#allowed])
    // Credentials may not be allowed for just any page.
    if (this.#allowed && this.#allowed !== '*')
      own.push(['Access-Control-Allow-Credentials', 'true'])
    return own
  }
}
