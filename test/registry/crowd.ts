import { once } from 'node:events'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Membership } from '../../lib/registry/swarm/membership.js'
import type { Peer } from '../../lib/registry/swarm/peer.js'
import { Peering } from '../../lib/registry/swarm/peering.js'
import { signRecord } from '../../lib/registry/trust/record.js'
import type { Testbed } from '../testbed.js'

/**
 * Registers so many services at once, over one connection to a registrar, and holds their leases until
 * the test ends. Returns the connection, to end them sooner.
 */
export async function registerCrowd(testbed: Testbed, size: number): Promise<Peer> {
  const registry = testbed.keyPair.publicKey
  const keyPair = KeyPair()
  const peering = new Peering({
    network: await testbed.network(),
    registry,
    keyPair,
    membership: new Membership(registry),
    as: 'observer'
  })
  testbed.teardown(() => peering.close())
  const connected = once(peering, 'peer')
  await peering.ready()
  const [peer] = (await connected) as [Peer]
  await once(peer, 'ping')
  const holder = toHex(keyPair.publicKey)
  const fields = { version: '1.0.0', tags: [], status: 'passing', direct: [], holder } as const
  const records = Array.from({ length: size }, (_, i) =>
    signRecord(registry, KeyPair(), {
      ...fields,
      role: `crowd-${i % 10}`,
      tags: [],
      direct: [],
      seq: 1
    })
  )
  const answers = await Promise.all(records.map((record) => peer.lease(record)))
  const denied = answers.find(({ code }) => code !== '')
  if (denied) throw new Error(`${denied.code}: ${denied.text}`)
  return peer
}
