import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { decodeWire, encodeWire } from '../../../lib/gateway/channels/wire.js'
import {
  decodeChannelFrame,
  encodeChannelFrame
} from '../../../lib/messaging/clients/channel-frames.js'
import { ChannelRing } from '../../../lib/messaging/clients/channel-ring.js'
import { readTicket, verifyTicket } from '../../../lib/messaging/clients/ticket.js'
import { restWhile } from '../../rest.js'
import { RUNS } from '../../runs.js'
import { pier, RawPage } from './pier.js'

const MIB = 1024 * 1024
const ROUNDS = 4 * RUNS

t.test('what is no frame of the protocol ends the connection, and no other', async (t) => {
  const { web } = await pier(t)
  const bystander = new RawPage(web)
  await bystander.connect({ token: 'bob' })
  const cases: [string, string | Buffer, number][] = [
    ['no JSON', 'a:b:c', 4002],
    ['no object', '7', 4002],
    ['no type', '{"t":"message","n":1}', 4002],
    ['a number that is none', '{"t":"message","n":-1,"type":"x"}', 4002],
    ['half a head', Buffer.from([0, 9, 1]), 4002],
    ['more than a frame may have', Buffer.alloc(MIB + 65 * 1024), 1009]
  ]
  for (const [name, sent, code] of cases) {
    const page = new RawPage(web)
    await page.connect({ token: 'ada' })
    page.send(sent)
    t.equal(await page.closed, code, name)
  }
  bystander.send({ t: 'message', n: 1, type: 'x', data: '\ud800' })
  t.match(await bystander.next('answer'), { n: 1, data: { data: '\ud800' } }, 'a lone surrogate')
})

t.test('what is wrong with a message is told to the page, which goes on', async (t) => {
  const { service, web } = await pier(t)
  service.commands.handle('echo', (data) => data)
  service.clients.allow('direct')
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const cases: [string, string | Buffer, string][] = [
    ['too deep', `{"t":"message","n":1,"type":"x","data":${deep(257)}}`, 'BAD_MESSAGE'],
    ['far too deep', `{"t":"message","n":1,"type":"x","data":${deep(MIB / 2)}}`, 'BAD_MESSAGE'],
    ['a call', `{"t":"call","n":1,"type":"echo","data":${deep(257)}}`, 'BAD_MESSAGE'],
    ['large JSON', JSON.stringify({ ...said(), data: 'x'.repeat(MIB - 1) }), 'TOO_LARGE'],
    ['large bytes', Buffer.concat([headOf(said()), Buffer.alloc(MIB + 1)]), 'TOO_LARGE'],
    ['a deep head', headOf({ ...said(), more: JSON.parse(deep(257)) }), 'BAD_MESSAGE'],
    ['a long type', JSON.stringify({ ...said(), type: 'x'.repeat(MIB) }), 'USAGE'],
    ['a long id', JSON.stringify({ ...said(), to: 'one', id: 'x'.repeat(70_000) }), 'USAGE'],
    ['no receiver', JSON.stringify({ ...said(), to: 'some' }), 'USAGE']
  ]
  for (const [name, sent, code] of cases) {
    page.send(sent)
    t.match(await page.next('failed'), { n: 1, code }, name)
  }
  page.send(`{"t":"message","n":1,"type":"x","data":${deep(256)}}`)
  t.match(await page.next('answer'), { n: 1, data: { data: JSON.parse(deep(256)) } })
})

t.test('what the service cannot send is told to it, and no page hears of it', async (t) => {
  const { service, web } = await pier(t)
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  await restWhile(() => service.clients.list().length < 1)
  const deep = JSON.parse(`${'['.repeat(257)}${']'.repeat(257)}`)
  t.throws(() => service.clients.broadcast('deep', deep), { code: 'BAD_OUTPUT' })
  t.throws(() => service.clients.direct('ada', 'deep', deep), { code: 'BAD_OUTPUT' })
  t.throws(() => service.clients.direct('x'.repeat(257), 'long'), { code: 'USAGE' })
  const filter = { name: 'x'.repeat(4096) }
  t.throws(() => service.clients.broadcast('all', 1, { filter }), { code: 'USAGE' })
  service.clients.broadcast('all', 2)
  t.match(await page.next('broadcast'), { s: 1, data: 2 })
})

t.test('many messages at once cut nobody who reads', async (t) => {
  const { service, web } = await pier(t, { channels: { unreadMessages: 100 } })
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  await restWhile(() => service.clients.list().length < 1)
  for (let n = 1; n <= 5000; n++) service.clients.broadcast('much', n)
  const numbers: unknown[] = []
  while (numbers.length < 5000) numbers.push((await page.next('broadcast')).data)
  t.same(
    numbers,
    Array.from({ length: 5000 }, (_, i) => i + 1)
  )
  t.equal(web.getStats().gateway.channels.unread, 0)
})

t.test('a page that says too much at once is told BUSY, and goes on', async (t) => {
  const { web } = await pier(t)
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  for (let n = 1; n <= 1000; n++) page.send({ t: 'message', n, type: 'x' })
  t.match(await page.next('failed'), { code: 'BUSY' })
  t.match(await page.next('failed'), { code: 'BUSY' })
})

t.test('a page that does not read is cut, and the others hear all', async (t) => {
  const { service, web } = await pier(t)
  const [deaf, other] = [new RawPage(web), new RawPage(web)]
  await deaf.connect({ token: 'deaf' })
  await other.connect({ token: 'other' })
  await restWhile(() => service.clients.list().length < 2)
  deaf.socket.pause()
  for (let n = 1; service.clients.list().find(({ id }) => id === 'deaf')?.sessions !== 0; n++) {
    service.clients.broadcast('much', Buffer.alloc(MIB / 2))
    t.equal((await other.next('broadcast')).s, n)
  }
  deaf.socket.terminate()
})

t.test('a ticket counts only as an instance of the role signed it', async (t) => {
  const scope = { registry: 'ab'.repeat(32), role: 'chat' }
  t.equal(
    verifyTicket('', scope, () => true),
    null
  )
  t.equal(
    verifyTicket('e30.AAAA', scope, () => true),
    null
  )
  t.throws(() => readTicket('e30.AAAA'), { code: 'BAD_MESSAGE' })
})

t.test('how many were missed is known as long as all of them were for everybody', async (t) => {
  const ring = new ChannelRing({ maxBytes: 2000, epoch: 5 })
  const body = { kind: 'json' as const, bytes: Buffer.from('[1]') }
  const begin = { epoch: 5, seq: 0 }
  for (let i = 0; i < 20; i++) ring.add({ kind: 'presence', type: 'presence', id: 'ada' }, body)
  t.ok(ring.first > 1, 'some were dropped')
  t.equal(ring.missedAfter(begin), ring.first - 1)
  ring.add({ kind: 'direct', type: 'note', id: 'ada' }, body)
  for (let i = 0; i < 20; i++) ring.add({ kind: 'broadcast', type: 'news' }, body)
  t.equal(ring.missedAfter(begin), undefined)
})

t.test('decoders throw nothing but what they say', async (t) => {
  const json = { kind: 'json' as const, bytes: Buffer.from('[1]') }
  const frames = [
    encodeChannelFrame({ t: 'welcome', epoch: 1, seq: 2 }).subarray(4),
    encodeChannelFrame({ t: 'event', seq: 1, kind: 'direct', type: 'x', id: 'a' }, json).subarray(4)
  ]
  // The header of the WebSocket frame is not what is decoded here.
  const wires = [
    encodeWire({ t: 'message', n: 1 }, json).subarray(2),
    encodeWire({ t: 'message', n: 1 }, { kind: 'bytes', bytes: Buffer.alloc(9) }).subarray(2)
  ]
  const odd: unknown[] = []
  const attempt = (decode: () => unknown) => {
    try {
      decode()
    } catch (error) {
      if (!(error instanceof SeaportError)) odd.push(error)
    }
  }
  for (let i = 0; i < ROUNDS; i++) {
    attempt(() => decodeChannelFrame(mutated(frames[i % 2] as Buffer)))
    attempt(() => decodeWire(mutated(wires[i % 2] as Buffer), i % 3 === 0))
  }
  t.same(odd, [])
})

function mutated(frame: Buffer): Buffer {
  const bytes = Buffer.from(frame)
  for (let i = 0; i < 3; i++)
    bytes[Math.floor(Math.random() * bytes.byteLength)] = Math.random() * 256
  return Math.random() < 0.3 ? bytes.subarray(0, Math.random() * bytes.byteLength) : bytes
}

function said() {
  return { t: 'message', n: 1, type: 'x' }
}

function headOf(head: object): Buffer {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(2)
  length.writeUInt16BE(text.byteLength)
  return Buffer.concat([length, text])
}
