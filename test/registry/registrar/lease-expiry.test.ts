import { once } from 'node:events'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Outage } from '../../../lib/registry/registrar/outage.js'
import type { Instance } from '../../../lib/registry/replica/directory.js'
import type { Lease } from '../../../lib/registry/replica/lease.js'
import type { Replica } from '../../../lib/registry/replica/replica.js'
import { type LogEntry, recordOf, signRecord } from '../../../lib/registry/trust/record.js'
import { shows, Testbed } from '../../testbed.js'

const MANY = 12

function keyPairs(count: number): KeyPair[] {
  return Array.from({ length: count }, () => KeyPair())
}

async function leases(testbed: Testbed, owner: Replica, keys: KeyPair[]): Promise<Lease[]> {
  return Promise.all(keys.map((keyPair) => testbed.lease(owner, { keyPair })))
}

function statuses(instances: readonly Instance[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status } of instances) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** Many leases of one owner and three of another, of which the first has lost its network. */
async function outage(t: Test, options: Parameters<Testbed['registrar']>[0] = {}) {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar(options)
  const [owner, neighbour, reader] = await Promise.all([
    testbed.replica(),
    testbed.replica(),
    testbed.replica()
  ])
  const keys = keyPairs(MANY)
  await leases(testbed, neighbour, keyPairs(3))
  await leases(testbed, owner, keys)
  await shows(reader.directory, (instances) => instances.length === MANY + 3)
  const changes: string[] = []
  reader.directory.watch((change) => changes.push(change))
  await testbed.close(owner)
  await shows(reader.directory, (all) => statuses(all).stale === MANY)
  return { testbed, registrar, reader, keys, changes }
}

t.test(
  'leases that vanish at once are kept as a last resort, and are as before once they are back',
  async (t) => {
    const { testbed, registrar, reader, keys, changes } = await outage(t)
    t.match(statuses(reader.directory.list()), { passing: 3, stale: MANY })
    t.equal(registrar.stats.stale, MANY)
    const order = reader.directory.resolve('couchdb', '3.x').map(({ status }) => status)
    t.strictSame(order.slice(0, 3), ['passing', 'passing', 'passing'])

    await leases(testbed, await testbed.replica(), keys)
    await shows(reader.directory, (all) => statuses(all).passing === MANY + 3)
    t.equal(registrar.stats.stale, 0)
    t.notOk(changes.includes('down'), 'nobody lost sight of one')
  }
)

t.test('who comes later sees that they are stale, too', async (t) => {
  const { testbed } = await outage(t)
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.match(statuses(newcomer.directory.list()), { passing: 3, stale: MANY })
})

t.test('stale instances go when their time is over', async (t) => {
  const { registrar, reader } = await outage(t, { staleGrace: 200 })
  await shows(reader.directory, (all) => all.length === 3)
  t.match(registrar.stats, { stale: 0, lost: MANY })
})

t.test('an owner that withdraws is gone at once, stale or not', async (t) => {
  const { testbed, reader, keys } = await outage(t)
  const [keyPair] = keys as [KeyPair]
  const other = await testbed.replica()
  const [peer = (await once(other, 'registrar'))[0]] = other.registrars
  const { key, seq } = recordOf(
    reader.directory.entry(toHex((keyPair as KeyPair).publicKey)) as LogEntry
  )
  const withdrawal = { role: 'couchdb', version: '3.2.2', tags: [], direct: [] }
  const record = signRecord(testbed.keyPair.publicKey, keyPair, {
    ...withdrawal,
    status: 'withdrawn',
    holder: other.key,
    seq: seq + 1
  })
  t.match(await peer.lease(record), { code: '' })
  await shows(reader.directory, (all) => all.length === MANY + 2)
  t.equal(reader.directory.get(key), null)
})

t.test(
  'after a restart, owners that all stay away are stale, and a restart does not forget it',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dir = await testbed.dir()
    const first = await testbed.registrar({ dir })
    const owner = await testbed.replica()
    await leases(testbed, owner, keyPairs(MANY))
    const reader = await testbed.replica()
    await shows(reader.directory, (all) => all.length === MANY)
    await testbed.close(first)
    await testbed.close(owner)
    const second = await testbed.registrar({ dir, restartGrace: 50 })
    await shows(reader.directory, (all) => statuses(all).stale === MANY)
    await testbed.close(second)
    await testbed.registrar({ dir, staleGrace: 100 })
    await shows(reader.directory, (all) => all.length === 0)
  }
)

t.test('who leaves while its leases are being written holds none of them', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  const [peer = (await once(owner, 'registrar'))[0]] = owner.registrars
  // Some are verified while others are written.
  const asked = keyPairs(60).map((keyPair, i) => {
    const said = { role: 'couchdb', version: '3.2.2', tags: [], direct: [] }
    const signed = { ...said, status: 'passing', holder: owner.key, seq: i + 1 } as const
    return peer.lease(signRecord(testbed.keyPair.publicKey, keyPair, signed))
  })
  const back = once(owner, 'registrar')
  const { directory, peering } = registrar.replica
  const stop = directory.watch(() => {
    stop()
    peering.peers.get(owner.key)?.destroy()
  })
  await Promise.allSettled(asked)
  await back
  // Written after all of them.
  await testbed.lease(owner)
  t.equal(registrar.stats.leases, 1, 'those of who is there')
  await shows(directory, (all) => (statuses(all).passing ?? 0) <= 1)
})

t.test('few leases, or a few of many, just end', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const [few, neighbour] = await Promise.all([testbed.replica(), testbed.replica()])
  await leases(testbed, few, keyPairs(9))
  await testbed.close(few)
  const { directory } = registrar.replica
  await shows(directory, (all) => all.length === 0)
  t.match(registrar.stats, { stale: 0, lost: 9 }, 'nine are all, but few')

  const some = await testbed.replica()
  await leases(testbed, neighbour, keyPairs(20))
  await leases(testbed, some, keyPairs(10))
  await testbed.close(some)
  await shows(directory, (all) => all.length === 20)
  t.match(registrar.stats, { stale: 0, lost: 19 }, 'ten are many, but few of thirty')
})

t.test('an outage is told from chance by how many are lost in one window', (t) => {
  let time = 0
  const outage = new Outage(() => time)
  const none = { held: 100, doubtful: 0 }
  for (const key of 'abcdefghi') t.strictSame(outage.suspects(key, none), [])
  t.strictSame(outage.suspects('j', { held: 10, doubtful: 0 }), [], 'exactly half is not more')
  const all = [...'abcdefghijk']
  t.strictSame(outage.suspects('k', { held: 10, doubtful: 0 }), all, 'and those before it')
  t.strictSame(outage.suspects('l', { held: 9, doubtful: 0 }), ['l'])
  time += 5001
  t.strictSame(outage.suspects('m', { held: 0, doubtful: 0 }), [], 'long after')
  t.strictSame(outage.suspects('n', { held: 20, doubtful: 18 }), ['m', 'n'], 'silent ones count')
  outage.end('m')
  t.strictSame(outage.suspects('o', { held: 8, doubtful: 8 }), ['o'])
  t.strictSame(outage.suspects('p', { held: 6, doubtful: 6 }), [], 'those that came back do not')
  t.end()
})
