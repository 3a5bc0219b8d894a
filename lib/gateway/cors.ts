import type { ServerResponse } from 'node:http'
import { SeaportError } from '../core/errors.js'
import { parseRolePattern, type RolePattern } from '../core/role-pattern.js'
import { copyHeaders, listed } from '../http/headers.js'
import type { RawHeaders, RequestHead } from '../http/message-head.js'
import type { Refusal } from './refusal.js'

/** Which web pages may call a role from a browser. */
export interface CorsOptions {
  /** The roles that they may call, as in `api@1.x`, `@team/*@2.x` or `*`. */
  role: string
  /** The origin of the pages, as in `https://app.example.com`, or `*` for all. */
  origin: string
}

/** A rule whose texts have been parsed. */
export interface CorsRule {
  roles: RolePattern
  origin: string
}

const PREFLIGHT_MAX_AGE_S = 600
const EXPOSE = 'Access-Control-Expose-Headers'

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

/** The target of a request, as far as rules need it. */
export interface CorsTarget {
  role: string
  /** The version of the instance that would be asked; null if there is none now. */
  version: string | null
}

/** What CORS (Fetch standard §3.2) means for one request, null if its target has no rule. */
export class Cors {
  readonly #request: RequestHead
  readonly #allowed: string | null

  private constructor(request: RequestHead, allowed: string | null) {
    this.#request = request
    this.#allowed = allowed
  }

  static of(
    rules: readonly CorsRule[],
    request: RequestHead,
    { role, version }: CorsTarget
  ): Cors | null {
    const applying = rules.filter(({ roles }) =>
      version === null ? roles.hasRole(role) : roles.has(role, version)
    )
    if (applying.length === 0) return null
    const { origin = '' } = request.headers
    const origins = applying.map(({ origin }) => origin)
    const allowed = origins.includes(origin) ? origin : origins.includes('*') ? '*' : null
    return new Cors(request, allowed)
  }

  /** Whether it is a preflight, by which a browser asks whether a page may send the request itself. */
  get isPreflight(): boolean {
    const { method, headers } = this.#request
    return (
      method === 'OPTIONS' &&
      headers.origin !== undefined &&
      headers['access-control-request-method'] !== undefined
    )
  }

  /**
   * Answers a preflight. For a page that is not allowed the answer has no CORS fields, which a browser takes for a no.
   */
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

  /** Replaces the service's CORS fields by those of the rule. The service still says which of its fields a page may read. */
  amend(headers: RawHeaders): RawHeaders {
    const amended: RawHeaders = []
    copyHeaders(headers, amended, (name) => name.startsWith('access-control-'))
    if (this.#allowed) amended.push(EXPOSE, this.#exposed(headers))
    return amended.concat(...this.#own())
  }

  /** Adds the CORS fields with which a page may read the refusal. */
  amendRefusal(refusal: Refusal): Refusal {
    const names = Object.keys(refusal.headers)
    const exposed = this.#allowed && names.length > 0 ? { [EXPOSE]: names.join(', ') } : {}
    return {
      ...refusal,
      headers: { ...refusal.headers, ...exposed, ...Object.fromEntries(this.#own()) }
    }
  }

  /**
   * The fields that a page may read: those that the service lists, or else all. Where credentials are allowed, `*`
   * would mean a field of that name, so each field is named.
   */
  #exposed(headers: RawHeaders): string {
    const listed = listedIn(headers, 'access-control-expose-headers')
    if (this.#allowed === '*') return listed || '*'
    if (listed !== '' && !/(^|,)\s*\*\s*(,|$)/.test(listed)) return listed
    const names = headers.filter((_, i) => i % 2 === 0)
    return [...new Map(names.map((name) => [name.toLowerCase(), name])).values()]
      .filter((name) => !/^(access-control-.*|set-cookie2?)$/i.test(name))
      .join(', ')
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

function listedIn(headers: RawHeaders, name: string): string {
  return listed(headers, name)
    .filter((value) => value.trim() !== '')
    .join(', ')
}
