import { once } from 'node:events'
import { createServer, get, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Consumer, KeyPair, Registry, Service, type ServiceTerms } from '../lib/index.js'
import { Testbed } from './testbed.js'

const CLIENTS = 4
const ROUNDS = 3
/** Who takes a long time for none has cut what is open by then. */
const LATER_MS = 100

t.test('rolling restarts under load lose no request', async (t) => {
  const { serve, proxy } = await harbor(t)
  const keyPairs = [KeyPair(), KeyPair()]
  const services = await Promise.all(keyPairs.map((keyPair) => serve({ keyPair })))
  const { port } = await proxy()
  const failures: unknown[] = []
  let requests = 0
  let isOver = false
  const client = async () => {
    while (!isOver) {
      try {
        await ask(port)
      } catch (error) {
        failures.push(error)
      }
      requests++
    }
  }
  const clients = Array.from({ length: CLIENTS }, client)
  for (let i = 0; i < ROUNDS * keyPairs.length; i++) {
    const turn = i % keyPairs.length
    await services[turn]?.destroy()
    services[turn] = await serve({ keyPair: keyPairs[turn] })
  }
  isOver = true
  await Promise.all(clients)
  t.same(failures, [])
  t.ok(requests > 0)
  t.comment(`${requests} requests`)
})

t.test('a service that is destroyed finishes what it was asked', async (t) => {
  const { serve, proxy } = await harbor(t)
  const service = await serve()
  const { port } = await proxy()
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n')
  await once(service.streams, 'open')
  const destroyed = service.destroy()
  socket.end('\r\n')
  let answer = ''
  for await (const chunk of socket) answer += chunk
  t.match(answer, /^HTTP\/1.1 200 /)
  await destroyed
})

t.test('it does not wait for a stream without end', async (t) => {
  const { serve, proxy } = await harbor(t)
  const service = await serve({ drainTimeout: 20 })
  const { port } = await proxy()
  const socket = connect({ port, host: '127.0.0.1' })
  const opened = once(service.streams, 'open')
  const cut = new Promise((resolve) => socket.on('close', resolve))
  socket.on('error', () => {})
  await opened
  await service.destroy()
  await cut
  t.pass()
})

t.test('it waits for open streams as long as it was told, however long that is', async (t) => {
  const { serve, proxy } = await harbor(t)
  for (const drainTimeout of [30 * 86_400_000, Infinity]) {
    const service = await serve({ drainTimeout })
    const { port, consumer } = await proxy({ drainTimeout })
    const socket = connect({ port, host: '127.0.0.1' })
    t.teardown(() => socket.destroy())
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n')
    await once(service.streams, 'open')
    const stopped = Promise.all([service.destroy(), consumer.destroy()])
    await sleep(LATER_MS)
    socket.write('\r\n')
    let answer = ''
    for await (const chunk of socket) answer += chunk
    t.match(answer, /^HTTP\/1.1 200 /, `${drainTimeout} ms`)
    await stopped
  }
})

/** A registry and an HTTP backend, which is to be served and asked through a proxy. */
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

  const streams = createServer((_request, response) => response.end('hello'))
  streams.listen(0, '127.0.0.1')
  await once(streams, 'listening')
  t.teardown(() => {
    streams.close()
    streams.closeAllConnections()
  })
  streams.on('connection', () => streams.emit('open'))

  const serve = async (options: Partial<ServiceTerms> = {}) => {
    const service = Service({
      registryPublicKey,
      bootstrap,
      dir: await testbed.dir(),
      role: 'api@1.0.0',
      port: (streams.address() as AddressInfo).port,
      check: 'none',
      ...options
    })
    t.teardown(() => service.destroy())
    await service.setup()
    return Object.assign(service, { streams })
  }
  const proxy = async (options: { drainTimeout?: number } = {}) => {
    const consumer = Consumer(['api@1.x'], {
      registryPublicKey,
      bootstrap,
      dir: await testbed.dir(),
      ...options
    })
    t.teardown(() => consumer.destroy())
    const [entry] = await consumer.setup()
    return { port: entry?.port ?? 0, consumer }
  }
  return { serve, proxy }
}

/** One request over a connection of its own. */
async function ask(port: number) {
  const [response] = (await once(get({ port, host: '127.0.0.1', agent: false }), 'response')) as [
    IncomingMessage
  ]
  let body = ''
  for await (const chunk of response) body += chunk
  if (body !== 'hello') throw new Error(`${response.statusCode} ${body}`)
}
