import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import {
  Consumer,
  type DirectoryChange,
  type Instance,
  KeyPair,
  Registry,
  Service,
  type ServiceOptions
} from '../lib/index.js'
import { Testbed } from './testbed.js'
import { inTime } from './watchdog.js'

/** A check may take two fifths of it, on a machine that is busy with other tests, too. */
const CHECK_INTERVAL_MS = 1000
const LISTEN = `require('http').createServer((_, r) => r.end('by command')).listen(process.env.PORT, '127.0.0.1')`
/** tap's loader in the child would only cost time. */
const NODE = ['env', '-u', 'NODE_OPTIONS', process.execPath, '-e']

/** A registry, and a consumer that watches it. */
async function harbor(t: Test) {
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
  const options = { registryPublicKey, bootstrap, dir: await testbed.dir() }
  const consumer = Consumer([], { ...options, dir: await testbed.dir() })
  t.teardown(() => consumer.destroy())
  await consumer.setup()
  return { testbed, options, consumer, next: (wanted: DirectoryChange) => nextOf(consumer, wanted) }
}

/** Resolves with the next change of this kind that a consumer hears of. */
function nextOf(consumer: Consumer, wanted: DirectoryChange): Promise<Instance> {
  return new Promise((resolve) => {
    const stop = consumer.watch((change, instance) => {
      if (change !== wanted) return
      stop()
      resolve(instance)
    })
  })
}

async function listening(port = 0) {
  const server = createServer((_request, response) => response.end('hello')).listen(
    port,
    '127.0.0.1'
  )
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port }
}

t.test(
  'a backend that dies is failing in every directory within two checks, and passing when it is back',
  async (t) => {
    const { options, next } = await harbor(t)
    const { server, port } = await listening()
    const service = Service({
      ...options,
      role: 'a@1.0.0',
      port,
      checkInterval: CHECK_INTERVAL_MS
    })
    t.teardown(() => service.destroy())
    const up = next('up')
    await service.setup()
    t.equal((await up).status, 'passing')

    const failing = next('update')
    const diedAt = performance.now()
    server.close()
    t.equal((await failing).status, 'failing')
    const delay = performance.now() - diedAt
    t.ok(inTime(delay, 2 * CHECK_INTERVAL_MS), `after ${delay} ms`)

    const passing = next('update')
    const back = await listening(port)
    t.teardown(() => back.server.close())
    t.equal((await passing).status, 'passing')
  }
)

t.test(
  'what does not listen yet is registered as failing, and passing as soon as it does',
  async (t) => {
    const { options, next } = await harbor(t)
    const { server, port } = await listening()
    server.close()
    const service = Service({ ...options, role: 'a@1.0.0', port, checkInterval: CHECK_INTERVAL_MS })
    t.teardown(() => service.destroy())
    const up = next('up')
    const health = once(service, 'health')
    await service.setup()
    t.equal((await up).status, 'failing')
    t.match(await health, ['failing', { code: 'BACKEND_UNREACHABLE' }])
  }
)

t.test('a service can say that it drains, whatever its backend does', async (t) => {
  const { options, next } = await harbor(t)
  const { server, port } = await listening()
  t.teardown(() => server.close())
  const service = Service({ ...options, role: 'a@1.0.0', port, checkInterval: CHECK_INTERVAL_MS })
  t.teardown(() => service.destroy())
  const up = next('up')
  await service.setup()
  t.equal((await up).status, 'passing')
  const draining = next('update')
  service.drain()
  t.equal((await draining).status, 'draining')
  const health = once(service, 'health')
  server.close()
  await health
  t.equal(service.record?.status, 'draining')
  const down = next('down')
  await service.destroy()
  await down
})

t.test('a command is in the registry while it listens, and ends with its service', async (t) => {
  const { testbed, options } = await harbor(t)
  const service = Service({ ...options, role: 'a@1.0.0', command: [...NODE, LISTEN] })
  t.teardown(() => service.destroy())
  const up = once(service, 'up')
  await service.setup()
  const [port] = await up
  const user = Consumer(['a@1.x'], { ...options, dir: await testbed.dir() })
  t.teardown(() => user.destroy())
  const [entry] = await user.setup()
  t.equal(await (await fetch(entry?.url ?? '')).text(), 'by command')

  // Its own directory, not another's: that one may hear of it a moment earlier.
  const [down, again] = [nextOf(user, 'down'), nextOf(user, 'up')]
  const exit = once(service, 'exit')
  service.sendSignal('SIGKILL')
  t.match(await exit, [{ signal: 'SIGKILL' }])
  const [gone, back] = [await down, await again]
  t.equal(back.servicePublicKey, gone.servicePublicKey)
  t.equal(await (await fetch(entry?.url ?? '')).text(), 'by command')
  await service.destroy()
  await t.rejects(fetch(`http://127.0.0.1:${port}`))
})

t.test('a command that never listens is never registered', async (t) => {
  const { options, consumer } = await harbor(t)
  const command = [...NODE, 'setInterval(() => {}, 1000)']
  const service = Service({ ...options, role: 'a@1.0.0', command, timeout: 1000 })
  await t.rejects(service.setup(), { code: 'COMMAND_FAILED', message: /did not listen on port/ })
  t.same(consumer.list(), [])
  const missing = Service({ ...options, role: 'a@1.0.0', command: ['no-such-program-here'] })
  await t.rejects(missing.setup(), { code: 'COMMAND_FAILED' })
})

t.test('what cannot be a backend is refused at once', (t) => {
  const service = (backend: object) => () =>
    Service({
      registryPublicKey: KeyPair().publicKey,
      bootstrap: '127.0.0.1:1',
      role: 'a@1.0.0',
      ...backend
    } as ServiceOptions)
  t.throws(service({}), { code: 'USAGE' })
  t.throws(service({ command: [] }), { code: 'USAGE' })
  t.throws(service({ command: ['a'], target: 'b:1' }), { code: 'USAGE' })
  t.throws(service({ command: ['a'], port: 70_000 }), { code: 'USAGE' })
  t.throws(service({ port: 1, check: 'udp' }), { code: 'USAGE' })
  t.end()
})
