import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { BootstrapNode, ENOUGH_NODES } from '../../lib/core/bootstrap-node.js'
import { allConnections, type SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { BOOTSTRAP_PORT } from '../../lib/core/listen.js'
import { Network } from '../../lib/core/network.js'
import { Consumer, Registry, Service } from '../../lib/index.js'
import { Testbed } from '../testbed.js'
import { inTime } from '../watchdog.js'

/** HyperDHT takes 4 s to give up an address at which nobody is any more. */
const TOO_LONG_MS = 2500
/** Three lookouts, a search and a lease, on a busy machine. */
const LATE_MS = 12_000
/** As many as registrars and replicas that crash again and again leave on the DHT, for twenty minutes. */
const MANY_DEAD = 100
/** What `bootstrap` takes, unless it is told others. */
const BOOTSTRAP_PORTS = Array.from({ length: ENOUGH_NODES }, (_, i) => BOOTSTRAP_PORT + i)

t.test('a key that moved to another process is found there at once', async (t) => {
  const testbed = await Testbed.make(t)
  const near = await testbed.network()
  const service = KeyPair()
  // All at once, so that none has the port of another.
  const hosts = [await testbed.network(), await testbed.network(), await testbed.network()]
  for (const [moves, far] of hosts.entries()) {
    await far.dht.createServer({}).listen(service)
    const beganAt = performance.now()
    const connection = near.connect(service.publicKey, KeyPair())
    const closed = new Promise((resolve) => connection.on('close', resolve))
    await connected(connection)
    t.ok(inTime(performance.now() - beganAt, TOO_LONG_MS), `after ${moves} moves`)
    await far.close()
    await closed
  }
})

t.test(
  'a process takes part in more registries than it has fingers, without a warning',
  async (t) => {
    const testbed = await Testbed.make(t)
    const network = await testbed.network()
    const warnings: Error[] = []
    const onwarning = (warning: Error) => warnings.push(warning)
    process.on('warning', onwarning)
    t.teardown(() => process.off('warning', onwarning))
    for (let i = 0; i < 11; i++) {
      const swarm = network.swarm(KeyPair())
      testbed.teardown(() => swarm.destroy())
    }
    // Node tells of warnings in the next turn.
    await new Promise(setImmediate)
    t.strictSame(warnings, [])
  }
)

t.test('who starts before the DHT does is part of it soon after', async (t) => {
  const testbed = await Testbed.make(t)
  const bootstrap = await deadEnd()
  const seed = randomSeed()
  const registryPublicKey = toHex(KeyPair(seed).publicKey)
  const server = createServer((_request, response) => response.end('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo

  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: false })
  const role = 'hello@1.0.0'
  const dirs = { service: await testbed.dir(), consumer: await testbed.dir() }
  const service = Service({ registryPublicKey, role, port, bootstrap, dir: dirs.service })
  const consumer = Consumer([role], { registryPublicKey, bootstrap, dir: dirs.consumer })
  const all = [registry, service, consumer]
  t.teardown(() => Promise.all(all.map((each) => each.destroy())))
  const unreachable = once(registry, 'notice')
  const registered = registry.setup()
  const served = service.setup()
  const found = consumer.setup()
  for (const each of [registered, served, found]) each.catch(() => {})

  const [notice] = await unreachable
  t.equal(notice.code, 'DHT_UNREACHABLE')
  t.match(notice.message, bootstrap)
  const node = new BootstrapNode({ port: Number(bootstrap.split(':')[1]) })
  await node.setup()
  t.teardown(() => node.destroy())
  const cameAt = performance.now()
  await Promise.all([registered, served])
  const [hello] = await found
  t.ok(inTime(performance.now() - cameAt, LATE_MS), 'long before HyperDHT would look again')
  t.equal(await (await fetch(hello?.url ?? '')).text(), 'hello')
})

t.test('who is destroyed while no DHT answers does not wait for it', async (t) => {
  const testbed = await Testbed.make(t)
  const bootstrap = await deadEnd()
  const registryPublicKey = '5b'.repeat(32)
  const options = { registryPublicKey, bootstrap, dir: await testbed.dir() }
  const each = [
    Registry({ seed: randomSeed(), bootstrap, dir: await testbed.dir(), private: false }),
    Service({ ...options, role: 'hello@1.0.0', port: 9 }),
    Consumer(['hello'], options)
  ]
  const ends = each.map((one) => one.setup().catch(({ code }) => code))
  const beganAt = performance.now()
  await Promise.all(each.map((one) => one.destroy()))
  t.same(await Promise.all(ends), ['CLOSED', 'CLOSED', 'CLOSED'])
  t.ok(inTime(performance.now() - beganAt, TOO_LONG_MS))
})

t.test('a setup that no DHT answers ends in time, and says why', async (t) => {
  const testbed = await Testbed.make(t)
  const bootstrap = await deadEnd()
  const options = { registryPublicKey: '5b'.repeat(32), bootstrap, dir: await testbed.dir() }
  const beganAt = performance.now()
  await t.rejects(Consumer([], options).setup({ timeout: 300 }), { code: 'REGISTRY_NOT_FOUND' })
  await t.rejects(Service({ ...options, role: 'hello@1.0.0', port: 9 }).setup({ timeout: 300 }), {
    code: 'REGISTRAR_NOT_FOUND',
    message: new RegExp(`no node of the DHT answers at ${bootstrap}`)
  })
  t.ok(inTime(performance.now() - beganAt, 2 * TOO_LONG_MS))
})

t.test('a bootstrap node that is dead costs nothing beside one that lives', async (t) => {
  const testbed = await Testbed.make(t)
  const dead = await deadEnd()
  const registrar = await testbed.registrar()
  t.ok(registrar.opened)
  const consumer = Consumer([], {
    registryPublicKey: testbed.keyPair.publicKey,
    bootstrap: `${dead},${testbed.bootstrap}`,
    dir: await testbed.dir()
  })
  t.teardown(() => consumer.destroy())
  const beganAt = performance.now()
  await consumer.setup()
  t.ok(inTime(performance.now() - beganAt, TOO_LONG_MS), 'HyperDHT would ask the dead one for 4 s')
})

t.test('a bootstrap node may be given by its name', async (t) => {
  const testbed = await Testbed.make(t)
  await testbed.registrar()
  const consumer = Consumer([], {
    registryPublicKey: testbed.keyPair.publicKey,
    bootstrap: `localhost:${testbed.bootstrap.split(':')[1]}`,
    dir: await testbed.dir()
  })
  t.teardown(() => consumer.destroy())
  await consumer.setup()
})

t.test('a name that has no address is told', async (t) => {
  const testbed = await Testbed.make(t)
  const options = { registryPublicKey: '5b'.repeat(32), bootstrap: 'nowhere.invalid:49737' }
  const consumer = Consumer([], { ...options, host: '127.0.0.1', dir: await testbed.dir() })
  t.teardown(() => consumer.destroy())
  await t.rejects(consumer.setup({ timeout: 3000 }), {
    code: 'REGISTRY_NOT_FOUND',
    message: /no address for nowhere\.invalid \((E|no answer yet)/
  })
})

t.test('what can be done without the DHT is done at once', async (t) => {
  const testbed = await Testbed.make(t)
  const { node, address: bootstrap } = await makeNode()
  const seed = randomSeed()
  const registryPublicKey = KeyPair(seed).publicKey
  const server = createServer((_request, response) => response.end('hello'))
  const dirs = [await testbed.dir(), await testbed.dir(), await testbed.dir()]
  const [dir = '', ofService = '', ofRegistry = ''] = dirs
  let member: { registryPublicKey: Buffer; bootstrap: string; host?: string } = {
    registryPublicKey,
    bootstrap
  }
  const role = 'hello@1.0.0'
  const make = {
    registry: () => Registry({ ...member, seed, dir: ofRegistry }),
    service: () => Service({ ...member, role, server, dir: ofService }),
    consumer: () => Consumer([role], { ...member, dir })
  }
  const registry = make.registry()
  const service = make.service()
  const consumer = make.consumer()
  t.teardown(() => service.destroy())
  await registry.setup()
  await service.setup()
  await consumer.setup()
  await consumer.destroy()
  await registry.destroy()
  await node.destroy()

  // A node of their own, as in processes that were restarted.
  member = { ...member, host: '127.0.0.1' }
  const again = { registry: make.registry(), consumer: make.consumer() }
  t.teardown(() => Promise.all([again.registry.destroy(), again.consumer.destroy()]))
  const beganAt = performance.now()
  const opened = once(again.registry, 'opened')
  again.registry.setup().catch(() => {})
  const [[hello]] = await Promise.all([again.consumer.setup(), opened])
  t.same(
    again.registry.list().map(({ role, version }) => `${role}@${version}`),
    [role]
  )
  t.ok(inTime(performance.now() - beganAt, TOO_LONG_MS))
  t.equal(await (await hello.fetch('/')).text(), 'hello', 'by the copy on its disk, and by TCP')
  await again.consumer.destroy()
  await service.destroy()
  const restarted = make.service()
  t.teardown(() => restarted.destroy())
  const restartedAt = performance.now()
  const listening = once(restarted, 'listening')
  restarted.setup().catch(() => {})
  await listening
  t.ok(inTime(performance.now() - restartedAt, TOO_LONG_MS))
})

t.test('goodbyes to a DHT that has died are cut short', async (t) => {
  const { node, address } = await makeNode()
  const network = new Network({ bootstrap: address })
  await network.ready()
  const swarm = network.swarm(KeyPair())
  await swarm.join(randomSeed(), { server: true, client: true }).flushed()
  await node.destroy()
  const leftAt = performance.now()
  await network.release(() => swarm.destroy())
  t.ok(inTime(performance.now() - leftAt, TOO_LONG_MS))
})

t.test(
  'a peer that lives is met among many that are dead before one of those is given up',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dead = await theDead(testbed, MANY_DEAD)
    const living = KeyPair()
    const far = await testbed.network()
    const server = await far.dht
      .createServer({}, (connection) => connection.on('error', () => {}))
      .listen(living)
    testbed.teardown(() => server.close())

    const near = await testbed.network()
    const swarm = near.swarm(KeyPair())
    testbed.teardown(() => swarm.destroy())
    const met = once(swarm, 'connection')
    for (const { publicKey } of [...dead, living]) swarm.joinPeer(publicKey)
    const [connection] = (await met) as [SecretStream]
    connection.on('error', () => {})
    t.strictSame(connection.remotePublicKey, living.publicKey)
    t.equal(swarm.connecting, MANY_DEAD, 'all the others are being called at yet')
  }
)

t.test('a swarm leaves nothing behind on the node that it was lent', async (t) => {
  const network = await (await Testbed.make(t)).network()
  const listeners = () =>
    network.dht.eventNames().map((event) => network.dht.listenerCount(event as string))
  const before = listeners()
  await network.swarm(KeyPair()).destroy()
  t.same(listeners(), before)
})

t.test('a swarm that ends gives up the calls that it was making', async (t) => {
  const testbed = await Testbed.make(t)
  const network = await testbed.network()
  const swarm = network.swarm(KeyPair())
  for (const { publicKey } of await theDead(testbed, MANY_DEAD)) swarm.joinPeer(publicKey)
  const calls = [...allConnections(swarm)]
  t.equal(calls.length, MANY_DEAD)
  const over = Promise.all(calls.map((call) => once(call, 'close')))
  await swarm.destroy()
  t.ok(calls.every(({ destroying }) => destroying))
  await over
  t.same([...allConnections(swarm)], [])
})

t.test('an address that cannot be bound is refused with what to give instead', async (t) => {
  const bootstrap = await deadEnd()
  for (const host of ['::1', 'localhost', 'nowhere']) {
    t.throws(() => new Network({ bootstrap, host }), { code: 'USAGE', message: /IPv4.*192\.168/ })
  }
  // 192.0.2.0/24 is for documentation, nobody has it.
  const elsewhere = new Network({ bootstrap, host: '192.0.2.77' })
  await t.rejects(elsewhere.ready(), {
    code: 'LISTEN_FAILED',
    message: /does not have that address/
  })
  await elsewhere.release()
})

t.test('who takes part in a DHT leaves the ports of its first nodes free', async (t) => {
  const testbed = await Testbed.make(t)
  for (let i = 0; i < 5; i++) {
    const { port } = (await testbed.network()).dht.address()
    t.notOk(BOOTSTRAP_PORTS.includes(port), `${port}`)
  }
  const everywhere = new Network({ bootstrap: testbed.bootstrap, host: '0.0.0.0' })
  testbed.teardown(() => everywhere.release())
  await everywhere.ready()
  t.notOk(BOOTSTRAP_PORTS.includes(everywhere.dht.address().port), 'on all addresses')
})

/** Where a node of a DHT could be. */
async function deadEnd(): Promise<string> {
  const { node, address } = await makeNode()
  await node.destroy()
  return address
}

async function makeNode() {
  const node = new BootstrapNode({ port: 0 })
  await node.setup()
  return { node, address: node.address }
}

function connected(connection: SecretStream): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.on('connect', resolve)
    connection.on('error', reject)
  })
}

/** Keys that are still announced, and whose process is gone. */
async function theDead({ bootstrap }: Testbed, count: number): Promise<KeyPair[]> {
  const dying = new Network({ bootstrap })
  await dying.ready()
  const dead = Array.from({ length: count }, () => KeyPair())
  await Promise.all(dead.map((keyPair) => dying.dht.createServer({}).listen(keyPair)))
  // As with kill -9: nobody tells the DHT.
  await dying.dht.destroy({ force: true })
  await dying.release()
  return dead
}
