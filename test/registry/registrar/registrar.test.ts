import { once } from 'node:events'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Lease } from '../../../lib/registry/replica/lease.js'
import { shows, Testbed } from '../../testbed.js'

t.test(
  'a record is in every directory once a registrar confirmed it, and gone once withdrawn',
  async (t) => {
    const testbed = await Testbed.make(t)
    await testbed.registrar()
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    const lease = await testbed.lease(owner, {
      role: '@team/api',
      version: '1.0.0-rc.1',
      tags: ['eu']
    })
    const [instance] = await shows(reader.directory, (instances) => instances.length === 1)
    t.match(instance, {
      role: '@team/api',
      version: '1.0.0-rc.1',
      tags: ['eu'],
      status: 'passing',
      live: true
    })
    lease.update({ status: 'failing' })
    await shows(reader.directory, ([instance]) => instance?.status === 'failing')
    await lease.close()
    await shows(reader.directory, (instances) => instances.length === 0)
  }
)

t.test(
  'a registrar that comes back on its folder has the same log, and services lease again',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dir = await testbed.dir()
    const first = await testbed.registrar({ dir })
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    const lease = await testbed.lease(owner)
    await shows(reader.directory, (instances) => instances.length === 1)
    const logs = first.replica.logs()
    await testbed.close(first)
    await shows(reader.directory, ([instance]) => instance?.live === false)

    const registered = once(lease, 'registered')
    const second = await testbed.registrar({ dir })
    await registered
    t.equal(second.replica.logs()[0]?.logKey, logs[0]?.logKey)
    t.equal(second.replica.logs().length, 1)
    await shows(reader.directory, ([instance]) => instance?.live === true)
    t.equal(reader.directory.size, 1)
  }
)

t.test(
  'a registrar that comes back on an empty folder is found, and services register again',
  async (t) => {
    const testbed = await Testbed.make(t)
    const first = await testbed.registrar()
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    const lease = await testbed.lease(owner)
    await shows(reader.directory, (instances) => instances.length === 1)
    await testbed.close(first)
    const registered = once(lease, 'registered')
    await testbed.registrar()
    await registered
    await shows(reader.directory, ([instance]) => instance?.live === true)
    t.equal(reader.directory.size, 1)
    t.equal(reader.logs().length, 2, 'the old log is kept beside the new one')
  }
)

t.test('a lease that is given up before it was confirmed is withdrawn, too', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  if (owner.registrars.length === 0) await once(owner, 'registrar')
  const fields = { role: 'couchdb', version: '3.2.2', status: 'passing' } as const
  const lease = new Lease({
    replica: owner,
    keyPair: KeyPair(),
    fields: { ...fields, tags: [], direct: [] }
  })
  const withdrawn = once(registrar, 'withdrawn')
  await lease.ready()
  await lease.close()
  await withdrawn
  t.equal(registrar.stats.leases, 0)
  t.same(registrar.replica.directory.list(), [])
})

t.test('with every registrar down, a newcomer learns the directory from any replica', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  await testbed.lease(owner)
  const keeper = await testbed.replica()
  await shows(keeper.directory, (instances) => instances.length === 1)
  await testbed.close(registrar)
  await owner.peering.close()
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.match(newcomer.directory.resolve('couchdb', '3.x'), [{ version: '3.2.2', live: false }])
})

t.test(
  'a replica that comes back on its folder knows the directory with nobody there',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const owner = await testbed.replica()
    await testbed.lease(owner)
    const dir = await testbed.dir()
    const before = await testbed.replica({ dir })
    await shows(before.directory, (instances) => instances.length === 1)
    await testbed.close(before)
    await testbed.close(registrar)
    await testbed.close(owner)
    const after = await testbed.replica({ dir })
    await after.synced()
    t.match(after.directory.resolve('couchdb', '3.x'), [{ version: '3.2.2', live: false }])
  }
)

t.test('what was withdrawn while a registrar was down does not come back with it', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const first = await testbed.registrar({ dir })
  await testbed.registrar()
  const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
  const lease = await testbed.lease(owner)
  if (lease.registrars < 2) await once(lease, 'registered')
  t.equal(lease.registrars, 2)
  await shows(reader.directory, (instances) => instances.length === 1)
  await testbed.close(first)
  await lease.close()
  await shows(reader.directory, (instances) => instances.length === 0)

  await testbed.registrar({ dir })
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.equal(newcomer.directory.size, 0)
  await t.rejects(
    within(
      300,
      shows(reader.directory, (instances) => instances.length > 0)
    )
  )
})

t.test('an instance whose process left without a word is gone from the directory', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
  await testbed.lease(owner)
  await shows(reader.directory, (instances) => instances.length === 1)
  const gone = once(registrar, 'gone')
  await testbed.close(owner)
  await gone
  await shows(reader.directory, (instances) => instances.length === 0)
})

t.test(
  'a second process under a key that is held is told so, and takes over when the first is gone',
  async (t) => {
    const testbed = await Testbed.make(t)
    await testbed.registrar()
    const [one, two] = await Promise.all([testbed.replica(), testbed.replica()])
    const keyPair = KeyPair()
    const first = await testbed.lease(one, { keyPair })
    const fields = {
      role: 'couchdb',
      version: '4.0.0',
      tags: [],
      status: 'passing',
      direct: []
    } as const
    const second = new Lease({
      replica: two,
      keyPair,
      fields: { ...fields, tags: [], direct: [] },
      retry: 100
    })
    t.teardown(() => second.close())
    const denied = once(second, 'denied')
    await second.ready()
    const [error] = await denied
    t.equal(error.code, 'KEY_IN_USE')
    await shows(one.directory, ([instance]) => instance?.version === '3.2.2')
    const registered = once(second, 'registered')
    await first.close()
    await registered
    await shows(one.directory, ([instance]) => instance?.version === '4.0.0')
    t.equal(one.directory.size, 1, 'listed once')
  }
)

t.test('a service that lost its state signs above what the registrar knows', async (t) => {
  const testbed = await Testbed.make(t)
  await testbed.registrar()
  const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
  const keyPair = KeyPair()
  const fields = () =>
    ({ role: 'a', version: '1.0.0', tags: [], status: 'passing', direct: [] }) as const
  const future = new Lease({
    replica: owner,
    keyPair,
    fields: { ...fields(), tags: [], direct: [] },
    now: () => 2 ** 50
  })
  const first = once(future, 'registered')
  await future.ready()
  await first
  await future.close()
  const lease = await testbed.lease(owner, { keyPair, role: 'a', version: '1.0.1' })
  t.ok((lease.record?.seq ?? 0) > 2 ** 50)
  await shows(reader.directory, ([instance]) => instance?.version === '1.0.1')
  t.equal(reader.directory.list()[0]?.servicePublicKey, toHex(keyPair.publicKey))
})

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error('late')), ms))
  ])
}

t.test('a registrar that comes back believes one that stayed up about what is gone', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const first = await testbed.registrar({ dir, restartGrace: 60_000 })
  await testbed.registrar()
  const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
  const lease = await testbed.lease(owner)
  if (lease.registrars < 2) await once(lease, 'registered')
  await shows(reader.directory, (instances) => instances.length === 1)
  await testbed.close(first)
  await testbed.close(owner)
  await shows(reader.directory, (instances) => instances.length === 0)
  await testbed.registrar({ dir, restartGrace: 60_000 })
  await shows(reader.directory, (instances) => instances.length === 0)
  const newcomer = await testbed.replica()
  await newcomer.synced()
  await shows(newcomer.directory, (instances) => instances.length === 0)
  t.equal(reader.directory.size, 0)
})
