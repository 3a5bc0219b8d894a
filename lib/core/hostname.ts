import { isIP } from 'node:net'
import { hostname } from 'node:os'

/**
 * Where nobody can register a name: addresses, and what is reserved for this machine, for tests and examples,
 * and for networks of one's own (RFC 6761, 2606 and 8375, ICANN's `internal`).
 */
const NOBODYS =
  /(^|\.)(\d+|localhost|test|example|invalid|internal|home\.arpa|example\.(com|net|org))$/

/** What a name of the DNS looks like, as Host fields have it in lower case. No wildcard. */
export const DNS_NAME =
  '^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$'
const ANY_DNS_NAME = new RegExp(DNS_NAME, 'u')

/** Whether a value from outside can be a hostname of an app. */
export function isDnsName(value: unknown): value is string {
  return typeof value === 'string' && ANY_DNS_NAME.test(value)
}

/** The name in a Host field: without its port, in lower case. */
export function hostnameOf(host: string): string {
  return host
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase()
}

/** Whether a name means the machine itself, and not a domain on it. */
export function isOwnName(name: string): boolean {
  return (
    isIP(name) !== 0 ||
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === hostname().toLowerCase()
  )
}

/** Whether it can be a stranger's: a name of the public DNS. Those without a dot are not. */
export function isOwnable(hostname: string): boolean {
  return hostname.includes('.') && !NOBODYS.test(hostname) && !isOwnName(hostname)
}
