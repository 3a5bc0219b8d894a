import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import {
  Consumer,
  type ConsumerEntry,
  KeyPair,
  Registry,
  Service,
  type ServiceTerms
} from '../lib/index.js'
import { Testbed } from './testbed.js'

t.test('streams take the direct path, and the record says where it is', async (t) => {
  const { service, consumer, entry } = await connectedPair(t)
  t.equal(await get(entry), 'hello')
  t.match(service.record?.direct, [/^127\.0\.0\.1:\d+$/])
  t.same(consumer.list('hello')[0]?.direct, service.record?.direct)
  t.match(consumer.links(), [{ key: service.servicePublicKey, path: 'direct' }])
  t.match(consumer.getStats().links, { links: 1, direct: 1 })
  t.match(service.getStats(), { links: 1, direct: 1, accepted: 1 })
})

t.test('a service that wants no direct path has none', async (t) => {
  const { service, consumer, entry } = await connectedPair(t, { service: { direct: 'off' } })
  t.equal(await get(entry), 'hello')
  t.same(service.record?.direct, [])
  t.match(consumer.links(), [{ path: 'dht' }])
  t.match(service.getStats(), { links: 1, direct: 0 })
})

t.test('a consumer that wants none takes the DHT', async (t) => {
  const { consumer, entry } = await connectedPair(t, { consumer: { direct: 'off' } })
  t.equal(await get(entry), 'hello')
  t.match(consumer.links(), [{ path: 'dht' }])
})

t.test('whom the service does not allow is refused on the direct path too', async (t) => {
  const { service, entry } = await connectedPair(t, { service: { allow: [KeyPair().publicKey] } })
  await t.rejects(async () => entry.connect(), { code: 'NO_INSTANCE', message: /NOT_ALLOWED/ })
  t.match(service.getStats(), { direct: 1, accepted: 0, refused: 1 })
})

t.test('a certain port may be asked for, and is refused where it is taken', async (t) => {
  const { testbed, options, service, port } = await connectedPair(t)
  const directPort = Number(service.record?.direct[0]?.split(':')[1])
  const second = Service({
    ...options,
    role: 'second@1.0.0',
    port,
    directPort,
    dir: await testbed.dir()
  })
  await t.rejects(second.setup(), { code: 'PORT_IN_USE' })
  await service.destroy()
  const third = Service({
    ...options,
    role: 'third@1.0.0',
    port,
    directPort,
    dir: await testbed.dir()
  })
  t.teardown(() => third.destroy())
  await third.setup()
  t.same(third.record?.direct, [`127.0.0.1:${directPort}`])
})

t.test('a service that comes back elsewhere is found there', async (t) => {
  const keyPair = KeyPair()
  const pair = await connectedPair(t, { service: { keyPair } })
  const { consumer, entry, testbed, options, port } = pair
  t.equal(await get(entry), 'hello')
  await pair.service.destroy()
  const back = Service({
    ...options,
    role: 'hello@1.0.1',
    port,
    keyPair,
    dir: await testbed.dir()
  })
  t.teardown(() => back.destroy())
  const seen = new Promise<void>((resolve) => {
    const stop = consumer.watch((change, { version }) => {
      if (change === 'down' || version !== '1.0.1') return
      stop()
      resolve()
    })
  })
  await back.setup()
  await seen
  t.equal(await get(entry), 'hello')
  t.match(consumer.links(), [{ path: 'direct' }])
})

t.test('a direct path that cannot be means the same option on both sides', (t) => {
  const registryPublicKey = KeyPair().publicKey
  const options = { registryPublicKey, bootstrap: '127.0.0.1:1' }
  const direct = 'wan' as 'lan'
  t.throws(() => Service({ ...options, role: 'a@1.0.0', port: 1, direct }), { code: 'USAGE' })
  t.throws(() => Consumer([], { ...options, direct }), { code: 'USAGE' })
  t.end()
})

/** A service and a consumer of it, in one process but on nodes of their own. */
async function connectedPair(
  t: Test,
  wanted: { service?: Partial<ServiceTerms>; consumer?: { direct?: 'off' } } = {}
) {
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
  const options = { registryPublicKey: registry.registryPublicKey, bootstrap }
  const server = createServer((_request, response) => {
    response.setHeader('Connection', 'close')
    response.end('hello')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo

  const service = Service({
    ...options,
    role: 'hello@1.0.0',
    port,
    dir: await testbed.dir(),
    ...wanted.service
  })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['hello'], {
    ...options,
    dir: await testbed.dir(),
    ...wanted.consumer
  })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  return { testbed, options, port, service, consumer, entry: entry as ConsumerEntry }
}

async function get(entry: ConsumerEntry): Promise<string> {
  const response = await fetch(entry.url)
  return response.text()
}
