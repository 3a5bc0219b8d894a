import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { encodeBody, JsonText } from '../../lib/messaging/body.js'
import { EntryEvents, type EventOrigin } from '../../lib/messaging/entry-events.js'
import type { Cursor } from '../../lib/messaging/frames.js'
import { restWhile } from '../rest.js'
import { type BayOptions, type Berth, bay } from './bay.js'

interface Heard extends EventOrigin {
  data: unknown
}

/** Instances that speak, and who listens to them. */
async function listening(t: Test, options: BayOptions) {
  const made = await bay(t, options)
  const watchers = new Set<() => void>()
  const notices: SeaportError[] = []
  const entry = () => {
    const events = new EntryEvents({
      pool: made.pool,
      instances: made.candidates,
      watch: (listener) => {
        watchers.add(listener)
        return () => watchers.delete(listener)
      },
      backoffs: [10],
      leaveTimeout: 50,
      onnotice: (notice) => notices.push(notice)
    })
    t.teardown(() => events.close())
    return events
  }
  const changed = () => {
    for (const listener of watchers) listener()
  }
  return { ...made, entry, changed, notices }
}

/** Collects what is heard, and resolves once there is as much. */
function hear(events: EntryEvents, type = '*', after = {}) {
  const heard: Heard[] = []
  const waiting = new Set<() => void>()
  events.on(
    type,
    (data, origin) => {
      heard.push({ data, ...origin })
      for (const check of waiting) check()
    },
    { after }
  )
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const check = () => condition() && resolve()
      waiting.add(check)
      check()
    })
  return { heard, until, count: (n: number) => until(() => heard.length >= n) }
}

function cut({ pairs }: Berth) {
  for (const { responder } of pairs) responder.destroy()
}

t.test('events come in order, each with its instance, epoch and number', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {}, b: {} } })
  const events = entry()
  const all = hear(events)
  const ticks = hear(events, 'TICK')
  await events.ready()
  for (let i = 0; i < 5; i++) of('a').events.emit('TICK', { i })
  of('b').events.emit('TOCK', Buffer.from('bytes'))
  await all.count(6)
  const fromA = all.heard.filter(({ instance }) => instance === of('a').key)
  t.same(
    fromA.map(({ seq }) => seq),
    [1, 2, 3, 4, 5]
  )
  t.same(
    ticks.heard.map(({ data }) => data),
    [0, 1, 2, 3, 4].map((i) => ({ i }))
  )
  t.ok(all.heard.every(({ missed, epoch, version }) => missed === 0 && epoch > 0 && version))
  t.same(all.heard.find(({ type }) => type === 'TOCK')?.data, Buffer.from('bytes'))
  t.same(events.cursors()[of('a').key], { epoch: fromA[0]?.epoch, seq: 5 })
})

t.test('only the types that somebody listens to are sent', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} } })
  const events = entry()
  const ticks = hear(events, 'TICK')
  await events.ready()
  of('a').events.emit('TOCK')
  of('a').events.emit('TICK')
  await ticks.count(1)
  t.match(ticks.heard, [{ seq: 2, missed: 0 }])
  const later = hear(events, 'TOCK')
  while (later.heard.length === 0) {
    of('a').events.emit('TOCK')
    await new Promise(setImmediate)
  }
})

t.test('a link that is lost costs nothing that the ring has', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} } })
  const events = entry()
  const { heard, count } = hear(events)
  await events.ready()
  for (let round = 0; round < 5; round++) {
    of('a').events.emit('TICK', round)
    cut(of('a'))
    of('a').events.emit('TICK', round)
    await count(2 * round + 2)
  }
  t.same(
    heard.map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, i) => i + 1)
  )
  t.ok(heard.every(({ missed }) => missed === 0))
})

t.test('what the ring does not have any more is counted, by types', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} }, ring: { maxEvents: 3 } })
  const [all, ticks] = [entry(), entry()]
  const everything = hear(all)
  const some = hear(ticks, 'TICK')
  await Promise.all([all.ready(), ticks.ready()])
  of('a').events.emit('TICK', 0)
  await Promise.all([everything.count(1), some.count(1)])
  cut(of('a'))
  for (let i = 1; i <= 10; i++) of('a').events.emit(i % 2 ? 'TOCK' : 'TICK', i)
  await Promise.all([everything.count(4), some.count(3)])
  t.same(
    everything.heard.map(({ data, missed }) => [data, missed]),
    [
      [0, 0],
      [8, 7],
      [9, 0],
      [10, 0]
    ]
  )
  t.same(
    some.heard.map(({ data, missed }) => [data, missed]),
    [
      [0, 0],
      [8, 3],
      [10, 0]
    ]
  )
})

t.test('what is lost before the first event that is heard counts as well', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} }, ring: { maxEvents: 3 } })
  const events = entry()
  const { heard, count } = hear(events)
  await events.ready()
  cut(of('a'))
  for (let i = 1; i <= 10; i++) of('a').events.emit('TICK', i)
  await count(3)
  t.same(
    heard.map(({ data, missed }) => [data, missed]),
    [
      [8, 7],
      [9, 0],
      [10, 0]
    ]
  )
})

t.test('who comes back with a cursor goes on from there', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} } })
  const first = entry()
  const before = hear(first)
  await first.ready()
  of('a').events.emit('TICK', 1)
  await before.count(1)
  const cursors = first.cursors()
  first.close()
  of('a').events.emit('TICK', 2)
  const { heard, count } = hear(entry(), '*', cursors)
  await count(1)
  t.match(heard, [{ data: 2, seq: 2, missed: 0 }])

  const other = hear(entry(), '*', { [of('a').key]: { epoch: 1, seq: 77 } })
  await other.count(2)
  t.match(other.heard, [{ data: 1 }, { data: 2 }], 'of an earlier life, all that there is is new')
})

t.test('instances that come later are heard, and those that go are left', async (t) => {
  const { entry, of, add, remove, changed } = await listening(t, { instances: { a: {} } })
  const events = entry()
  const { heard, count } = hear(events)
  await events.ready()
  const b = add('b', {})
  changed()
  await events.ready()
  b.events.emit('TICK')
  await count(1)
  t.equal(heard[0]?.instance, b.key)
  remove(b.key)
  changed()
  await restWhile(() => b.events.stats.subscribers > 0)
  t.equal(of('a').events.stats.subscribers, 1)
})

t.test(
  'who does not read loses the oldest and is told how many; the others miss none',
  async (t) => {
    const { entry, of, pool } = await listening(t, { instances: { a: {} } })
    const events = entry()
    const good = hear(events)
    await events.ready()
    const stalled = await pool.open(Buffer.from(of('a').key, 'hex'), {
      purpose: 'hyperseaport/events/1'
    })
    const duplex = stalled.toDuplex()
    duplex.on('error', () => {})
    duplex.write(Buffer.of(2, 0, 0, 0, 0, 1))
    const types = Buffer.from('["*"]')
    duplex.write(Buffer.concat([Buffer.of(19, 0, 0, 0, 12), Buffer.alloc(13), types]))
    await restWhile(() => of('a').events.stats.subscribers < 2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const text = 'x'.repeat(1000)
    for (let i = 0; i < 3000; i++) {
      of('a').events.emit('TICK', text)
      if (i % 20 === 0) await new Promise(setImmediate)
    }
    await good.count(3000)
    t.ok(good.heard.every(({ missed, seq }, i) => missed === 0 && seq === i + 1))

    let [bytes, eventsRead, missed] = [Buffer.alloc(0), 0, 0]
    duplex.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32LE(0)) {
        const length = bytes.readUInt32LE(0)
        if (bytes[4] === 14) missed += bytes.readUInt32LE(5)
        if (bytes[4] === 15) eventsRead++
        bytes = bytes.subarray(4 + length)
      }
    })
    await restWhile(() => eventsRead + missed < 3000)
    t.ok(missed > 1000, `${missed} were lost`)
    t.equal(eventsRead + missed, 3000)
  }
)

t.test('who may not hear events is told so, and cut when it may not any more', async (t) => {
  let isAllowed = true
  const { entry, of, notices } = await listening(t, {
    instances: { a: {} },
    service: {
      denialOf: (_peer, name) =>
        isAllowed ? null : SeaportError.NOT_GRANTED(`you may not ${name}`)
    }
  })
  const events = entry()
  const { heard } = hear(events)
  await events.ready()
  isAllowed = false
  of('a').speaker.recheck()
  of('a').events.emit('SECRET')
  await restWhile(() => notices.length === 0)
  t.match(notices[0], { code: 'NOT_GRANTED', message: /\$events/ })
  await restWhile(() => of('a').events.stats.subscribers > 0)
  t.same(heard, [])
})

t.test('a listener that throws keeps nothing from the others', async (t) => {
  const { conversations, of } = await listening(t, { instances: { a: {} } })
  const { key, events, notices } = of('a')
  const heard: unknown[] = []
  events.on('TICK', (data) => {
    data.n = 2
    throw new Error('not me')
  })
  events.on('TICK', (data) => heard.push(data))
  events.on('*', (data) => heard.push(data))
  const caller = await conversations.open(Buffer.from(key, 'hex'), {})
  caller.emit('TICK', encodeBody({ n: 1 }))
  await restWhile(() => heard.length < 2)
  t.same(heard, [{ n: 1 }, { n: 1 }])
  t.match(notices[0]?.text, /has thrown: not me/)
})

t.test('a cursor that cannot be one is refused', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} } })
  const cursors = [{ epoch: 2 ** 48, seq: 0 }, { epoch: 1, seq: -1 }, { epoch: 'x', seq: 0 }, null]
  for (const cursor of cursors) {
    const after = { [of('a').key]: cursor as Cursor }
    t.throws(() => entry().on('*', () => {}, { after }), { code: 'USAGE' })
  }
})

t.test('what cannot be an event is refused where it is emitted', async (t) => {
  const { of } = await listening(t, { instances: { a: {} } })
  const { events } = of('a')
  t.throws(() => events.emit('no type'), { code: 'USAGE' })
  t.throws(() => events.emit('$own'), { code: 'USAGE' })
  t.throws(() => events.emit('BIG', 'x'.repeat(61 * 1024)), { code: 'TOO_LARGE' })
  t.throws(() => events.emit('ODD', 1n), { code: 'BAD_OUTPUT' })
  t.equal(events.stats.emitted, 0)
})

t.test('an event whose type is no name is heard by nobody, and the next one is', async (t) => {
  const { entry, of } = await listening(t, { instances: { a: {} } })
  const events = entry()
  const { heard, count } = hear(events)
  await events.ready()
  const types = ['\x1b[2J', 'a\nid: 9', '', 'x'.repeat(65)]
  for (const type of types) of('a').events.emitOwn(type, new JsonText('1'))
  of('a').events.emit('TICK')
  await count(1)
  t.strictSame(
    heard.map(({ type }) => type),
    ['TICK']
  )
})
