import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { c } from '../../lib/core/holepunch.js'
import { KeyPair } from '../../lib/core/keys.js'
import { Acceptor, type AcceptorOptions } from '../../lib/link/acceptor.js'
import { handshakeEncoding } from '../../lib/link/channel-handshake.js'
import { PONG } from '../../lib/link/frames.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link } from '../../lib/link/link.js'
import { LinkPool } from '../../lib/link/pool.js'
import { Testbed } from '../testbed.js'
import { linkPair, Rogue, readAll, secretPair } from './pair.js'

t.test('a stream says at the other side what it is for', async (t) => {
  const purposes: string[] = []
  const { opener } = linkPair(t, (incoming) => {
    purposes.push(incoming.purpose)
    t.equal(incoming.accept()?.purpose, incoming.purpose)
  })
  t.equal((await opener.open()).purpose, '')
  t.equal((await opener.open({ purpose: 'chunks/1' })).purpose, 'chunks/1')
  t.same(purposes, ['', 'chunks/1'])
  await t.rejects(opener.open({ purpose: 'no such thing' }), { code: 'USAGE' })
  t.equal(opener.size, 2)
})

t.test('each side hears what the other one speaks', async (t) => {
  const { opener, acceptor } = linkPair(t, undefined, { acceptor: { speaks: ['', 'chunks/1'] } })
  t.equal(opener.remoteSpeaks, null, 'which is not known at first')
  await t.rejects(opener.open(), { code: 'REFUSED' })
  t.same(opener.remoteSpeaks, ['', 'chunks/1'])
  t.same(acceptor.remoteSpeaks, [])
})

t.test('what a later version says in its handshake is passed by', (t) => {
  const handshake = { revision: 7, speaks: ['', 'x'.repeat(65), 'of spaces and such', 'chunks/1'] }
  const written = Buffer.concat([c.encode(handshakeEncoding, handshake), Buffer.from('and more')])
  t.same(c.decode(handshakeEncoding, written), { revision: 7, speaks: ['', 'chunks/1'] })
  const many = { revision: 0, speaks: Array(100).fill('a') }
  t.equal(c.decode(handshakeEncoding, c.encode(handshakeEncoding, many)).speaks.length, 16)
  t.end()
})

t.test('a frame of a later version cuts nothing, and what follows it is read', async (t) => {
  const { initiator, responder } = secretPair(t)
  const rogue = new Rogue(initiator)
  const link = new Link(responder)
  const body = Buffer.from('whatever')
  rogue.sendRaw(Buffer.concat([Buffer.of(16, 5, body.byteLength), body, Buffer.of(8, 77)]))
  t.match(await rogue.hears(PONG), { id: 77 })
  t.notOk(link.isClosed)
})

t.test('a purpose that cannot be one is refused, and cuts nothing', async (t) => {
  const { initiator, responder } = secretPair(t)
  const rogue = new Rogue(initiator)
  const link = new Link(responder, { onincoming: (incoming) => incoming.accept() })
  rogue.send({ type: 0, id: 1, purpose: 'spaces and more', window: 1000 })
  t.match(await rogue.hears(2), { id: 1, code: 'REFUSED' })
  rogue.send({ type: 0, id: 3, purpose: 'x'.repeat(65), window: 1000 })
  t.match(await rogue.hears(2, 3), { code: 'REFUSED' })
  rogue.send({ type: 0, id: 5, purpose: 'x'.repeat(60_000), window: 1000 })
  t.match(await rogue.hears(2, 5), { code: 'REFUSED' })
  t.notOk(link.isClosed)
  t.equal(link.size, 0)
})

t.test(
  'over the DHT, a stream of a purpose goes to who handles it, and bytes to the backend',
  async (t) => {
    const { acceptor, open } = await accepting(t)
    const consumer = new Promise<Buffer>((resolve) => {
      acceptor.handle('greeting/1', (stream, key) => {
        resolve(key)
        stream.toDuplex().end('ahoy')
      })
    })
    t.same(acceptor.speaks, ['', 'greeting/1'])
    const stream = await open('greeting/1')
    stream.end()
    t.equal(String(await readAll(stream)), 'ahoy')
    t.equal((await consumer).byteLength, 32)
    const bytes = await open('')
    bytes.end('hello')
    t.equal(String(await readAll(bytes)), 'hello', 'an echo')
    t.throws(() => acceptor.handle('greeting/1', () => {}), { code: 'USAGE' })
    t.match(acceptor.stats, { links: 1, accepted: 2, reset: 0 })
  }
)

t.test('a purpose that nobody handles is refused, and the other streams go on', async (t) => {
  const { open } = await accepting(t)
  const bytes = await open('')
  await t.rejects(open('mail/1'), { code: 'REFUSED', message: /does not speak mail\/1/ })
  bytes.end('still here')
  t.equal(String(await readAll(bytes)), 'still here')
})

t.test('an instance without a backend refuses bytes, and says so', async (t) => {
  const { acceptor, open } = await accepting(t, { connect: undefined })
  acceptor.handle('greeting/1', (stream) => stream.toDuplex().end('ahoy'))
  t.same(acceptor.speaks, ['greeting/1'])
  await t.rejects(open(''), { code: 'REFUSED', message: /no backend/ })
  t.equal(String(await readAll(await open('greeting/1'))), 'ahoy')
})

t.test('a handler that throws cuts its stream, and nothing else', async (t) => {
  const { acceptor, open } = await accepting(t)
  acceptor.handle('greeting/1', () => {
    throw new Error('a mistake')
  })
  const bytes = await open('')
  const stream = await open('greeting/1')
  t.match(await once(stream, 'error'), [{ code: 'STREAM_RESET' }])
  bytes.end('still here')
  t.equal(String(await readAll(bytes)), 'still here')
})

t.test('each purpose is allowed by itself, at the open and at each recheck', async (t) => {
  const allowed = new Set(['', 'a'])
  const { acceptor, open } = await accepting(t, {
    authorize: (_key, purpose) =>
      allowed.has(purpose) || SeaportError.NOT_GRANTED(`there is no grant for ${purpose}`)
  })
  for (const purpose of ['a', 'b']) acceptor.handle(purpose, () => {})
  const [bytes, a] = [await open(''), await open('a')]
  await t.rejects(open('b'), { code: 'NOT_GRANTED', message: /no grant for b/ })

  acceptor.recheck()
  allowed.delete('a')
  acceptor.recheck()
  t.match(await once(a, 'error'), [{ code: 'STREAM_RESET', message: /NOT_GRANTED/ }])
  t.equal(acceptor.stats.links, 1, 'the link stays')
  bytes.write('still here')
  t.match(await once(bytes, 'data'), [Buffer.from('still here')])

  allowed.delete('')
  acceptor.recheck()
  t.equal(acceptor.stats.links, 0, 'who may nothing at all is cut off')
  t.match(await once(bytes, 'error'), [{ code: 'LINK_LOST' }])
})

t.test('who may not any more while the backend is asked is refused', async (t) => {
  let isAllowed = true
  const { acceptor, open } = await accepting(t, {
    authorize: (_key, purpose) => isAllowed || purpose === 'other',
    connect: ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        isAllowed = false
        queueMicrotask(() => acceptor.recheck())
      })
  })
  acceptor.handle('other', () => {})
  await t.rejects(open(''), { code: 'NOT_ALLOWED' })
})

t.test('whoever handles long-lived streams hears that the service is about to leave', async (t) => {
  const { acceptor, open } = await accepting(t)
  const streams: Duplex[] = []
  acceptor.handle('conversation/1', (stream) => streams.push(stream.toDuplex().resume()))
  acceptor.on('draining', () => {
    for (const stream of streams) stream.end()
  })
  const stream = await open('conversation/1')
  stream.on('end', () => stream.end()).resume()
  await acceptor.drain()
  t.match(acceptor.stats, { reset: 0 })
})

t.test('a link that is cut ends an incoming stream of any purpose', async (t) => {
  let waiting: IncomingStream | null = null
  const { opener, acceptor } = linkPair(t, (incoming) => {
    waiting = incoming
    acceptor.destroy()
  })
  await t.rejects(opener.open({ purpose: 'a' }), { code: 'LINK_LOST' })
  t.ok((waiting as IncomingStream | null)?.isAnswered)
})

/** An acceptor with an echo as its backend, and streams to it over the DHT. */
async function accepting(t: Test, options: Partial<AcceptorOptions> = {}) {
  const testbed = await Testbed.make(t)
  const [far, near] = await Promise.all([testbed.network(), testbed.network()])
  const keyPair = KeyPair()
  const acceptor = new Acceptor({
    dht: far.dht,
    keyPair,
    connect: async () => (stream) => stream.pipe(stream),
    ...options
  })
  t.teardown(() => acceptor.close())
  await acceptor.ready()
  const pool = new LinkPool({ connect: (key) => near.dht.connect(key) })
  t.teardown(() => pool.close())
  const open = async (purpose: string) =>
    (await pool.open(keyPair.publicKey, { purpose })).toDuplex()
  return { acceptor, open }
}
