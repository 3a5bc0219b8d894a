import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Consumer, KeyPair, Registry, Service, Web } from '../lib/index.js'
import { Testbed } from './testbed.js'

async function httpBackend(t: Test, answer: string): Promise<number> {
  const server = createServer((_, response) => response.end(answer))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

async function registry(t: Test) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const registry = Registry({
    seed: KeyPair().publicKey,
    dir: await testbed.dir(),
    bootstrap,
    private: false
  })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const { registryPublicKey } = registry
  return { testbed, registry, options: { registryPublicKey, bootstrap } }
}

t.test('a consumer answers in the order of its roles, by URL and by stream', async (t) => {
  const { testbed, options } = await registry(t)
  for (const role of ['two@2.0.0', 'one@1.0.0']) {
    const service = Service({
      ...options,
      role,
      port: await httpBackend(t, role),
      dir: await testbed.dir()
    })
    t.teardown(() => service.destroy())
    await service.setup()
  }
  const consumer = Consumer(['one@1.x', 'two@^2'], { ...options, dir: await testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [one, two] = await consumer.setup()
  t.equal(await (await fetch(one.url)).text(), 'one@1.0.0')
  t.equal(await (await fetch(two.url)).text(), 'two@2.0.0')

  const stream = await one.connect()
  stream.end('GET / HTTP/1.0\r\n\r\n')
  let answer = ''
  for await (const chunk of stream) answer += chunk
  t.match(answer, /^HTTP\/1.1 200 OK.*one@1.0.0$/s)
})

t.test('who is refused for an option keeps nothing open', async (t) => {
  const { testbed, options } = await registry(t)
  const dir = await testbed.dir()
  const consumer = Consumer([], { ...options, dir })
  t.teardown(() => consumer.destroy())
  await consumer.setup()
  const wrong = { ...options, dir, direct: 'wan' as never }
  const loadBalanceOptions = { mode: 'dice' as never }
  t.throws(() => Consumer(['a'], wrong), { code: 'USAGE' })
  t.throws(() => Consumer(['a'], { ...options, dir, loadBalanceOptions }), { code: 'USAGE' })
  t.throws(() => Web({ ...wrong, port: 0 }), { code: 'USAGE' })
  await consumer.destroy()
  await t.resolves(testbed.storage(dir), 'the folder that all would share is free')
})

t.test(
  'a consumer that does not listen opens no ports, and its entries have streams only',
  async (t) => {
    const { testbed, options } = await registry(t)
    const port = await httpBackend(t, 'hello')
    const service = Service({ ...options, role: 'hello@1.0.0', port, dir: await testbed.dir() })
    t.teardown(() => service.destroy())
    await service.setup()
    const consumer = Consumer(['hello@1.x'], {
      ...options,
      listen: false,
      dir: await testbed.dir()
    })
    t.teardown(() => consumer.destroy())
    consumer.on('listening', () => t.fail('it listens'))
    const [hello] = await consumer.setup()
    t.notOk('port' in hello)
    t.notOk('url' in hello)
    t.equal(await (await hello.fetch('/')).text(), 'hello')
    const stream = await hello.connect()
    stream.end('GET / HTTP/1.0\r\n\r\n')
    let answer = ''
    for await (const chunk of stream) answer += chunk
    t.match(answer, /hello$/)
    t.ok(hello.agent)
  }
)

t.test('a consumer that is destroyed tells no change of instances that go on', async (t) => {
  const { testbed, options } = await registry(t)
  const port = await httpBackend(t, 'hello')
  const service = Service({ ...options, role: 'hello@1.0.0', port, dir: await testbed.dir() })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['hello'], { ...options, dir: await testbed.dir() })
  await consumer.setup()
  consumer.watch((change, { live }) => t.fail(`${change}, ${live}`))
  await consumer.destroy()
})

t.test(
  'setup and destroy may be called twice, and a destroyed consumer gives its port back',
  async (t) => {
    const { testbed, options } = await registry(t)
    const port = await httpBackend(t, 'hello')
    const service = new Service({ ...options, role: 'hello@1.0.0', port, dir: await testbed.dir() })
    t.equal(await service.setup(), await service.setup())
    const consumer = new Consumer(['hello'], { ...options, dir: await testbed.dir() })
    t.equal(await consumer.setup(), await consumer.setup())
    const { url } = (await consumer.setup())[0] ?? { url: '' }
    await Promise.all([consumer.destroy(), consumer.destroy()])
    await consumer.destroy()
    await t.rejects(fetch(url))
    await Promise.all([service.destroy(), service.destroy()])
  }
)

t.test('a service and a consumer of one registry and folder are one participant', async (t) => {
  const { testbed, options } = await registry(t)
  const shared = { ...options, dir: await testbed.dir() }
  const service = Service({ ...shared, role: 'a@1.0.0', port: await httpBackend(t, 'hello') })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['a'], shared)
  t.teardown(() => consumer.destroy())
  consumer.on('notice', (notice) => t.fail(`${notice}: the folder is taken for another process’s`))
  const [entry] = await consumer.setup()
  t.equal(await (await fetch(entry?.url ?? '')).text(), 'hello')
})

t.test('a consumer of a role nobody serves is told which, and what there is', async (t) => {
  const { testbed, options } = await registry(t)
  // Of one participant, so that the consumer knows the registry from the start, however short its time.
  const shared = { ...options, dir: await testbed.dir() }
  const service = Service({ ...shared, role: 'apple@1.0.0', port: await httpBackend(t, '') })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['pear@1.x', 'apple'], { ...shared, timeout: 500 })
  await t.rejects(consumer.setup(), { code: 'NO_INSTANCE', message: /pear@1.x.*apple/ })
})

t.test(
  'a service without a registrar in reach is told so in time, and one can give up while waiting',
  async (t) => {
    const testbed = await Testbed.make(t)
    const { bootstrap } = testbed
    const options = { bootstrap, registryPublicKey: KeyPair().publicKey, role: 'a@1.0.0', port: 1 }
    const late = Service({ ...options, dir: await testbed.dir(), timeout: 200 })
    await t.rejects(late.setup(), { code: 'REGISTRAR_NOT_FOUND' })

    const patient = Service({
      ...options,
      dir: await testbed.dir(),
      timeout: Number.POSITIVE_INFINITY
    })
    const connecting = once(patient, 'connecting')
    const setup = patient.setup()
    await connecting
    await Promise.all([t.rejects(setup, { code: 'CLOSED' }), patient.destroy()])

    const lost = Consumer(['a'], {
      bootstrap,
      registryPublicKey: KeyPair().publicKey,
      dir: await testbed.dir(),
      timeout: 200
    })
    await t.rejects(lost.setup(), { code: 'REGISTRY_NOT_FOUND' })
  }
)

t.test(
  'a second service under a key that is served is told so, and the first is not disturbed',
  async (t) => {
    const { testbed, options } = await registry(t)
    const port = await httpBackend(t, 'first')
    const keyPair = KeyPair()
    const first = Service({ ...options, role: 'a@1.0.0', port, keyPair, dir: await testbed.dir() })
    t.teardown(() => first.destroy())
    await first.setup()
    const second = Service({ ...options, role: 'a@1.0.1', port, keyPair, dir: await testbed.dir() })
    await t.rejects(second.setup(), { code: 'KEY_IN_USE' })
    const consumer = Consumer(['a@*'], { ...options, dir: await testbed.dir() })
    t.teardown(() => consumer.destroy())
    const [entry] = await consumer.setup()
    t.equal(await (await fetch(entry?.url ?? '')).text(), 'first')
  }
)

t.test('a service keeps its key in its folder, per role and target', async (t) => {
  const { testbed, options } = await registry(t)
  const dir = await testbed.dir()
  const keyOf = async (role: string) => {
    const service = Service({ ...options, role, port: 1, dir })
    await service.setup()
    await service.destroy()
    return service.servicePublicKey
  }
  const first = await keyOf('a@1.0.0')
  t.equal(await keyOf('a@1.0.0'), first)
  t.not(await keyOf('b@1.0.0'), first)
})

t.test('only the keys that a service allows may connect', async (t) => {
  const { testbed, options } = await registry(t)
  const port = await httpBackend(t, 'secret')
  const allow = [KeyPair().publicKey]
  const service = Service({ ...options, role: 'a@1.0.0', port, allow, dir: await testbed.dir() })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['a'], { ...options, dir: await testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  await t.rejects(async () => entry?.connect(), { code: 'NO_INSTANCE', message: /NOT_ALLOWED/ })
})

t.test('what cannot be right is refused before anything is opened', (t) => {
  const registryPublicKey = KeyPair().publicKey
  const bootstrap = '127.0.0.1:1'
  const service = (options: object) => () =>
    Service({ registryPublicKey, bootstrap, role: 'a@1.0.0', port: 1, ...options })
  t.throws(service({ role: 'a@1.x' }), { code: 'BAD_ROLE', message: /exact/ })
  t.throws(service({ role: 'a' }), { code: 'BAD_ROLE', message: /exact/ })
  t.throws(service({ role: 'a b@1.0.0' }), { code: 'BAD_ROLE' })
  t.throws(service({ role: `${'a'.repeat(2 ** 20)}@1.0.0` }), { code: 'BAD_ROLE' })
  t.throws(service({ registryPublicKey: 'abc' }), { code: 'BAD_KEY' })
  const { publicKey, secretKey } = KeyPair()
  for (const keyPair of [
    {},
    publicKey,
    { publicKey },
    { publicKey: registryPublicKey, secretKey },
    { publicKey, secretKey: secretKey.subarray(1) }
  ]) {
    t.throws(service({ keyPair }), { code: 'BAD_KEY' })
    t.throws(() => Web({ registryPublicKey, bootstrap, keyPair: keyPair as KeyPair }), {
      code: 'BAD_KEY'
    })
  }
  t.throws(service({ port: 70000 }), { code: 'USAGE' })
  t.throws(service({ port: undefined }), { code: 'USAGE' })
  t.throws(service({ tags: [''] }), { code: 'USAGE' })
  t.throws(service({ bootstrap: 'nowhere' }), { code: 'USAGE' })
  t.throws(service({ bootstrap: undefined }), { code: 'OFFLINE' })
  t.throws(() => Consumer(['a@not a range'], { registryPublicKey, bootstrap }), {
    code: 'BAD_ROLE'
  })
  const one: unknown = 'a@1.x'
  t.throws(() => Consumer(one as string[], { registryPublicKey, bootstrap }), { code: 'USAGE' })
  t.throws(() => Registry({ seed: 'short', bootstrap }), { code: 'BAD_KEY' })
  t.end()
})

t.test('the environment names the nodes of the DHT where the options do not', async (t) => {
  const testbed = await Testbed.make(t)
  const name = 'HYPERSEAPORT_BOOTSTRAP'
  t.teardown(() => {
    delete process.env[name]
  })
  process.env[name] = 'nowhere'
  const seed = KeyPair().publicKey
  t.throws(() => Registry({ seed }), { code: 'USAGE', message: /host:port/ })
  const explicit = Registry({
    seed,
    dir: await testbed.dir(),
    bootstrap: testbed.bootstrap,
    private: false
  })
  t.teardown(() => explicit.destroy())
  await explicit.setup()

  process.env[name] = testbed.bootstrap
  const { registryPublicKey } = explicit
  const consumer = Consumer([], { registryPublicKey, dir: await testbed.dir() })
  t.teardown(() => consumer.destroy())
  await consumer.setup()
  t.equal(consumer.getStats().registrars, 1)
  t.throws(() => Consumer([], { registryPublicKey, bootstrap: [] }), { code: 'OFFLINE' })
})
