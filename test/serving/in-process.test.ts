import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { createServer as createTcpServer, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import {
  Consumer,
  type ConsumerEntry,
  KeyPair,
  Registry,
  Service,
  type ServiceOptions
} from '../../lib/index.js'
import { keepProcessKey } from '../../lib/registry/log/own-keys.js'
import { Testbed } from '../testbed.js'

/** A server of this process, and a consumer's entry for it. */
async function serve(t: Test, server: Server) {
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
  const { registryPublicKey, publicKey } = registry
  const options = { registryPublicKey, bootstrap }
  const service = Service({ ...options, role: 'a@1.0.0', server, dir: await testbed.dir() })
  t.teardown(() => service.destroy())
  await service.setup()
  const dir = await testbed.dir()
  const consumer = Consumer(['a'], { ...options, dir })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  return {
    entry: entry as ConsumerEntry,
    service,
    processKey: await keepProcessKey(publicKey, dir)
  }
}

t.test('an HTTP server that listens nowhere answers through the registry', async (t) => {
  const server = createServer(async (request, response) => {
    const body = await text(request)
    response.setHeader('x-from', `${request.socket.remoteAddress}`)
    response.end(`${request.method} ${request.url} ${body.length}`)
  })
  const { entry, service } = await serve(t, server)
  t.equal(server.listening, false)
  const body = 'x'.repeat(1_000_000)
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const response = await fetch(`${entry.url}/${i}`, { method: 'POST', body })
      return `${response.headers.get('x-from')} ${await response.text()}`
    })
  )
  t.same(
    answers,
    answers.map((_, i) => `127.0.0.1 POST /${i} 1000000`)
  )
  t.match(service.getStats(), { refused: 0, reset: 0 })
  t.equal(service.record?.status, 'passing')
})

t.test('a connection that the server ends is read to its end', async (t) => {
  const body = 'y'.repeat(3_000_000)
  const server = createServer((_request, response) => {
    response.setHeader('connection', 'close')
    response.end(body)
  })
  const { entry } = await serve(t, server)
  const stream = await entry.connect()
  stream.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  t.equal((await text(stream)).split('\r\n\r\n')[1], body)
})

t.test('an idle connection is ended when the server would', async (t) => {
  const server = createServer({ keepAliveTimeout: 50 }, (_request, response) => response.end('a'))
  const { entry } = await serve(t, server)
  const stream = await entry.connect()
  stream.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  t.match(await text(stream), /\r\n\r\na$/)
})

t.test('a stream that the server ended closes, unless it may be half-open', async (t) => {
  const server = createTcpServer({ allowHalfOpen: true }, async (socket) => {
    socket.end('goodbye')
    heard(await text(socket))
  })
  let heard = (_said: string) => {}
  const { entry } = await serve(t, server)
  const stream = await entry.connect()
  const isClosed = once(stream, 'close')
  stream.resume()
  await isClosed

  const said = new Promise<string>((resolve) => (heard = resolve))
  const halfOpen = await entry.connect({ allowHalfOpen: true })
  halfOpen.resume()
  await once(halfOpen, 'end')
  halfOpen.end('still here')
  t.equal(await said, 'still here')
})

t.test('an upgraded connection is a stream both ways', async (t) => {
  const server = createServer()
  server.on('upgrade', (_request, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
    socket.pipe(socket)
  })
  const { entry } = await serve(t, server)
  const headers = { connection: 'upgrade', upgrade: 'echo' }
  const ask = request(entry.url, { headers }).end()
  const [, socket] = (await once(ask, 'upgrade')) as [unknown, Duplex]
  socket.write('hello')
  t.equal(String((await once(socket, 'data'))[0]), 'hello')
  socket.end()
  await once(socket, 'close')
})

t.test('a server of plain streams learns who opened each', async (t) => {
  const server = createTcpServer((socket) => {
    const { remotePublicKey } = socket as unknown as { remotePublicKey: Buffer }
    socket.setNoDelay().setKeepAlive().ref().unref().setTimeout(10_000)
    socket.end(`${remotePublicKey.toString('hex')} ${JSON.stringify(socket.address())}`)
  })
  const { entry, processKey } = await serve(t, server)
  const stream = await entry.connect()
  stream.end()
  const address = JSON.stringify({ address: '127.0.0.1', family: 'IPv4', port: 0 })
  t.equal(await text(stream), `${processKey.publicKey.toString('hex')} ${address}`)
})

t.test('a server that throws cuts the stream, and nothing else', async (t) => {
  let isBroken = true
  const server = createTcpServer((socket) => {
    if (isBroken) throw new Error('broken')
    socket.end('well')
  })
  const { entry, service } = await serve(t, server)
  const stream = await entry.connect()
  await t.rejects(text(stream), { code: 'STREAM_RESET' })
  t.equal(service.getStats().reset, 1)
  isBroken = false
  t.equal(await text(await entry.connect()), 'well')
})

t.test('a server stands in for a port, and is not checked', (t) => {
  const options = { registryPublicKey: KeyPair().publicKey, bootstrap: '127.0.0.1:1' }
  const server = createServer()
  for (const also of [{ port: 80 }, { target: 'a:80' }, { command: ['a'] }, { check: 'tcp' }]) {
    const wrong = { ...options, role: 'a@1.0.0', server, ...also } as ServiceOptions
    t.throws(() => Service(wrong), { code: 'USAGE' })
  }
  t.end()
})
