import { isIP } from 'node:net'
import { listed } from '../http/headers.js'
import type { RequestHead } from '../http/message-head.js'
import { addressOf } from './access-log.js'

/**
 * The address that a request counts for where clients are told apart: that of the connection, or, where that is a
 * proxy's whose word is trusted, what it says of its client (the last untrusted entry of X-Forwarded-For).
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

/** Whoever has one address of IPv6 has the 2^64 of its network. */
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
