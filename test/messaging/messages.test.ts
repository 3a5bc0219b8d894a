import { once } from 'node:events'
import t, { type Test } from 'tap'
import { Admin, Consumer, type Handler, KeyPair, Registry, Service } from '../../lib/index.js'
import { keepProcessKey } from '../../lib/registry/log/own-keys.js'
import { restWhile } from '../rest.js'
import { Testbed } from '../testbed.js'
import { inTime } from '../watchdog.js'

/** A registry, and what services and consumers of it are told. */
async function harbor(t: Test, { isPrivate = false } = {}) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: isPrivate })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey } = registry
  const options = async () => ({ registryPublicKey, bootstrap, dir: await testbed.dir() })
  return { seed, options }
}

t.test('a service without a backend speaks, and takes no streams of bytes', async (t) => {
  const { options } = await harbor(t)
  const service = Service({
    ...(await options()),
    role: 'agent@1.0.0',
    commands: { echo: (data) => data }
  })
  t.teardown(() => service.destroy())
  service.commands.handle('whoami', (_, { peer }) => peer)
  await service.setup()
  t.equal(service.record?.status, 'passing')
  t.notOk(service.record?.speaks?.includes(''))

  const consumer = Consumer(['agent@1.x'], { ...(await options()), listen: false })
  t.teardown(() => consumer.destroy())
  const [agent] = await consumer.setup()
  t.same(await agent.send('echo', { a: 1 }), { a: 1 })
  t.match(await agent.send('whoami'), /^[0-9a-f]{64}$/)
  await t.rejects(agent.connect(), { code: 'NO_INSTANCE', message: /has a backend/ })
  await t.rejects(agent.send('eco'), { code: 'UNKNOWN_COMMAND', executed: 'no' })
  for await (const answer of agent.sendAll('echo', 5)) {
    t.same(answer, { instance: service.servicePublicKey, value: 5 })
  }
  service.commands.handle('count', async function* (n: number) {
    for (let i = 0; i < n; i++) yield i
  })
  const items: number[] = []
  for await (const item of agent.stream('count', 3)) items.push(item)
  t.same(items, [0, 1, 2])
})

t.test('a service with a backend can be talked to as soon as there is a command', async (t) => {
  const { options } = await harbor(t)
  const service = Service({ ...(await options()), role: 'agent@1.0.0', port: 1, check: 'none' })
  t.teardown(() => service.destroy())
  await service.setup()
  t.equal(service.record?.speaks, undefined)
  const consumer = Consumer(['agent@1.x'], { ...(await options()), listen: false })
  t.teardown(() => consumer.destroy())
  const [agent] = await consumer.setup()
  await t.rejects(agent.send('late'), { code: 'NO_INSTANCE', executed: 'no' })

  service.commands.handle('late', () => 'at last')
  await restWhile(() => !agent.instances()[0]?.speaks?.includes('hyperseaport/call/1'))
  t.equal(await agent.send('late'), 'at last')
})

t.test('what a service emits is heard, and so is what is emitted to it', async (t) => {
  const { options } = await harbor(t)
  const service = Service({ ...(await options()), role: 'agent@1.0.0', commands: {} })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['agent@1.x'], { ...(await options()), listen: false })
  t.teardown(() => consumer.destroy())
  const [agent] = await consumer.setup()

  const heard = new Promise((resolve) => {
    agent.events.on('TICK', (data, { instance, seq }) => resolve({ data, instance, seq }))
  })
  await agent.events.ready()
  service.events.emit('TICK', 1)
  t.same(await heard, { data: 1, instance: service.servicePublicKey, seq: 1 })

  const told = new Promise((resolve) => {
    service.events.on('TOCK', (data, { type, peer }) => resolve([data, type, peer.length]))
  })
  agent.emit('TOCK', { a: 1 })
  t.same(await told, [{ a: 1 }, 'TOCK', 64])

  service.commands.handle('fetch', () => Date.now())
  t.match(await agent.send('$describe'), {
    role: 'agent',
    version: '1.0.0',
    commands: [{ name: 'fetch', idempotent: false }],
    events: ['TICK']
  })
  t.equal(await agent.send('$ping', 'x'), 'x')
  await agent.send('fetch')
  t.match(await agent.send('$stats'), {
    commands: { fetch: { calls: 1, failed: 0, latency: { count: 1 } } },
    events: { emitted: 1, subscribers: 1 }
  })
})

t.test('in a private registry a key has the commands executed that it was granted', async (t) => {
  const { seed, options } = await harbor(t, { isPrivate: true })
  const { bootstrap, registryPublicKey } = await options()
  const admin = Admin({ seed, bootstrap, dir: (await options()).dir })
  t.teardown(() => admin.destroy())
  await admin.setup()
  const keyPair = KeyPair()
  await admin.grant(keyPair.publicKey, { serve: ['agent'] })
  const aborted = new Promise((resolve) => {
    hang = (_, { signal }) =>
      new Promise(() => signal.addEventListener('abort', () => resolve(signal.reason)))
  })
  const service = Service({
    ...(await options()),
    keyPair,
    role: 'agent@1.0.0',
    commands: { fetch: () => 'now', stop: () => 'never', hang: (...args) => hang(...args) }
  })
  t.teardown(() => service.destroy())
  await service.setup()

  const { dir } = await options()
  const { publicKey } = await keepProcessKey(Buffer.from(registryPublicKey, 'hex'), dir)
  await admin.grant(publicKey, { call: ['agent@1.x#fetch', 'agent#hang'] })
  const consumer = Consumer(['agent@1.x'], { registryPublicKey, bootstrap, dir, listen: false })
  t.teardown(() => consumer.destroy())
  const [agent] = await consumer.setup()
  t.equal(await agent.send('fetch'), 'now')
  for (const name of ['stop', '$describe']) {
    await t.rejects(agent.send(name), { code: 'NOT_GRANTED', executed: 'no', message: /--call/ })
  }
  await t.rejects(agent.connect(), { code: 'NO_INSTANCE' })
  const denied = once(consumer, 'notice')
  agent.events.on('*', () => t.fail('an event'))
  t.match(await denied, [{ code: 'NOT_GRANTED', message: /\$events/ }])

  await admin.grantMore(publicKey, { call: ['agent#stop'] })
  while ((await agent.send('stop').catch(() => null)) !== 'never');
  const hanging = agent.send('hang')
  hanging.catch(() => {})
  await agent.send('fetch')
  const since = performance.now()
  await admin.revoke(publicKey)
  await t.rejects(hanging, { name: 'SeaportError', executed: 'perhaps' })
  await aborted
  t.ok(inTime(performance.now() - since, 1000), 'cut within a second')
  await t.rejects(agent.send('fetch'), { name: 'SeaportError', executed: 'no' })
})

let hang: Handler = () => {}
