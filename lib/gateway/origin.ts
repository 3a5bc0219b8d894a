import type { IncomingMessage } from 'node:http'
import { SeaportError } from '../core/errors.js'

/**
 * Refuses requests of pages of another origin, unless that origin is allowed. A browser would send them with the
 * credentials of its user.
 *
 * @throws FORBIDDEN
 */
export function checkOrigin({ headers }: IncomingMessage, host: string, mayAsk: Set<string>) {
  const { origin } = headers
  if (origin === undefined || mayAsk.has(origin)) return
  if (isSameHost(origin, host)) return
  throw SeaportError.FORBIDDEN(`pages of ${origin} may not call commands here`)
}

/**
 * Whether a page was loaded from this host. The scheme is not compared, because behind a proxy that speaks TLS the
 * gateway does not know it.
 */
export function isSameHost(origin: string, host: string): boolean {
  return origin.replace(/^https?:\/\//, '').toLowerCase() === host.toLowerCase()
}
