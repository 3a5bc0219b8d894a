import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { encodeBody } from '../../lib/messaging/body.js'
import { EventRing } from '../../lib/messaging/event-ring.js'
import {
  type Cursor,
  decodeFrame,
  encodeFrame,
  type Frame,
  LENGTH_BYTES,
  SUBSCRIBE
} from '../../lib/messaging/frames.js'
import { Subscriber } from '../../lib/messaging/subscriber.js'
import { stream } from '../fuzz/stream.js'

/** A subscriber whose stream keeps what is sent to it. */
function subscribing() {
  const line = stream()
  const sent: Frame[] = []
  const write = line.write.bind(line)
  line.write = (frame, isUrgent) => {
    const read = decodeFrame(frame, LENGTH_BYTES)
    if (read) sent.push(read)
    return write(frame, isUrgent)
  }
  const ring = new EventRing({ epoch: 5, maxEvents: 10 })
  const denied = new Set<string>()
  const end = { code: '' }
  const subscriber = new Subscriber(line, {
    peer: '01'.repeat(32),
    ring,
    denialOf: (type) => (denied.has(type) ? SeaportError.NOT_GRANTED(`no ${type}`) : null),
    onclose: (reason) => {
      end.code = reason?.code ?? ''
    }
  })
  const asks = (after: Cursor | null, types: string[]) =>
    line.receiveData(encodeFrame({ type: SUBSCRIBE, after, types }))
  const emit = (name: string, count = 1) => {
    for (let i = 0; i < count; i++) subscriber.send(ring.add(name, encodeBody(i)))
  }
  line.receiveData(encodeFrame({ type: 0, version: 1 }))
  sent.length = 0
  return { line, sent, subscriber, denied, asks, emit, end }
}

t.test('only the first question of a stream may go on from somewhere', async (t) => {
  const { asks, sent, end } = subscribing()
  asks({ epoch: 5, seq: 0 }, ['TICK'])
  asks(null, ['TICK', 'TOCK'])
  t.same(
    sent.map(({ type }) => type),
    [13, 13]
  )
  asks({ epoch: 5, seq: 0 }, ['TICK'])
  t.equal(end.code, 'BAD_MESSAGE')
})

t.test('who asks and does not read what it is told is not read any more', async (t) => {
  const { line, asks } = subscribing()
  const many = Buffer.concat(
    Array.from({ length: 1000 }, () =>
      encodeFrame({ type: SUBSCRIBE, after: null, types: ['TICK'] })
    )
  )
  asks(null, ['TICK'])
  let rounds = 0
  // The other side breaks the protocol when it sends more than the window has room for.
  while (line.window >= many.byteLength && rounds++ < 10_000) line.receiveData(many)
  t.ok(rounds < 10_000, `after ${rounds} thousand`)
  t.ok(line.unsent < 4 * 1024 ** 2, `${line.unsent} bytes wait`)
})

t.test('a listener knows how far it has heard, though it wants few of the events', async (t) => {
  const { asks, emit, sent } = subscribing()
  asks({ epoch: 5, seq: 0 }, ['RARE'])
  emit('OFTEN', 40_000)
  t.same(sent.at(-1), { type: 13, epoch: 5, seq: 32_768 })
  emit('RARE')
  asks(null, ['RARE', 'OFTEN'])
  t.same(sent.at(-1), { type: 13, epoch: 5, seq: 40_001 })
})

t.test('what waits is not passed over when it asks for other types', async (t) => {
  const { asks, emit, sent } = subscribing()
  asks(null, ['TICK'])
  emit('TICK', 10_000)
  const last = sent.findLast(({ type }) => type === 15) as { seq: number }
  asks(null, ['TICK', 'TOCK'])
  const { seq } = sent.at(-1) as { seq: number }
  t.ok(last.seq <= seq && seq < 10_000, `${last.seq} was sent, ${seq} was told`)
})

t.test('what waits is not heard any more by who loses the right to it', async (t) => {
  const { line, asks, emit, sent, subscriber, denied } = subscribing()
  asks(null, ['TICK', '$state'])
  emit('TICK', 10_000)
  emit('$state', 10)
  emit('TICK')
  denied.add('$state')
  subscriber.recheck()
  line.receiveCredit(2 ** 24)
  while (line.unsent > 0) line.takeTurn([], 2 ** 20)
  const names = sent.map((frame) => (frame.type === 15 ? frame.name : ''))
  t.equal(names.at(-1), 'TICK', 'all that waited was sent')
  t.notOk(names.includes('$state'))
})

t.test('a right that is given later is heard of', async (t) => {
  const { asks, emit, sent, subscriber, denied } = subscribing()
  denied.add('$state')
  asks(null, ['TICK', '$state'])
  t.same(
    sent.map(({ type }) => type),
    [4, 13]
  )
  subscriber.recheck()
  t.equal(sent.length, 2, 'and what is denied as before is not told again')
  denied.clear()
  subscriber.recheck()
  emit('$state')
  t.same(
    sent.slice(2).map(({ type }) => type),
    [13, 15]
  )
})
