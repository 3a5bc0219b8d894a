import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import type { SecretStream } from '../../../lib/core/holepunch.js'
import { KeyPair } from '../../../lib/core/keys.js'
import { DirectConnector, type DirectConnectorOptions } from '../../../lib/link/direct/connector.js'
import { DirectListener, type DirectListenerOptions } from '../../../lib/link/direct/listener.js'
import type { IncomingStream } from '../../../lib/link/incoming-stream.js'
import { Link } from '../../../lib/link/link.js'
import { restWhile } from '../../rest.js'
import { closed, readAll } from '../pair.js'

const NEVER = new AbortController().signal

t.test('a stream over TCP carries bytes both ways, half-closed too', async (t) => {
  const { links, connector, keyPair } = await listening(t, {}, (incoming) => {
    const stream = incoming.accept()?.toDuplex() as Duplex
    void readAll(stream).then((question) => stream.end(`${question}? yes`))
  })
  const consumer = KeyPair()
  const { connection } = await connector({ keyPair: () => consumer }).connect(
    keyPair.publicKey,
    NEVER
  )
  const link = linkOn(t, connection)
  const stream = (await link.open()).toDuplex()
  stream.end('over TCP')
  t.equal(String(await readAll(stream)), 'over TCP? yes')
  t.ok(links[0]?.remotePublicKey.equals(consumer.publicKey), 'and each knows the other')
  t.ok(link.remotePublicKey.equals(keyPair.publicKey))
})

t.test('much goes through, and arrives as it was sent', async (t) => {
  const { connector, keyPair } = await listening(t, {}, (incoming) => {
    const stream = incoming.accept()?.toDuplex() as Duplex
    stream.pipe(stream)
  })
  const { connection } = await connector().connect(keyPair.publicKey, NEVER)
  const stream = (await linkOn(t, connection).open()).toDuplex()
  const sent = Buffer.alloc(20_000_000, 'a long tale ')
  stream.end(sent)
  t.ok((await readAll(stream)).equals(sent))
})

t.test('whoever has not the key that is looked for is not talked to', async (t) => {
  const { listener, connector } = await listening(t)
  const other = KeyPair().publicKey
  const connecting = connector({ timeout: 1000 }).connect(other, NEVER)
  await t.rejects(connecting, { code: 'LINK_LOST', message: /no direct path: 127\.0\.0\.1:/ })
  await until(() => listener.stats.rejected === 1)
  t.match(listener.stats, { accepted: 0, pending: 0 })
})

t.test('who sends anything else hears nothing and is cut off', async (t) => {
  const { listener, knock } = await listening(t)
  const page = Buffer.from(`GET / HTTP/1.1\r\nHost: ${'x'.repeat(100)}\r\n\r\n`)
  const huge = Buffer.concat([Buffer.from([255, 255, 255]), Buffer.alloc(200)])
  const wrong = Buffer.concat([Buffer.from([96, 0, 0]), Buffer.alloc(96, 7)])
  for (const bytes of [page, huge, wrong]) t.equal((await knock(bytes)).byteLength, 0)
  t.equal((await knock(Buffer.from('short'), { end: true })).byteLength, 0, 'and who hangs up')
  await until(() => listener.stats.rejected === 4)
  t.match(listener.stats, { accepted: 0, pending: 0 })
})

t.test('who says nothing is cut off after a while', async (t) => {
  const { listener, knock } = await listening(t, { handshakeTimeout: 50 })
  t.equal((await knock(Buffer.alloc(0))).byteLength, 0)
  await until(() => listener.stats.rejected === 1)
  t.match(listener.stats, { accepted: 0, pending: 0 })
})

t.test('a message of 16 MiB ends a connection when it is announced, on either side', async (t) => {
  const announcement = Buffer.concat([Buffer.from([255, 255, 255]), Buffer.alloc(100)])
  const { links, connector, keyPair } = await listening(t)
  const { connection } = await connector().connect(keyPair.publicKey, NEVER)
  linkOn(t, connection)
  await until(() => links.length === 1)
  const why = closed(links[0] as Link)
  ;(connection.rawStream as unknown as Socket).write(announcement)
  t.match(await why, { code: 'BAD_MESSAGE' }, 'at the service, once it is a link')

  const wire = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(announcement)
    setImmediate(() => socket.write(announcement))
  }).listen(0, '127.0.0.1')
  await once(wire, 'listening')
  t.teardown(() => wire.close())
  const { port } = wire.address() as { port: number }
  const consumer = connector({ addressesOf: () => [`127.0.0.1:${port}`], timeout: 60_000 })
  const connecting = consumer.connect(keyPair.publicKey, NEVER)
  await t.rejects(
    connecting,
    { code: 'LINK_LOST', message: /BAD_MESSAGE/ },
    'at the consumer, before it is one'
  )
})

t.test('a handshake that was overheard and is repeated does not count', async (t) => {
  const { links, listener, connector, keyPair } = await listening(t)
  const heard: Buffer[] = []
  const wire = createServer((socket) => {
    const onward = connect(portOf(listener), '127.0.0.1')
    socket.on('data', (bytes) => heard.push(bytes))
    socket.pipe(onward).pipe(socket)
    for (const side of [socket, onward]) side.on('error', () => {})
  })
  wire.listen(0, '127.0.0.1')
  await once(wire, 'listening')
  t.teardown(() => wire.close())
  const { port } = wire.address() as { port: number }
  const tapped = connector({ addressesOf: () => [`127.0.0.1:${port}`] })
  const { connection } = await tapped.connect(keyPair.publicKey, NEVER)
  linkOn(t, connection)
  await accepted(listener)

  const socket = connect(portOf(listener), '127.0.0.1')
  socket.on('error', () => {})
  socket.write(Buffer.concat(heard))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.ok(answer.byteLength > 0, 'the first message is good')
  await once(socket, 'close')
  t.equal(links.length, 1, 'but nothing that follows can be')
})

t.test('of many who have not proven a key, the oldest gives way to the next', async (t) => {
  const { listener, connector, keyPair, knock } = await listening(t, { maxPending: 4 })
  const first = knock(Buffer.alloc(0))
  await until(() => listener.stats.pending === 1)
  const others = [knock(Buffer.alloc(0)), knock(Buffer.alloc(0))]
  await until(() => listener.stats.pending === 3)
  t.equal(listener.stats.rejected, 0)
  const { connection } = await connector().connect(keyPair.publicKey, NEVER)
  linkOn(t, connection)
  t.equal((await first).byteLength, 0)
  await accepted(listener)
  t.match(listener.stats, { pending: 2, rejected: 1, accepted: 1 })
  await listener.close()
  await Promise.all(others)
})

t.test('a closed listener leaves alone what it handed on', async (t) => {
  const { listener, connector, keyPair } = await listening(t, {}, (incoming) => incoming.accept())
  const { connection } = await connector().connect(keyPair.publicKey, NEVER)
  const link = linkOn(t, connection)
  await link.open()
  await listener.close()
  t.ok(await link.open())
  await t.rejects(connector().connect(keyPair.publicKey, NEVER), { code: 'LINK_LOST' })
})

t.test('a listener follows the addresses of its machine', async (t) => {
  let hosts = ['127.0.0.1']
  const { listener } = await listening(t, { hosts: () => hosts })
  const [first] = listener.addresses
  hosts = ['127.0.0.1', '127.0.0.2']
  const changed = once(listener, 'addresses')
  await listener.refresh()
  await changed
  t.equal(listener.addresses[0], first, 'what was there stays as it was')
  t.match(listener.addresses[1], /^127\.0\.0\.2:\d+$/)
  hosts = ['127.0.0.2']
  await listener.refresh()
  t.equal(listener.addresses.length, 1)
})

t.test('a port that is taken is an error where it was asked for', async (t) => {
  const { listener } = await listening(t)
  const options = { keyPair: KeyPair(), hosts: () => ['127.0.0.1'], onconnection: () => {} }
  const second = new DirectListener({ ...options, port: portOf(listener) })
  await t.rejects(second.ready(), { code: 'PORT_IN_USE' })

  const elsewhere = new DirectListener({ ...options, hosts: () => ['203.0.113.1', '127.0.0.1'] })
  t.teardown(() => elsewhere.close())
  const notice = once(elsewhere, 'notice')
  await elsewhere.ready()
  t.match(await notice, [{ code: 'LISTEN_FAILED' }], 'an address that is not there is told of')
  t.equal(elsewhere.addresses.length, 1)
})

t.test('of several addresses the first that answers is taken', async (t) => {
  const { listener, connector, keyPair } = await listening(t)
  const silent = createServer()
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const { port } = silent.address() as { port: number }
  const addresses = [`127.0.0.1:${port}`, '127.0.0.1:1', ...listener.addresses]
  const several = connector({ addressesOf: () => addresses, stagger: 20 })
  const { connection } = await several.connect(keyPair.publicKey, NEVER)
  linkOn(t, connection)
  await accepted(listener)
})

t.test('an address that failed is left alone, longer each time', async (t) => {
  const key = KeyPair().publicKey
  let now = 0
  const connector = new DirectConnector({
    keyPair: KeyPair,
    addressesOf: () => ['127.0.0.1:1'],
    backoffs: [1000, 5000],
    now: () => now,
    random: () => 0.5
  })
  for (const backoff of [1000, 5000, 5000]) {
    t.ok(connector.isDue(key))
    await t.rejects(connector.connect(key, NEVER), { code: 'LINK_LOST', message: /ECONNREFUSED/ })
    now += backoff - 1
    t.notOk(connector.isDue(key))
    await t.rejects(connector.connect(key, NEVER), { code: 'LINK_LOST', message: /no address/ })
    now += 1
  }
  t.ok(connector.isDue(KeyPair().publicKey), 'for other keys it may be right')
})

t.test('an address whose connection broke soon is left alone, too', async (t) => {
  const { connector, keyPair } = await listening(t)
  const direct = connector()
  const { connection } = await direct.connect(keyPair.publicKey, NEVER)
  t.ok(direct.isDue(keyPair.publicKey))
  connection.destroy()
  await once(connection, 'close')
  t.notOk(direct.isDue(keyPair.publicKey))
})

t.test('a connector that is told to stop leaves no connection behind', async (t) => {
  const { listener, connector, keyPair } = await listening(t)
  const abort = new AbortController()
  const connecting = connector().connect(keyPair.publicKey, abort.signal)
  abort.abort(new Error('changed my mind'))
  await t.rejects(connecting, { message: 'changed my mind' })
  t.equal(listener.stats.accepted, 0)
})

/** A listener on loopback, and how to reach it. */
async function listening(
  t: Test,
  options: Partial<DirectListenerOptions> = {},
  onincoming?: (incoming: IncomingStream) => unknown
) {
  const keyPair = KeyPair()
  const links: Link[] = []
  const listener = new DirectListener({
    keyPair,
    hosts: () => ['127.0.0.1'],
    onconnection: (connection) => {
      links.push(linkOn(t, connection, onincoming))
      listener.emit('accepted')
    },
    ...options
  })
  t.teardown(() => listener.close())
  await listener.ready()

  const connector = (options: Partial<DirectConnectorOptions> = {}) =>
    new DirectConnector({ keyPair: KeyPair, addressesOf: () => listener.addresses, ...options })
  /** Sends bytes, and returns all that comes until the other side hangs up. */
  const knock = async (bytes: Buffer, { end = false } = {}): Promise<Buffer> => {
    const socket: Socket = connect(portOf(listener), '127.0.0.1')
    socket.on('error', () => {})
    socket.write(bytes)
    if (end) socket.end()
    const chunks: Buffer[] = []
    socket.on('data', (chunk) => chunks.push(chunk))
    await once(socket, 'close')
    return Buffer.concat(chunks)
  }
  return { keyPair, listener, links, connector, knock }
}

function linkOn(
  t: Test,
  connection: SecretStream,
  onincoming?: (incoming: IncomingStream) => unknown
): Link {
  const link = new Link(connection, { path: 'direct', ...(onincoming ? { onincoming } : {}) })
  t.teardown(() => link.destroy())
  return link
}

function portOf(listener: DirectListener): number {
  return Number(listener.addresses[0]?.split(':')[1])
}

async function accepted(listener: DirectListener) {
  if (listener.stats.accepted === 0) await once(listener, 'accepted')
}

async function until(condition: () => boolean) {
  await restWhile(() => !condition())
}
