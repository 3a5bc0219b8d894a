import { once } from 'node:events'
import t, { type Test } from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import type { Lease } from '../../../lib/registry/replica/lease.js'
import { Membership } from '../../../lib/registry/swarm/membership.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import { shows, Testbed } from '../../testbed.js'
import { inTime } from '../../watchdog.js'

const TERMS = { serve: ['*'], consume: [], admin: false, expiresAt: 0 }

/** A private registry with one participant, which may read, whatever becomes of its services. */
async function privateRegistry(t: Test) {
  const testbed = await Testbed.make(t)
  const { keyPair } = testbed
  const registrar = await testbed.registrar({ private: true })
  const { grants, statements } = registrar.replica.membership
  const grant = ({ publicKey }: KeyPair, terms = {}) => {
    const issuedAt = grants.lastWordOn(publicKey.toString('hex')) + 1
    const all = { ...TERMS, ...terms }
    statements.add(signGrant(keyPair.publicKey, keyPair, publicKey, all, issuedAt))
  }
  const revoke = ({ publicKey }: KeyPair) =>
    statements.add(signRevocation(keyPair.publicKey, keyPair, publicKey))
  const membership = new Membership(keyPair.publicKey)
  const process = KeyPair()
  membership.addIdentity(process)
  grant(process, { serve: [] })
  const replica = await testbed.replica({ membership })
  await replica.synced()
  return { testbed, registrar, grant, revoke, replica }
}

/** Resolves with the code once the lease is denied. */
async function denied(lease: Lease): Promise<string> {
  const [{ code }] = await once(lease, 'denied')
  return code
}

t.test(
  'a service that is revoked is told so, others of its process are not, and it is back when it is granted anew',
  async (t) => {
    const { testbed, grant, revoke, replica } = await privateRegistry(t)
    const [one, other] = [KeyPair(), KeyPair()]
    grant(one)
    grant(other)
    const lease = await testbed.lease(replica, { keyPair: one, role: 'one' })
    const neighbour = await testbed.lease(replica, { keyPair: other, role: 'other' })
    neighbour.on('lost', () => t.fail('the other was lost, too'))
    await shows(replica.directory, (all) => all.length === 2)
    const told = denied(lease)
    const lost = once(lease, 'lost')
    revoke(one)
    t.equal(await told, 'NOT_GRANTED')
    await lost
    t.match(await shows(replica.directory, (all) => all.length === 1), [{ role: 'other' }])

    const back = once(lease, 'registered')
    grant(one)
    await back
    await shows(replica.directory, (all) => all.length === 2 && all.every(({ live }) => live))
  }
)

t.test('a service is gone when its grant ends, though its process may still read', async (t) => {
  const { testbed, grant, replica } = await privateRegistry(t)
  const keyPair = KeyPair()
  const expiresAt = Date.now() + 1000
  grant(keyPair, { expiresAt })
  const lease = await testbed.lease(replica, { keyPair })
  await shows(replica.directory, (all) => all.length === 1)
  t.equal(await denied(lease), 'NOT_GRANTED')
  await shows(replica.directory, (all) => all.length === 0)
  t.ok(inTime(Date.now() - expiresAt, 3000), 'soon after')
})

t.test('a registrar that learns that its registry is private keeps who may serve', async (t) => {
  const testbed = await Testbed.make(t)
  const open = await testbed.registrar()
  const replica = await testbed.replica()
  const [guest, member] = [KeyPair(), KeyPair()]
  const { keyPair } = testbed
  for (const { publicKey } of [member, testbed.keyPair]) {
    const grant = signGrant(keyPair.publicKey, keyPair, publicKey, TERMS)
    open.replica.statements.add(grant)
  }
  // The connection may stay: it is the lease that goes.
  replica.membership.addIdentity(member)
  await testbed.lease(replica, { keyPair: guest, role: 'guest' })
  await testbed.lease(replica, { keyPair: member, role: 'member' })
  t.equal(open.stats.leases, 2)
  const cut = once(open, 'gone')
  await testbed.registrar({ private: true })
  const [{ role }] = await cut
  t.equal(role, 'guest')
})
