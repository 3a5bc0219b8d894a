import type { SecretStream } from './holepunch.js'

/** What HyperDHT says is between a side and others. */
const SIDES = [
  'a network that is not known well',
  'nothing that keeps calls out',
  'a router or firewall that keeps its ports',
  'a router that gives each call another port'
]

/** What helps where no hole is found. */
const REMEDY =
  'a registrar that can be called from outside would pass on between them (registry --relay), and an address in the LAN or in public ' +
  'helps (service --direct)'

const NO_HOLE = new Set([
  'HOLEPUNCH_ABORTED',
  'HOLEPUNCH_PROBE_TIMEOUT',
  'CANNOT_HOLEPUNCH',
  'REMOTE_ABORTED',
  'REMOTE_NOT_HOLEPUNCHABLE',
  'REMOTE_NOT_HOLEPUNCHING',
  'RELAY_ABORTED'
])

const sides = new WeakMap<SecretStream, { remote: number; local: number }>()

/** Remembers what is between the two sides of a connection that is being made, as HyperDHT numbers it. */
export function noteSides(connection: SecretStream, remote: number, local: number) {
  sides.set(connection, { remote, local })
}

/**
 * Why no connection was made, for people: which side is behind what, and what helps.
 *
 * @param code HyperDHT's
 */
export function whyUnmet(connection: SecretStream, code: string | undefined): string {
  if (code === 'PEER_NOT_FOUND')
    return 'nobody is announced there in this DHT, it has most likely ended'
  if (code === 'PEER_CONNECTION_FAILED')
    return 'it is announced there and does not answer, it has most likely ended or lost its network'
  if (code === 'HOLEPUNCH_DOUBLE_RANDOMIZED_NATS')
    return `both sides are behind ${SIDES[3]}, so that no hole can be punched; ${REMEDY}`
  if (code !== undefined && !NO_HOLE.has(code)) return code
  const known = sides.get(connection)
  if (!known) return code ? `no hole was found; ${REMEDY}` : 'no connection could be made'
  const [here, there] = [known.local, known.remote].map((side) => SIDES[side] ?? SIDES[0])
  return `this side is behind ${here}, the other behind ${there}, and no hole was found; ${REMEDY}`
}
