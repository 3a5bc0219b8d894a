import { isIP } from 'node:net'
import { listed } from '../http/headers.js'
import type { RequestHead } from '../http/message-head.js'
import { addressOf } from './access-log.js'

/**
 * The client address that limits count for. It is the address of the connection; or behind a trusted proxy the last
 * entry of X-Forwarded-For that is no trusted proxy itself.
 */
export function clientOf(
  { socket, rawHeaders }: Pick<RequestHead, 'socket' | 'rawHeaders'>,
  isTrusted: (address: string) => boolean
): string {
  let client = addressOf(socket)
  const said = listed(rawHeaders, 'x-forwarded-for').join(',').split(',')
  while (isTrusted(client)) {
    const before = withoutPort((said.pop() ?? '').trim())
    if (isIP(before) === 0) break
    client = plain(before)
  }
  return networkOf(client)
}

/** Some proxies name the port of their client, too: `192.0.2.1:50000`, `[2001:db8::1]:50000`. */
function withoutPort(text: string): string {
  const [, ipv6, ipv4] = /^(?:\[([\da-f:.]+)\]|([\d.]+))(?::\d+)?$/i.exec(text) ?? []
  return ipv6 ?? ipv4 ?? text
}

/** Addresses of IPv4 as IPv6 writes them. Proxies that listen on both name their clients so. */
const MAPPED = /^(?:::|(?:0{1,4}:){5})ffff:(?:([\d.]+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/i

function plain(address: string): string {
  const [, ipv4, high, low] = MAPPED.exec(address) ?? []
  if (ipv4 !== undefined) return ipv4
  if (high === undefined || low === undefined) return address
  return [high, low].flatMap((group) => [...toBytes(Number.parseInt(group, 16))]).join('.')
}

function toBytes(group: number): [number, number] {
  return [group >> 8, group & 0xff]
}

/** IPv6 addresses count by their /64 network, because whoever has one address of it usually has all. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.split('::')
  const groups = head.split(':').filter(Boolean)
  const after = (tail ?? '').split(':').filter(Boolean)
  while (tail !== undefined && groups.length + after.length < 8) groups.push('0')
  return [...groups, ...after]
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''))
    .join(':')
}
