import { isIPv6 } from 'node:net'
import type { RawHeaders } from './message-head.js'

/** How the client reached us, as the services behind the gateway are told. */
export interface Forwarded {
  /** Address of the client. */
  client: string
  host: string
  proto: 'http' | 'https'
  /** The beginning of the path that named the target and is not passed on, as in `/role/couchdb@3.x`. */
  prefix: string
  /** Whether the client is a trusted proxy, whose own forwarding fields are kept. */
  isTrusted: boolean
}

/** What a proxy in front says of the request that it received. */
interface Said {
  /** Addresses, the client's first. */
  addresses: string[]
  host: string | undefined
  proto: string | undefined
  /** The same addresses, as elements of a Forwarded field. */
  elements: string[]
}

/** The fields that the gateway writes itself. Those that came are never passed on. */
const OURS = new Set([
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-prefix'
])
const OTHERS = /^x-(real-ip|forwarded-.*)$/
const NOTHING_SAID: Said = { addresses: [], host: undefined, proto: undefined, elements: [] }
const ELEMENT = /(?:"(?:\\.|[^"\\])*"|[^,"])+/g
const PARAMETER = /(?:^|;)\s*([\w-]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;"]*)/g

/**
 * Whether a field says where a request came from, and is therefore not passed on. CGI and WSGI treat `_` and other
 * characters like `-`, so such a spelling counts as the same name. No proxy writes it like that, so it is dropped even
 * where the proxy is trusted.
 *
 * @param name in lower case
 */
export function isForwardingField(name: string, isTrusted: boolean): boolean {
  const read = name.replaceAll(/[^a-z0-9]/g, '-')
  if (OURS.has(read)) return true
  return OTHERS.test(read) && !(isTrusted && name === read)
}

/**
 * The fields that say where a request came from. What a trusted proxy says of it stands in all of them alike. Many set
 * X-Forwarded-* and pass on what the client says in Forwarded, so the first counts where there are both.
 *
 * @param listed all values of a field
 */
export function forwardingHeaders(
  { client, host, proto, prefix, isTrusted }: Forwarded,
  listed: (name: string) => string[]
): RawHeaders {
  const said = isTrusted
    ? (saidInFields(listed) ?? saidInForwarded(listed('forwarded')))
    : NOTHING_SAID
  const outerHost = said.host ?? host
  const outerProto = said.proto ?? proto
  const headers = [
    'Forwarded',
    [...said.elements, element(client, outerHost, outerProto)].join(', '),
    'X-Forwarded-For',
    [...said.addresses, client].join(', '),
    'X-Forwarded-Host',
    outerHost,
    'X-Forwarded-Proto',
    outerProto
  ]
  if (prefix !== '') {
    const before = isTrusted ? (listed('x-forwarded-prefix')[0] ?? '') : ''
    headers.push('X-Forwarded-Prefix', `${before}${prefix}`)
  }
  return headers
}

function saidInFields(listed: (name: string) => string[]): Said | null {
  const addresses = split(listed('x-forwarded-for'))
  const [host] = split(listed('x-forwarded-host'))
  const [proto] = split(listed('x-forwarded-proto'))
  if (addresses.length === 0 && host === undefined && proto === undefined) return null
  return {
    addresses,
    host,
    proto,
    elements: addresses.map((address, i) =>
      i === 0 ? element(address, host, proto) : element(address)
    )
  }
}

function saidInForwarded(values: string[]): Said {
  const elements = values
    .flatMap((value) => value.match(ELEMENT) ?? [])
    .map((text) => text.trim())
    .filter((text) => text !== '')
  const [first] = elements
  if (first === undefined) return NOTHING_SAID
  const { host, proto } = parametersOf(first)
  const addresses = elements
    .map((text) => parametersOf(text).for?.replace(/^\[(.*)\](:\d+)?$/, '$1'))
    .filter((address) => address !== undefined)
  return { addresses, host, proto, elements }
}

function parametersOf(text: string): Record<string, string> {
  const parameters: Record<string, string> = Object.create(null)
  for (const [, name = '', value = ''] of text.matchAll(PARAMETER)) {
    const unquoted = value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value
    parameters[name.toLowerCase()] = unquoted.trim()
  }
  return parameters
}

function element(address: string, host?: string, proto?: string): string {
  const parts = [`for=${isIPv6(address) ? `"[${address}]"` : quote(address)}`]
  if (host !== undefined) parts.push(`host=${quote(host)}`)
  if (proto !== undefined) parts.push(`proto=${quote(proto)}`)
  return parts.join(';')
}

function split(values: string[]): string[] {
  return values
    .flatMap((value) => value.split(','))
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

/** RFC 7239 §4: a value that is no token goes in quotes. */
function quote(value: string): string {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? value : `"${value.replaceAll(/["\\]/g, '\\$&')}"`
}
