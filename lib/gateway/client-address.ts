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
    const before = (said.pop() ?? '').trim()
    if (isIP(before) === 0) break
    client = before
  }
  return networkOf(client)
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
