import { SeaportError } from '../core/errors.js'
import type { KeyPair } from '../core/keys.js'
import { type DirectReach, parseDirectReach } from '../link/direct/address.js'
import { DirectConnector } from '../link/direct/connector.js'
import { LinkPool } from '../link/pool.js'
import type { MemberOptions, Participant } from '../registry/replica/participant.js'

/** Options of consumers and gateways, which call services. */
export interface CallerOptions extends MemberOptions {
  /**
   * Which addresses of services may be connected to by TCP, beside the DHT: none, those of this machine
   * and of private networks, or public ones too. Default: any, as the services say.
   */
  direct?: DirectReach | undefined
}

const DIRECT_REACH: DirectReach = 'any'

/**
 * Checks options. Call it before a participant is acquired: a caller that fails later would keep the participant open.
 *
 * @throws USAGE
 */
export function checkCaller({ direct = DIRECT_REACH }: CallerOptions) {
  parseDirectReach(direct)
}

/**
 * Whose key links are made with, and at which further addresses services are looked for, where that differs from the
 * participant's own links.
 */
export interface LinkNames {
  keyPair?: () => KeyPair
  addressesOf?: (servicePublicKey: Buffer) => readonly string[]
}

/**
 * The pool of links from a member of a registry to its services. It uses the member's process key unless another is
 * given. A service that leaves ends its streams in order; links to one whose rights were revoked are cut here.
 *
 * @throws USAGE
 */
export function linksOf(
  participant: Participant,
  reach: DirectReach = DIRECT_REACH,
  {
    keyPair = () => participant.keyPair,
    addressesOf = (key) => participant.addressesOf(key)
  }: LinkNames = {}
): LinkPool {
  const pool = new LinkPool({
    connect: (key, relay) => participant.network.connect(key, keyPair(), relay?.key),
    relay: () => participant.relay,
    connector: new DirectConnector({ keyPair, addressesOf, reach: parseDirectReach(reach) })
  })
  const { grants } = participant.membership
  const stop = grants.watch((subject) => {
    if (subject === undefined || !grants.isRevoked(subject)) return
    pool.cut(subject, SeaportError.NOT_GRANTED('the service was put out of this private registry'))
  })
  const onmoved = () => void pool.checkPaths()
  participant.network.on('moved', onmoved)
  pool.once('close', () => {
    stop()
    participant.network.off('moved', onmoved)
  })
  return pool
}
