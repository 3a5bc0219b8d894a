import { SeaportError } from '../../core/errors.js'
import type { RequestHead } from '../../http/message-head.js'
import type { Principal } from '../access.js'
import { isSameHost } from '../origin.js'
import type { GatewayRules } from '../rules.js'

export interface OpenedBy {
  request: RequestHead
  /** Whom the request's own fields name. */
  principal: Principal
  /** The name that the page asked for. */
  host: string
  /** The address that it counts for. */
  client: string
}

/**
 * Who has opened a channel. What a browser sends by itself does not count for a page of another origin, which has to
 * know a token of its own.
 *
 * @param token what the page has said
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
