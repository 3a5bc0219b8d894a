import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import type { Signal } from '../../lib/core/abort.js'
import { SeaportError } from '../../lib/core/errors.js'
import { TcpProxy, type TcpProxyOptions } from '../../lib/proxy/tcp-proxy.js'
import { isKeptAlive, noKeepAliveTable } from '../keep-alive.js'
import { linkPair, readAll } from '../link/pair.js'
import { restWhile } from '../rest.js'

t.test('each connection is joined with a stream of its own', async (t) => {
  const { proxy, client } = await proxied(t)
  const answers = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const socket = client()
      socket.end(`number ${i}`)
      return String(await readAll(socket))
    })
  )
  t.same(
    answers,
    Array.from({ length: 20 }, (_, i) => `number ${i}`)
  )
  t.match(proxy.stats, { connected: 20, refused: 0, reset: 0 })
})

t.test('nothing that a client sends is taken before its stream is open', async (t) => {
  const accepted: Duplex[] = []
  const { opener } = linkPair(t, (incoming) =>
    accepted.push(incoming.accept()?.toDuplex() as Duplex)
  )
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const { client } = await proxied(t, async () => {
    await opened
    return opener.open()
  })
  const socket = client()
  socket.end('early')
  await once(socket, 'finish')
  t.equal(opener.stats.bytesSent, 0)
  open()
  await restWhile(() => accepted.length === 0)
  const [far] = accepted as [Duplex]
  t.equal(String(await readAll(far)), 'early')
  far.end('late')
  t.equal(String(await readAll(socket)), 'late')
})

t.test('a client that comes and goes without a word leaves nothing behind', async (t) => {
  const ended: Promise<unknown>[] = []
  const { opener } = linkPair(t, (incoming) => {
    const far = incoming.accept()?.toDuplex() as Duplex
    far.resume().on('end', () => far.end())
    ended.push(once(far, 'close'))
  })
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const { proxy, client } = await proxied(t, async () => {
    await opened
    return opener.open()
  })
  for (let i = 0; i < 10; i++) {
    const socket = client()
    await once(socket, 'connect')
    socket.destroy()
  }
  await restWhile(() => proxy.stats.connections < 10)
  // Their ends should be here before the streams are; nothing tells of them.
  await new Promise((resolve) => setTimeout(resolve, 50))
  open()
  await restWhile(() => ended.length < 10)
  await Promise.all(ended)
  await restWhile(() => proxy.stats.connections > 0)
  t.equal(proxy.stats.connections, 0)
})

t.test('a client for whom there is no stream is reset, and the reason is told', async (t) => {
  const { proxy, client } = await proxied(t, async () => {
    throw SeaportError.NO_INSTANCE('nobody serves api@1.x now')
  })
  const [refused, reset] = await Promise.all([once(proxy, 'refused'), once(client(), 'error')])
  t.match(refused, [{ code: 'NO_INSTANCE' }])
  t.match(reset, [{ code: 'ECONNRESET' }])
  t.match(proxy.stats, { connected: 0, refused: 1 })
})

t.test('a client that hangs up while it waits ends the dial, and is no refusal', async (t) => {
  const refusals: Error[] = []
  const dialing = new Promise<Signal>((resolve) => {
    void proxied(t, ({ signal }) => {
      resolve(signal)
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    }).then(({ proxy, client }) => {
      proxy.on('refused', (error) => refusals.push(error))
      const socket = client()
      void dialing.then(() => socket.resetAndDestroy())
    })
  })
  const signal = await dialing
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', resolve)
  })
  await new Promise(setImmediate)
  t.same(refusals, [])
})

t.test('a client that resets harms no other', async (t) => {
  const { proxy, client } = await proxied(t)
  const [calm, wild] = [client(), client()]
  calm.write('calm')
  wild.write('wild')
  await Promise.all([once(calm, 'data'), once(wild, 'data')])
  wild.resetAndDestroy()
  calm.end(' still')
  t.equal(String(await readAll(calm)), ' still')
  t.equal(proxy.stats.reset, 1)
})

t.test('connections beyond the limit are closed, those before it are not', async (t) => {
  const { client } = await proxied(t, undefined, { maxConnections: 1 })
  const kept = client()
  kept.write('hello')
  await once(kept, 'data')
  const dropped = client()
  t.equal((await readAll(dropped)).byteLength, 0)
  kept.end('again')
  t.equal(String(await readAll(kept)), 'again')
})

t.test('a port in use is said so, early and late', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const proxy = new TcpProxy({ port, dial: () => Promise.reject(new Error()) })
  await t.rejects(proxy.check(), { code: 'PORT_IN_USE', message: new RegExp(String(port)) })
  await t.rejects(proxy.setup(), { code: 'PORT_IN_USE' })
  await proxy.destroy()
})

t.test('a checked port is free until setup', async (t) => {
  const proxy = new TcpProxy({ dial: () => Promise.reject(new Error()) })
  await proxy.check()
  t.equal(proxy.port, 0)
  await proxy.setup()
  t.ok(proxy.port > 0)
  await proxy.destroy()
})

t.test('destroy cuts what is open, and may be called twice', async (t) => {
  const { proxy, client } = await proxied(t)
  const socket = client()
  socket.write('hello')
  await once(socket, 'data')
  const reset = once(socket, 'error')
  await Promise.all([proxy.destroy(), proxy.destroy()])
  t.match(await reset, [{ code: 'ECONNRESET' }])
  const late = client()
  t.match(await once(late, 'error'), [{ code: 'ECONNREFUSED' }])
})

t.test('a drain refuses new connections, and lets those that are open end', async (t) => {
  const { proxy, client } = await proxied(t)
  const socket = client()
  socket.write('hello')
  await once(socket, 'data')
  const drained = proxy.drain(60_000)
  t.match(await once(client(), 'error'), [{ code: 'ECONNREFUSED' }])
  socket.end(' and goodbye')
  t.equal(String(await readAll(socket)), ' and goodbye')
  await drained
  await proxy.destroy()
  t.equal(proxy.stats.reset, 0)
})

t.test('a drain that takes too long is over, and what is left is cut', async (t) => {
  const { proxy, client } = await proxied(t)
  const socket = client()
  socket.write('hello')
  await once(socket, 'data')
  const reset = once(socket, 'error')
  await proxy.drain(1)
  await proxy.destroy()
  t.match(await reset, [{ code: 'ECONNRESET' }])
})

t.test(
  'the kernel looks whether a client is still there',
  { skip: noKeepAliveTable },
  async (t) => {
    const { proxy, client } = await proxied(t)
    const socket = client()
    socket.write('hello')
    await once(socket, 'data')
    t.ok(isKeptAlive(proxy.port))
  }
)

/** A proxy in front of an echo, and clients of it. */
async function proxied(
  t: Test,
  dial: TcpProxyOptions['dial'] = echo(t),
  options: Partial<TcpProxyOptions> = {}
) {
  const proxy = new TcpProxy({ dial, ...options })
  await proxy.setup()
  t.teardown(() => proxy.destroy())
  const client = (): Socket => {
    const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    return socket
  }
  return { proxy, client }
}

function echo(t: Test): TcpProxyOptions['dial'] {
  const { opener } = linkPair(t, (incoming) => {
    const stream = incoming.accept()?.toDuplex()
    stream?.pipe(stream)
  })
  return () => opener.open()
}
