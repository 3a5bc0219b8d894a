import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { listen } from '../../lib/core/listen.js'
import { connectBackend, parseBackend } from '../../lib/serving/backend.js'
import { freePort, isListening } from '../../lib/serving/local-port.js'
import { isKeptAlive, noKeepAliveTable } from '../keep-alive.js'

t.test('a backend is a port on loopback, or host:port', async (t) => {
  t.same(parseBackend(8080), { host: '127.0.0.1', port: 8080, otherwise: '::1' })
  t.same(parseBackend(' 8080 '), parseBackend(8080))
  t.same(parseBackend('db.lan:5432'), { host: 'db.lan', port: 5432 })
  t.same(parseBackend('[::1]:5432'), { host: '::1', port: 5432 })
  t.same(parseBackend('localhost:80'), { host: 'localhost', port: 80, otherwise: '::1' })
  for (const wrong of [
    undefined,
    '',
    0,
    65536,
    -1,
    1.5,
    'db.lan',
    'db.lan:',
    ':80',
    'a b:80',
    'x:y'
  ]) {
    t.throws(() => parseBackend(wrong), { code: 'USAGE' }, String(wrong))
  }
})

t.test('a backend that listens is connected', async (t) => {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const socket = await connectBackend({ host: '127.0.0.1', port })
  t.equal(String((await once(socket, 'data'))[0]), 'hello')
  socket.end()
})

t.test('a backend that does not listen is named, with advice', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  await t.rejects(connectBackend({ host: '127.0.0.1', port }), {
    code: 'BACKEND_UNREACHABLE',
    message: new RegExp(`nothing listens on 127.0.0.1:${port}; start the backend`)
  })
})

t.test('a backend that does not answer is given up', async (t) => {
  // TEST-NET-1 (RFC 5737) answers nobody; without a route there it fails sooner, with the same code.
  await t.rejects(connectBackend({ host: '192.0.2.1', port: 9 }, { timeout: 20 }), {
    code: 'BACKEND_UNREACHABLE'
  })
})

t.test('an attempt that nobody waits for any more is ended', async (t) => {
  const abort = new AbortController()
  const attempt = connectBackend({ host: '192.0.2.1', port: 9 }, { signal: abort.signal })
  abort.abort(new Error('nobody waits'))
  await t.rejects(attempt)
  await t.rejects(connectBackend({ host: '127.0.0.1', port: 9 }, { signal: abort.signal }), {
    message: 'nobody waits'
  })
})

t.test('a port of this machine is found on ::1, too, and the error names 127.0.0.1', async (t) => {
  const server = createServer((socket) => socket.end('hello'))
  const hasSix = await listen(server, { port: 0, host: '::1' }).catch(() => null)
  if (hasSix === null) {
    t.pass('this machine has no IPv6')
    return
  }
  const { port } = server.address() as { port: number }
  const socket = await connectBackend(parseBackend(port))
  t.equal(String((await once(socket, 'data'))[0]), 'hello')
  t.ok(await isListening(port))
  const named = await connectBackend(parseBackend(`localhost:${port}`))
  t.equal(String((await once(named, 'data'))[0]), 'hello')
  named.end()
  await t.rejects(freePort(port), { code: 'PORT_IN_USE' }, 'a command is not given that port')
  socket.end()
  server.close()
  await once(server, 'close')
  await t.rejects(connectBackend(parseBackend(port)), {
    code: 'BACKEND_UNREACHABLE',
    message: /nothing listens on 127\.0\.0\.1:/
  })
})

t.test(
  'the kernel looks whether a backend is still there',
  { skip: noKeepAliveTable },
  async (t) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as { port: number }
    const socket = await connectBackend({ host: '127.0.0.1', port })
    t.ok(isKeptAlive(socket.localPort as number))
    socket.destroy()
  }
)
