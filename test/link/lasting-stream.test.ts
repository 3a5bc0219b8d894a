import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { Acceptor } from '../../lib/link/acceptor.js'
import { DirectConnector } from '../../lib/link/direct/connector.js'
import { DirectListener } from '../../lib/link/direct/listener.js'
import { LastingStream } from '../../lib/link/lasting-stream.js'
import { LinkPool } from '../../lib/link/pool.js'
import type { LinkStream } from '../../lib/link/stream.js'
import { restWhile } from '../rest.js'
import { Testbed } from '../testbed.js'
import { readAll } from './pair.js'

const PURPOSE = 'conversation/1'

t.test(
  'it moves from the DHT to a direct path and back, and bytes stay where they are',
  async (t) => {
    const { pool, key, acceptor, lasting, addresses, listener, connections } = await paths(t)
    acceptor.handle(PURPOSE, (stream) => {
      const duplex = stream.toDuplex()
      duplex.pipe(duplex)
    })
    const bytes = (await pool.open(key)).toDuplex()

    lasting.open()
    const [first] = await next(lasting)
    t.equal(first.path, 'dht')
    const held = first.toDuplex()
    held.write('to be answered yet')

    addresses.push(...listener.addresses)
    const [second, before] = await next(lasting)
    t.equal(second.path, 'direct')
    t.equal(before, first, 'its holder is told of both')
    t.equal(lasting.stream, second)
    t.equal(String(await readAll(held)), 'to be answered yet', 'and the old one ends in order')
    second.toDuplex().resume()

    t.equal(pool.links().length, 2, 'the link of the bytes is kept')
    bytes.end('still here')
    t.equal(String(await readAll(bytes)), 'still here')
    await restWhile(() => pool.links().length === 2)
    t.match(pool.links(), [{ path: 'direct' }], 'for as long as they last')

    addresses.length = 0
    const lost = once(lasting, 'lost')
    connections[0]?.destroy()
    t.match(await lost, [{ code: 'LINK_LOST' }])
    const [third, none] = await next(lasting)
    t.equal(third.path, 'dht')
    t.equal(none, null)
    t.same(lasting.stats, { opened: 3, moved: 1, lost: 1, failed: 0 })
  }
)

t.test('while it is refused it tries again, and says so', async (t) => {
  const { acceptor, lasting } = await paths(t)
  lasting.open()
  t.match(await once(lasting, 'failed'), [{ code: 'REFUSED' }])
  t.equal(lasting.stream, null)
  acceptor.handle(PURPOSE, (stream) => stream.toDuplex().resume())
  t.equal((await next(lasting))[0].purpose, PURPOSE)
})

t.test('when the other side ends it, another one is opened', async (t) => {
  const { acceptor, lasting } = await paths(t)
  let isEnding = true
  acceptor.handle(PURPOSE, (stream) => {
    const duplex = stream.toDuplex().resume()
    if (isEnding) duplex.end()
    isEnding = false
  })
  lasting.on('stream', (stream) => {
    const duplex = stream.toDuplex()
    duplex.on('end', () => duplex.end()).resume()
  })
  lasting.open()
  t.match(await once(lasting, 'lost'), [null])
  t.ok((await next(lasting))[0])
})

t.test('closed, it ends its stream in order and opens no other', async (t) => {
  const { acceptor, lasting } = await paths(t)
  const ended = new Promise<Error | null>((resolve) => {
    acceptor.handle(PURPOSE, (stream) => {
      const duplex = stream.toDuplex().resume()
      duplex.on('end', () => duplex.end())
      stream.whenClosed(resolve)
    })
  })
  lasting.open()
  const [stream] = await next(lasting)
  stream.toDuplex().resume()
  lasting.close()
  t.equal(await ended, null)
  t.equal(lasting.stream, null)
  lasting.open()
  t.equal(acceptor.stats.accepted, 1)
})

t.test('who never ends what was left is cut', async (t) => {
  const { acceptor, lasting, addresses, listener } = await paths(t, { leaveTimeout: 10 })
  const closed: Promise<Error | null>[] = []
  acceptor.handle(PURPOSE, (stream) => {
    closed.push(new Promise((resolve) => stream.whenClosed(resolve)))
    stream.toDuplex().resume()
  })
  lasting.open()
  await next(lasting)
  addresses.push(...listener.addresses)
  await next(lasting)
  // The link goes with its last stream, and may be quicker than the word that the stream was cut.
  t.match(await closed[0], { code: /^(STREAM_RESET|LINK_LOST)$/ })
  t.equal(lasting.stream?.path, 'direct')
})

t.test('bytes for a backend are no purpose for it', (t) => {
  const pool = new LinkPool({ connect: () => null as never })
  const options = { pool, remotePublicKey: KeyPair().publicKey, purpose: '' }
  t.throws(() => new LastingStream(options), { code: 'USAGE' })
  t.end()
})

/** The next stream, and the one before. */
function next(lasting: LastingStream): Promise<[LinkStream, LinkStream | null]> {
  return once(lasting, 'stream') as Promise<[LinkStream, LinkStream | null]>
}

/** A service on the DHT and on TCP, whose TCP addresses are told when the test wants it. */
async function paths(t: Test, options: { leaveTimeout?: number } = {}) {
  const testbed = await Testbed.make(t)
  const [far, near] = await Promise.all([testbed.network(), testbed.network()])
  const [keyPair, consumer] = [KeyPair(), KeyPair()]
  const acceptor = new Acceptor({
    dht: far.dht,
    keyPair,
    connect: async () => (stream) => stream.pipe(stream)
  })
  t.teardown(() => acceptor.close())
  await acceptor.ready()
  const connections: SecretStream[] = []
  const listener = new DirectListener({
    keyPair,
    hosts: () => ['127.0.0.1'],
    onconnection: (connection) => {
      connections.push(connection)
      acceptor.take(connection, 'direct')
    }
  })
  t.teardown(() => listener.close())
  await listener.ready()
  const addresses: string[] = []
  const pool = new LinkPool({
    connect: (key) => near.dht.connect(key, { keyPair: consumer }),
    connector: new DirectConnector({
      keyPair: () => consumer,
      addressesOf: () => addresses,
      backoffs: [0]
    }),
    retryInterval: 0,
    idleTimeout: 20
  })
  t.teardown(() => pool.close())
  const lasting = new LastingStream({
    pool,
    remotePublicKey: keyPair.publicKey,
    purpose: PURPOSE,
    backoffs: [1],
    seekInterval: 10,
    ...options
  })
  t.teardown(() => lasting.close())
  return { pool, key: keyPair.publicKey, acceptor, lasting, addresses, listener, connections }
}
