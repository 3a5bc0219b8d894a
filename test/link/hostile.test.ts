import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { Protomux } from '../../lib/core/holepunch.js'
import {
  BLOCKED,
  CONNECTED,
  CREDIT,
  DATA,
  END,
  MAX_CREDIT,
  OPEN,
  type OutgoingFrame,
  PING,
  PONG,
  REFUSED,
  RESET
} from '../../lib/link/frames.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link, type LinkOptions } from '../../lib/link/link.js'
import { randomFrom } from '../random.js'
import { RUNS } from '../runs.js'
import { closed, Rogue, secretPair } from './pair.js'

const ROGUES = RUNS / 5

const MIB = 1024 * 1024

const data = (id: number, byteLength = 1): OutgoingFrame => ({
  type: DATA,
  id,
  parts: [Buffer.alloc(byteLength)],
  byteLength
})
const open = (id: number, window = 1000): OutgoingFrame => ({
  type: OPEN,
  id,
  purpose: '',
  window
})

/** What a rogue opener sends to an acceptor, and must not. Stream 1 is connected, 3 is waiting. */
const OFFENCES: Record<string, OutgoingFrame[]> = {
  'data for a stream that never was': [data(9)],
  'data for a stream of the other side that never was': [data(2)],
  'an end for a stream that never was': [{ type: END, id: 9 }],
  'credit for stream 0': [{ type: CREDIT, id: 0, amount: 1 }],
  'a stream opened twice': [open(1)],
  'a stream number left out': [open(7)],
  'a stream with a number of the other side': [open(2)],
  'data before it was connected': [data(3)],
  'an end before it was connected': [{ type: END, id: 3 }],
  'an answer to its own open': [{ type: CONNECTED, id: 3, window: 1 }],
  'a refusal of a connected stream': [{ type: REFUSED, id: 1, code: 'REFUSED', text: '' }],
  'data after the end': [{ type: END, id: 1 }, data(1)],
  'two ends': [
    { type: END, id: 1 },
    { type: END, id: 1 }
  ],
  'credit beyond all bounds': [
    { type: CREDIT, id: 1, amount: MAX_CREDIT },
    { type: CREDIT, id: 1, amount: MAX_CREDIT }
  ]
}

for (const [offence, frames] of Object.entries(OFFENCES)) {
  t.test(`${offence}: the link is cut, with one notice`, async (t) => {
    const { rogue, link, notices } = victim(t, (incoming) => incoming.id === 1 && incoming.accept())
    rogue.send(open(1), open(3))
    await rogue.hears(CONNECTED)
    rogue.send(...frames)
    rogue.send(...frames)
    t.match(await closed(link), { code: 'BAD_MESSAGE' })
    t.match(notices, [{ code: 'BAD_MESSAGE' }])
    t.equal(notices.length, 1)
    t.ok(rogue.connection.destroying || (await once(rogue.connection, 'close')))
  })
}

t.test('who sends more than it has credit for is cut off', async (t) => {
  const { rogue, link } = victim(t, (incoming) => incoming.accept())
  rogue.send(open(1))
  const { window } = await rogue.hears(CONNECTED)
  for (let sent = 0; sent <= window; sent += 32 * 1024) rogue.send(data(1, 32 * 1024))
  t.match(await closed(link), { code: 'BAD_MESSAGE', message: /window/ })
})

t.test('tiny pieces count for what they cost to keep', async (t) => {
  const { rogue, link } = victim(t, (incoming) => incoming.accept())
  rogue.send(open(1))
  const { window } = await rogue.hears(CONNECTED)
  rogue.send(...Array.from({ length: window / 50 }, () => data(1, 1)))
  t.match(await closed(link), { code: 'BAD_MESSAGE', message: /window/ })
})

t.test('what was under way when a stream was cut is forgiven, and no more than that', async (t) => {
  const streams: Duplex[] = []
  const { rogue, link } = victim(t, (incoming) =>
    streams.push(incoming.accept()?.toDuplex() as Duplex)
  )
  rogue.send(open(1))
  const { window } = await rogue.hears(CONNECTED)
  streams[0]?.destroy()
  await rogue.hears(RESET)
  for (let sent = 0; sent + 1000 < window; sent += 1000) rogue.send(data(1, 1000 - 64))
  rogue.send({ type: CREDIT, id: 1, amount: 5 }, { type: BLOCKED, id: 1 }, { type: END, id: 1 })
  rogue.send({ type: PING, id: 7 })
  t.equal((await rogue.hears(PONG)).id, 7, 'the link lives')
  rogue.send(data(1, 1000))
  t.match(await closed(link), { code: 'BAD_MESSAGE' })
})

t.test('a flood of opens is refused beyond the limit, and the others go on', async (t) => {
  const { rogue, link } = victim(t, (incoming) => incoming.accept(), { maxStreams: 10 })
  rogue.send(...Array.from({ length: 1000 }, (_, i) => open(2 * i + 1)))
  rogue.send({ type: PING, id: 1 })
  await rogue.hears(PONG)
  const answers = [CONNECTED, REFUSED].map(
    (type) => rogue.heard.filter((frame) => frame.type === type).length
  )
  t.same(answers, [10, 990])
  t.equal(link.size, 10)
})

t.test('who asks and asks, and never takes the answers, is cut off', async (t) => {
  const { rogue, link, deafen } = victim(t)
  rogue.send(open(1))
  await rogue.hears(REFUSED)
  deafen()
  let id = 3
  const flood = setInterval(() => {
    for (let i = 0; i < 1000; i++, id += 2) rogue.send(open(id))
  }, 1)
  t.teardown(() => clearInterval(flood))
  t.match(await closed(link), { code: 'BAD_MESSAGE', message: /does not take/ })
})

t.test(
  'who opens channels of no known protocol, and never takes the answers, is cut off',
  async (t) => {
    const { rogue, link, deafen } = victim(t)
    rogue.send(open(1))
    await rogue.hears(REFUSED)
    deafen()
    let id = 2
    const flood = setInterval(() => {
      for (let i = 0; i < 1000; i++) rogue.connection.write(channelOpen(id++, 'x'.repeat(2000)))
    }, 1)
    t.teardown(() => clearInterval(flood))
    t.match(await closed(link), { code: 'BAD_MESSAGE', message: /does not take/ })
  }
)

t.test('the largest frame there can be is refused, and its memory is back', async (t) => {
  for (const message of [
    Buffer.alloc(16 * MIB - 100),
    Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(16 * MIB - 100, DATA)]),
    channelOpen(2, 'x'.repeat(16 * MIB - 100))
  ]) {
    const { rogue, link } = victim(t)
    rogue.send(open(1))
    await rogue.hears(REFUSED)
    rogue.connection.write(message)
    t.match(await closed(link), { code: 'BAD_MESSAGE' })
  }
})

t.test('an acceptor cannot answer what was not asked', async (t) => {
  const { initiator, responder } = secretPair(t)
  const link = new Link(initiator)
  new Rogue(responder).send({ type: CONNECTED, id: 1, window: 1000 })
  t.match(await closed(link), { code: 'BAD_MESSAGE' })
})

t.test('a side that carries no streams is not waited for', async (t) => {
  const { initiator, responder } = secretPair(t)
  Protomux.from(responder)
  await t.rejects(new Link(initiator).open(), { code: 'LINK_LOST', message: /no streams/ })
})

t.test(`${ROGUES} rogues with random frames never bring the process down`, async (t) => {
  const random = randomFrom(20_260_101)
  const outcomes = new Map<string, number>()
  for (let round = 0; round < ROGUES; round++) {
    const { rogue, link } = victim(t, (incoming) => {
      if (random() < 0.3) return
      const stream = incoming.accept()?.toDuplex()
      stream?.resume()
      stream?.end('hello')
    })
    const why = closed(link)
    rogue.send(open(1))
    const packets = Array.from({ length: 1 + Math.floor(random() * 6) }, () => randomPacket(random))
    for (const packet of packets) {
      if (random() < 0.15) rogue.connection.write(packet)
      else rogue.sendRaw(packet)
    }
    rogue.connection.end()
    const { code } = await why
    outcomes.set(code, 1 + (outcomes.get(code) ?? 0))
  }
  t.same([...outcomes.keys()].sort(), ['BAD_MESSAGE', 'LINK_LOST'])
})

/** An acceptor's link with a rogue at its other end. */
function victim(
  t: Test,
  onincoming?: (incoming: IncomingStream) => unknown,
  options: LinkOptions = {}
) {
  const { initiator, responder, deafen } = secretPair(t)
  const link = new Link(responder, { ...(onincoming ? { onincoming } : {}), ...options })
  const notices: Error[] = []
  link.on('notice', (notice) => notices.push(notice))
  return { rogue: new Rogue(initiator), link, notices, deafen }
}

/** Protomux's own frame that opens a channel. */
function channelOpen(id: number, protocol: string): Buffer {
  const uint = (value: number) => {
    if (value <= 0xfc) return Buffer.from([value])
    const wide = Buffer.alloc(5)
    wide[0] = 0xfe
    wide.writeUInt32LE(value, 1)
    return wide
  }
  return Buffer.concat([
    Buffer.from([0, 1]),
    uint(id),
    uint(protocol.length),
    Buffer.from(protocol),
    Buffer.from([0])
  ])
}

/** Frames that make sense, bent a little; or nothing that makes sense. */
function randomPacket(random: () => number): Buffer {
  const byte = () => Math.floor(random() * 256)
  if (random() < 0.3) return Buffer.from(Array.from({ length: byte() }, byte))
  const frames = Array.from({ length: 1 + Math.floor(random() * 8) }, () => {
    const id = [1, 1, 3, 2, 0, byte()][Math.floor(random() * 6)] as number
    const length = Math.floor(random() * 20)
    return Buffer.from([Math.floor(random() * 11), id, length, ...Array.from({ length }, byte)])
  })
  return Buffer.concat(frames)
}
