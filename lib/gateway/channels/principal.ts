import { SeaportError } from '../../core/errors.js'
import type { RequestHead } from '../../http/message-head.js'
import type { Principal } from '../access.js'
import { isSameHost } from '../origin.js'
import type { GatewayRules } from '../rules.js'

export interface OpenedBy {
  request: RequestHead
  /** The principal that the request's own fields name. */
  principal: Principal
  /** The hostname that the page asked for. */
  host: string
  /** The client address that its guesses count for. */
  client: string
}

/**
 * Identifies who has opened a channel. Credentials that a browser adds by itself do not count for a page of another
 * origin; such a page has to present a token.
 *
 * @param token the token that the page has sent
 * @throws UNAUTHORIZED
 */
export async function principalOnChannel(
  { access, cors }: GatewayRules,
  { request, principal, host, client }: OpenedBy,
  token: string | undefined
): Promise<Principal> {
  if (access.isOpen) return principal
  if (token !== undefined) {
    const known = await access.identify(`Bearer ${token}`, client)
    if (known) return known
    throw SeaportError.UNAUTHORIZED('this token is not known here')
  }
  const { origin } = request.headers
  const isOurs =
    origin === undefined || isSameHost(origin, host) || cors.some((rule) => rule.origin === origin)
  return isOurs ? principal : access.anonymous
}
