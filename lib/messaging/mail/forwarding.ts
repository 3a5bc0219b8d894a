import type { Replica } from '../../registry/replica/replica.js'
import { recordOf } from '../../registry/trust/signed.js'
import { Forwarder, type Neighbour } from './forwarder.js'

/** Another member on a connection. */
type Peer = NonNullable<ReturnType<Replica['peering']['peers']['get']>>

const forwarders = new WeakMap<Replica, Forwarder>()

/**
 * The forwarder of a replica. All who ask for one replica share it.
 *
 * @param forwards false if it is not to pass on others' letters
 */
export function forwarderOf(replica: Replica, forwards = true): Forwarder {
  const forwarder = forwarders.get(replica) ?? make(replica)
  if (!forwards) forwarder.forwards = false
  return forwarder
}

function make(replica: Replica): Forwarder {
  const neighbours = new WeakMap<Peer, Neighbour>()
  const neighbourOf = (peer: Peer): Neighbour => {
    const known = neighbours.get(peer)
    if (known) return known
    const neighbour = { key: peer.key, send: (frame: Buffer) => peer.sendMail(frame) }
    neighbours.set(peer, neighbour)
    return neighbour
  }
  const { directory, membership, peering, registry } = replica
  const forwarder = new Forwarder({
    registry,
    neighbours: () => [...peering.peers.values()].map(neighbourOf),
    holderOf: (key) => {
      const entry = directory.entry(key)
      return entry && recordOf(entry).holder
    },
    mayWrite: (from) => membership.grants.allows(from, { kind: 'read' })
  })
  const meet = (peer: Peer) => {
    peer.on('mail', (frame) => forwarder.receive(neighbourOf(peer), frame))
  }
  replica.on('peer', meet)
  for (const peer of peering.peers.values()) meet(peer)
  forwarders.set(replica, forwarder)
  return forwarder
}
