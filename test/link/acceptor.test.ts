import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair } from '../../lib/core/keys.js'
import { Acceptor, type AcceptorOptions } from '../../lib/link/acceptor.js'
import { LinkPool } from '../../lib/link/pool.js'
import { connectBackend } from '../../lib/serving/backend.js'
import { restWhile } from '../rest.js'
import { Testbed } from '../testbed.js'
import { readAll } from './pair.js'

t.test('a stream over the DHT reaches the backend, both ways, half-closed too', async (t) => {
  const server = await listen(t, (socket) => {
    socket.on('end', () => socket.end('and that was all'))
    socket.resume()
  })
  const { acceptor, open } = await accepting(t, { connect: backendOf(server) })
  const stream = await open()
  stream.end('a question')
  t.equal(String(await readAll(stream)), 'and that was all')
  t.match(acceptor.stats, { links: 1, accepted: 1, refused: 0, reset: 0 })
})

t.test('a dead backend is reported to the opener, with its address', async (t) => {
  const server = await listen(t, () => {})
  const connect = backendOf(server)
  server.close()
  await once(server, 'close')
  const { acceptor, open } = await accepting(t, { connect })
  const refused = once(acceptor, 'refused')
  await t.rejects(open(), {
    code: 'BACKEND_UNREACHABLE',
    message: /nothing listens on 127\.0\.0\.1:/
  })
  t.match(await refused, [{ code: 'BACKEND_UNREACHABLE' }])
  t.equal(acceptor.stats.refused, 1)
})

t.test('who may not is told so, for each stream anew', async (t) => {
  const consumer = KeyPair()
  let allowed = false
  const asked: Buffer[] = []
  const { open } = await accepting(t, {
    consumer,
    authorize: (key) => {
      asked.push(key)
      return allowed
    }
  })
  await t.rejects(open(), { code: 'NOT_ALLOWED' })
  allowed = true
  t.ok(await open())
  t.ok(
    asked.every((key) => key.equals(consumer.publicKey)),
    'and it is asked for the key that proved itself'
  )
})

t.test(
  'who may not is told so, though links are looked through before that has left',
  async (t) => {
    const { acceptor, open } = await accepting(t, { authorize: () => false })
    acceptor.on('refused', () => acceptor.recheck())
    await t.rejects(open(), { code: 'NOT_ALLOWED' })
  }
)

t.test('who may not any more is cut at once', async (t) => {
  const server = await listen(t, (socket) => socket.pipe(socket))
  let allowed = true
  const { acceptor, open } = await accepting(t, {
    connect: backendOf(server),
    authorize: () => allowed
  })
  const stream = await open()
  const closed = new Promise((resolve) => stream.on('close', resolve))
  allowed = false
  acceptor.recheck()
  t.equal(acceptor.stats.links, 0)
  await closed
})

t.test('an authorizer may say why not', async (t) => {
  const { open } = await accepting(t, {
    authorize: () => SeaportError.NOT_ALLOWED('your grant has expired')
  })
  await t.rejects(open(), { code: 'NOT_ALLOWED', message: /your grant has expired/ })
})

t.test('an authorizer or a backend that throws refuses, and nothing else happens', async (t) => {
  const { open } = await accepting(t, {
    connect: async () => {
      throw new TypeError('a mistake')
    }
  })
  await t.rejects(open(), { code: 'BACKEND_UNREACHABLE', message: /a mistake/ })
})

t.test(
  'while it drains new streams are refused, and it waits for those that are open',
  async (t) => {
    const server = await listen(t, (socket) => socket.pipe(socket))
    const { acceptor, open } = await accepting(t, { connect: backendOf(server) })
    const stream = await open()
    let isDrained = false
    const drained = acceptor.drain().then(() => {
      isDrained = true
    })
    await t.rejects(open(), { code: 'REFUSED', message: /draining/ })
    t.notOk(isDrained)
    stream.end('last words')
    t.equal(String(await readAll(stream)), 'last words')
    await drained
    await t.rejects(open(), { code: 'REFUSED' }, 'until it is closed')
  }
)

t.test('a drain waits no longer than it was told', async (t) => {
  const server = await listen(t, (socket) => socket.resume())
  const { acceptor, open } = await accepting(t, { connect: backendOf(server) })
  const stream = await open()
  await acceptor.drain(10)
  t.notOk(stream.destroyed)
  const closed = new Promise((resolve) => stream.on('close', resolve))
  await acceptor.close()
  await closed
  t.match(stream.errored, { code: 'LINK_LOST' })
})

t.test('what was sent just before the end arrives, when it was drained', async (t) => {
  const server = await listen(t, (socket) => socket.end(Buffer.alloc(4_000_000)))
  const { acceptor, open } = await accepting(t, { connect: backendOf(server) })
  const stream = await open()
  stream.end()
  const answer = readAll(stream)
  await acceptor.drain()
  await acceptor.close()
  t.equal((await answer).byteLength, 4_000_000)
})

t.test('the backend is not connected for an opener that gave up', async (t) => {
  const abort = new AbortController()
  const { open } = await accepting(t, {
    connect: ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        abort.abort(new Error('gave up'))
      })
  })
  await t.rejects(open({ signal: abort.signal }), { message: 'gave up' })
})

t.test('a backend connection that came too late for its opener is cut', async (t) => {
  const sockets: Promise<unknown>[] = []
  const server = await listen(t, (socket) => {
    sockets.push(once(socket, 'close').catch((error) => error))
    hangUp.abort(new Error('gave up'))
  })
  const hangUp = new AbortController()
  const { open } = await accepting(t, {
    connect: async ({ signal }) => {
      const gaveUp = new Promise<void>((resolve) => signal.addEventListener('abort', resolve))
      const socket = await backendOf(server)()
      await gaveUp
      return socket
    }
  })
  await t.rejects(open({ signal: hangUp.signal }), { message: 'gave up' })
  t.match(await sockets[0], { code: 'ECONNRESET' })
})

t.test('a backend that resets resets the stream', async (t) => {
  const server = await listen(t, (socket) => {
    socket.once('data', () => socket.resetAndDestroy())
  })
  const { open } = await accepting(t, { connect: backendOf(server) })
  const stream = await open()
  stream.write('boo')
  t.match(await once(stream, 'error'), [{ code: 'STREAM_RESET' }])
})

t.test('a closing acceptor cuts its links, and the next open finds nobody', async (t) => {
  const { acceptor, open } = await accepting(t, {})
  const stream = await open()
  const lost = once(stream, 'error')
  await acceptor.close()
  await acceptor.close()
  t.match(await lost, [{ code: 'LINK_LOST' }])
  await t.rejects(open(), { code: 'LINK_LOST' })
})

t.test('no more links are taken than agreed', async (t) => {
  const server = await listen(t, (socket) => socket.resume())
  const connect = backendOf(server)
  const { open, openAsAnother } = await accepting(t, { maxLinks: 1, connect })
  await open()
  await t.rejects(openAsAnother(), { code: 'LINK_LOST' })
})

t.test('an idle link gives way to another consumer where there are many', async (t) => {
  const server = await listen(t, (socket) => socket.end())
  const connect = backendOf(server)
  const { acceptor, open, openAsAnother } = await accepting(t, { maxLinks: 1, connect })
  const stream = await open()
  stream.end()
  await readAll(stream)
  await restWhile(() => acceptor.streams > 0)
  t.ok(await openAsAnother())
  t.match(acceptor.stats, { links: 1, displaced: 1 })
})

/** An acceptor on a DHT of the test's own, and a pool that opens streams to it. */
async function accepting(
  t: Test,
  { consumer = KeyPair(), ...options }: Partial<AcceptorOptions> & { consumer?: KeyPair }
) {
  const testbed = await Testbed.make(t)
  const [far, near] = await Promise.all([testbed.network(), testbed.network()])
  const server = options.connect ? null : await listen(t, () => {})
  const keyPair = KeyPair()
  const acceptor = new Acceptor({
    dht: far.dht,
    keyPair,
    connect: server ? backendOf(server) : neverCalled,
    ...options
  })
  t.teardown(() => acceptor.close())
  await acceptor.ready()
  const poolOf = (keyPair: KeyPair) => {
    const pool = new LinkPool({ connect: (key) => near.dht.connect(key, { keyPair }) })
    t.teardown(() => pool.close())
    return pool
  }
  const [pool, another] = [poolOf(consumer), poolOf(KeyPair())]
  return {
    acceptor,
    open: async (options: { signal?: AbortSignal } = {}): Promise<Duplex> =>
      (await pool.open(keyPair.publicKey, options)).toDuplex(),
    openAsAnother: () => another.open(keyPair.publicKey)
  }
}

async function listen(t: Test, onconnection: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onconnection(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return server
}

function backendOf(server: Server) {
  const { port } = server.address() as { port: number }
  return () => connectBackend({ host: '127.0.0.1', port })
}

async function neverCalled(): Promise<Duplex> {
  throw new Error('nobody should have called this')
}
