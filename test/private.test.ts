import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseKey, toHex } from '../lib/core/keys.js'
import { Admin, Consumer, KeyPair, Registry, type SeaportError, Service } from '../lib/index.js'
import { keepProcessKey } from '../lib/registry/log/own-keys.js'
import { signGrant } from '../lib/registry/trust/grant.js'
import { Outsider } from './outsider.js'
import { restWhile } from './rest.js'
import { Testbed } from './testbed.js'

async function privateRegistry(t: Test) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: true })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey } = registry
  const admin = Admin({ seed, bootstrap, dir: await testbed.dir() })
  t.teardown(() => admin.destroy())
  await admin.setup()
  const backend = createServer((socket) => socket.on('error', () => {}).pipe(socket))
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { port } = backend.address() as AddressInfo
  return { testbed, registry, admin, seed, port, options: { registryPublicKey, bootstrap } }
}

t.test(
  'a key that is granted something gets in without a restart, and out when it is revoked',
  async (t) => {
    const { testbed, admin, port, options } = await privateRegistry(t)
    const keyPair = KeyPair()
    const role = 'echo@1.0.0'
    const service = Service({ ...options, role, port, keyPair, dir: await testbed.dir() })
    t.teardown(() => service.destroy())
    const refused = once(service, 'denied') as Promise<[SeaportError]>
    const registered = service.setup()
    t.equal((await refused)[0].code, 'NOT_GRANTED')
    await admin.grant(keyPair.publicKey, { serve: ['echo@1.x'] })
    await registered

    const dir = await testbed.dir()
    const { publicKey } = await keepProcessKey(parseKey(options.registryPublicKey), dir)
    await admin.grant(publicKey, { consume: ['other'] })
    const consumer = Consumer(['echo@1.x'], { ...options, dir })
    t.teardown(() => consumer.destroy())
    const [entry] = await consumer.setup()
    await t.rejects(
      async () => entry?.connect(),
      { message: /NOT_GRANTED/ },
      'it may look, not connect'
    )
    await admin.grant(publicKey, { consume: ['echo@^1'] })
    const stream = await eventually(async () => entry?.connect())
    stream?.on('error', () => {})
    stream?.write('hello')
    t.equal(String((await once(stream as NonNullable<typeof stream>, 'data'))[0]), 'hello')

    const cut = new Promise((resolve) => stream?.on('close', resolve))
    await admin.revoke(publicKey)
    await cut
    await t.rejects(async () => entry?.connect())
  }
)

t.test('a stranger in a private registry is told that it has no grant', async (t) => {
  const { testbed, options } = await privateRegistry(t)
  const consumer = Consumer(['echo'], { ...options, dir: await testbed.dir(), denialTimeout: 0 })
  await t.rejects(consumer.setup(), { code: 'NOT_GRANTED' })
})

t.test('who can keep no key is told what would let it keep one, and of no grant', async (t) => {
  const { testbed, options } = await privateRegistry(t)
  const file = join(await testbed.dir(), 'file')
  await writeFile(file, '')
  const consumer = Consumer(['echo'], { ...options, dir: join(file, 'data'), denialTimeout: 0 })
  const error: SeaportError = await consumer.setup().catch((error) => error)
  t.match(error, { code: 'NOT_GRANTED', message: /no key can be kept in .*file\/data/ })
  t.match(error.message, /--dir.*HYPERSEAPORT_DIR/)
  t.notMatch(error.message, 'hyperseaport grant', 'the next run has another key')
})

for (const isPrivate of [false, true]) {
  const kind = isPrivate ? 'private' : 'open'
  const name = `a service lets nobody in before it knows that its registry is ${kind}`
  t.test(name, async (t) => {
    const testbed = await Testbed.make(t)
    const { bootstrap } = testbed
    const seed = KeyPair().publicKey
    const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: isPrivate })
    t.teardown(() => registry.destroy())
    const { registryPublicKey, publicKey } = registry
    const keyPair = KeyPair()
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket))
    const service = Service({
      registryPublicKey,
      bootstrap,
      role: 'echo@1.0.0',
      server,
      keyPair,
      dir: await testbed.dir(),
      timeout: Infinity
    })
    t.teardown(() => service.destroy())
    const listening = once(service, 'listening')
    const registered = once(service, 'registered')
    service.setup().catch(() => {})
    await listening
    const outsider = new Outsider(testbed, publicKey)
    const call = () => outsider.connect(keyPair.publicKey, KeyPair()).outcome
    t.equal(await call(), 'REGISTRY_NOT_FOUND')
    await registry.setup()
    const admin = Admin({ seed, bootstrap, dir: await testbed.dir() })
    t.teardown(() => admin.destroy())
    await admin.setup()
    await admin.grant(keyPair.publicKey, { serve: ['echo'] })
    await registered
    t.equal(await call(), isPrivate ? 'NOT_GRANTED' : 'yes')
  })
}

t.test('grants are checked while no registrar is there', async (t) => {
  const { testbed, registry, admin, port, options } = await privateRegistry(t)
  const keyPair = KeyPair()
  await admin.grant(keyPair.publicKey, { serve: ['*'] })
  const dir = await testbed.dir()
  const service = Service({ ...options, role: 'echo@1.0.0', port, keyPair, dir })
  t.teardown(() => service.destroy())
  await service.setup()
  const newcomersDir = await testbed.dir()
  const newcomer = await keepProcessKey(registry.publicKey, newcomersDir)
  await admin.grant(newcomer.publicKey, { consume: ['echo'] })
  const stranger = KeyPair()
  const outsider = new Outsider(testbed, registry.publicKey)
  const call = (keyPair: KeyPair) => outsider.connect(service.publicKey, keyPair).outcome
  // Until then the service has not heard of the grant.
  await restWhile(async () => (await call(newcomer)) !== 'yes')
  await admin.destroy()
  await registry.destroy()

  const consumer = Consumer(['echo'], { ...options, dir: newcomersDir })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const stream = await entry?.connect()
  stream?.on('error', () => {}).write('hello')
  t.equal(String((await once(stream as NonNullable<typeof stream>, 'data'))[0]), 'hello')
  t.equal(await call(stranger), 'NOT_GRANTED')
  const replica = await outsider.find('replicas')
  t.equal((await outsider.meet(replica, { keys: [stranger] })).denial, 'NOT_GRANTED')
})

t.test('a service whose grant is revoked is gone from every directory', async (t) => {
  const { testbed, admin, port, options } = await privateRegistry(t)
  const keyPair = KeyPair()
  await admin.grant(keyPair.publicKey, { serve: ['*'] })
  const service = Service({ ...options, role: 'a@1.0.0', port, keyPair, dir: await testbed.dir() })
  t.teardown(() => service.destroy())
  await service.setup()
  const dir = await testbed.dir()
  await admin.grant((await keepProcessKey(parseKey(options.registryPublicKey), dir)).publicKey, {})
  const reader = Consumer([], { ...options, dir })
  t.teardown(() => reader.destroy())
  await reader.setup()
  t.equal(reader.list().length, 1)
  const gone = new Promise((resolve) =>
    reader.watch((change) => change === 'down' && resolve(change))
  )
  await admin.revoke(keyPair.publicKey)
  await gone
})

t.test('streams to a service end when it is revoked, and not when it leaves', async (t) => {
  const { testbed, admin, port, options } = await privateRegistry(t)
  const [good, bad] = [KeyPair(), KeyPair()]
  await admin.grant(good.publicKey, { serve: ['*'] })
  await admin.grant(bad.publicKey, { serve: ['*'] })
  const serve = async (role: string, keyPair: KeyPair) => {
    const service = Service({ ...options, role, port, keyPair, dir: await testbed.dir() })
    t.teardown(() => service.destroy())
    return service.setup()
  }
  const leaving = await serve('good@1.0.0', good)
  await serve('bad@1.0.0', bad)
  const dir = await testbed.dir()
  const { publicKey } = await keepProcessKey(parseKey(options.registryPublicKey), dir)
  await admin.grant(publicKey, { consume: ['*'] })
  const consumer = Consumer(['good', 'bad'], { ...options, dir })
  t.teardown(() => consumer.destroy())
  const entries = await consumer.setup()
  const streams = await Promise.all(entries.map((entry) => eventually(() => entry.connect())))
  const [kept, ended] = streams.map((stream) => stream.on('error', () => {}))
  const cut = new Promise((resolve) => ended?.on('close', resolve))
  await admin.revoke(bad.publicKey)
  await cut

  const left = leaving.destroy()
  kept?.write('hello')
  t.equal(String((await once(kept as NonNullable<typeof kept>, 'data'))[0]), 'hello')
  kept?.end()
  await left
})

t.test('a revocation counts though the clock of the grant before it was ahead', async (t) => {
  const { admin, seed } = await privateRegistry(t)
  const { publicKey } = KeyPair()
  const issuer = KeyPair(seed)
  const terms = { serve: [], consume: ['*'], admin: false, expiresAt: 0 }
  const ahead = Date.now() + 60 * 60 * 1000
  const grant = signGrant(issuer.publicKey, issuer, publicKey, terms, ahead)
  await admin.import([JSON.stringify(grant)])
  const isGranted = () => admin.list().grants.length > 0
  t.ok((await admin.revoke(publicKey)).issuedAt > ahead)
  t.notOk(isGranted())
  await admin.grant(publicKey, {})
  t.ok(isGranted())
})

t.test('an admin that the registry made grants in its turn, and nobody else does', async (t) => {
  const { testbed, admin, options } = await privateRegistry(t)
  const dir = await testbed.dir()
  const { publicKey } = await keepProcessKey(parseKey(options.registryPublicKey), dir)
  await admin.grant(publicKey, { admin: true })
  const deputy = Admin({ ...options, dir })
  t.teardown(() => deputy.destroy())
  await deputy.setup()
  const subject = KeyPair().publicKey
  await deputy.grant(subject, { consume: ['*'] })
  await t.rejects(deputy.grant(subject, { admin: true }), { code: 'NOT_GRANTED' })

  await admin.grant(publicKey, { consume: ['*'] })
  await t.rejects(deputy.grant(KeyPair().publicKey, {}), { code: 'NOT_GRANTED' })
})

t.test('the grants of an export are taken by a registry that lost its disks', async (t) => {
  const { admin, seed } = await privateRegistry(t)
  const [alice, bob] = [KeyPair().publicKey, KeyPair().publicKey]
  await admin.grant(alice, { consume: ['a'] })
  await admin.grant(bob, { serve: ['*'] })
  await admin.revoke(bob)
  const backup = admin.export()
  t.match(JSON.parse(backup[0] ?? ''), { type: 'hyperseaport/grant/1' })

  const other = await Testbed.make(t)
  const { bootstrap } = other
  const heir = Registry({ seed, dir: await other.dir(), bootstrap, private: true })
  t.teardown(() => heir.destroy())
  await heir.setup()
  const second = Admin({ seed, bootstrap, dir: await other.dir() })
  t.teardown(() => second.destroy())
  await second.setup()
  t.equal(await second.import(backup), 3)
  t.match(await eventually(async () => nonEmpty(second.list().grants)), [{ consume: ['a'] }])
  t.equal(second.list().revoked.length, 1)
  await t.rejects(second.import(['no JSON']), { code: 'BAD_MESSAGE' })
  const forged = backup[0]?.replace('"consume":["a"]', '"consume":["*"]') ?? ''
  await t.rejects(second.import([forged]), { code: 'BAD_SIGNATURE' })
})

t.test('an export waits for what registrars know that are heard of late', async (t) => {
  const testbed = await Testbed.make(t)
  const seed = KeyPair().publicKey
  const { bootstrap } = testbed
  const dirs = { old: await testbed.dir(), fresh: await testbed.dir(), admin: await testbed.dir() }
  const start = async <T extends { setup(): Promise<unknown>; destroy(): Promise<void> }>(
    one: T
  ) => {
    t.teardown(() => one.destroy())
    await one.setup()
    return one
  }
  const registrar = (dir: string) => start(Registry({ seed, dir, bootstrap, private: true }))
  const admin = (dir: string) => start(Admin({ seed, dir, bootstrap }))
  const first = await registrar(dirs.old)
  await (await admin(dirs.admin)).destroy()
  const { publicKey } = KeyPair()
  const other = await admin(await testbed.dir())
  await other.grant(publicKey, { consume: ['*'] })
  await Promise.all([other.destroy(), first.destroy()])

  // It begins on an empty disk, and is heard first.
  await registrar(dirs.fresh)
  const late = await admin(dirs.admin)
  t.match(await late.missing(50), [{ live: false }])
  const isThere = () => late.export().some((line) => line.includes(toHex(publicKey)))
  t.notOk(isThere())
  const all = late.missing(60_000)
  await registrar(dirs.old)
  t.strictSame(await all, [])
  t.ok(isThere())
})

function nonEmpty<T>(list: T[]): T[] {
  if (list.length === 0) throw new Error('nothing yet')
  return list
}

/** A grant that a registrar confirmed takes a moment to reach the service. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}
