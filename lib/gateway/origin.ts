import type { IncomingMessage } from 'node:http'
import { SeaportError } from '../core/errors.js'

/**
 * A browser sends what a page asks it to, with the credentials that it has: what a page of another origin wants done
 * is not done, unless it is one of those that may.
 *
 * @throws FORBIDDEN
 */
export function checkOrigin({ headers }: IncomingMessage, host: string, mayAsk: Set<string>) {
  const { origin } = headers
  if (origin === undefined || mayAsk.has(origin)) return
  if (isSameHost(origin, host)) return
  throw SeaportError.FORBIDDEN(`pages of ${origin} may not call commands here`)
}

/** Whether a page is of this host. Behind a proxy that speaks TLS, the gateway does not know the scheme. */
export function isSameHost(origin: string, host: string): boolean {
  return origin.replace(/^https?:\/\//, '').toLowerCase() === host.toLowerCase()
}
