import { SeaportError } from '../core/errors.js'
import type { RequestHead } from '../http/message-head.js'

/**
 * The absolute form of a request's target, which names host and path both. Host does not count then (RFC 9112 §3.2.2).
 */
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i
/** RFC 3986 §3.2. */
const HOST = /^(\[[0-9a-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(:\d*)?$/i

/**
 * The path that is asked for, with its query.
 *
 * @throws BAD_REQUEST
 */
export function pathOf({ url = '/' }: RequestHead): string {
  if (url.startsWith('/')) return url
  if (url === '*') return '/'
  const path = ABSOLUTE.exec(url)?.[2]
  if (path === undefined) throw SeaportError.BAD_REQUEST('the request target is not a path')
  return path.startsWith('/') ? path : `/${path}`
}

/**
 * The hostname that is asked for, with its port. Over HTTP/2 the authority counts and not Host (RFC 9113 §8.3.1). A
 * request without either, as HTTP/1.0 allows, means the address that it connected to.
 */
export function hostOf({ url = '/', headers, socket }: RequestHead): string {
  const named = url.startsWith('/') ? undefined : ABSOLUTE.exec(url)?.[1]
  // A user and a password in a URL are not part of the name (RFC 9110 §4.2.4).
  const host = named?.replace(/^.*@/, '') || headers[':authority'] || headers.host
  return String(host || localNameOf(socket))
}

/** Whether a text is a name or an address, with or without a port. */
export function isHost(text: string): boolean {
  return HOST.test(text)
}

function localNameOf({ localAddress = 'localhost', localPort }: RequestHead['socket']): string {
  const address = localAddress.replace(/^::ffff:/, '')
  const name = address.includes(':') ? `[${address.replace(/%.*$/, '')}]` : address
  return localPort === undefined ? name : `${name}:${localPort}`
}
