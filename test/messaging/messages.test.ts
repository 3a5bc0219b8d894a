import t, { type Test } from 'tap'
import { Consumer, KeyPair, Registry, Service } from '../../lib/index.js'
import { Testbed } from '../testbed.js'

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
  while (!agent.instances()[0]?.speaks?.includes('hyperseaport/call/1'))
    await new Promise(setImmediate)
  t.equal(await agent.send('late'), 'at last')
})
