import { setMaxListeners } from 'node:events'
import t, { type Test } from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { EVENTS } from '../../lib/messaging/conversation.js'
import { EntryEvents } from '../../lib/messaging/entry-events.js'
import { CALL, encodeFrame, FAILURE, HELLO } from '../../lib/messaging/frames.js'
import { SPOKEN } from '../../lib/messaging/speaker.js'
import { bay, deferred } from '../messaging/bay.js'
import { owner } from '../messaging/state/owner.js'
import { restWhile } from '../rest.js'

const MAX_IN_FLIGHT = 16_384
const MAX_SUBSCRIPTIONS = 256
const MAX_FOLLOWED = 1024

/** An agent of which no call is ever answered. */
async function hanging(t: Test, caller?: KeyPair) {
  let running = 0
  const hang = () => {
    running++
    return new Promise(() => {})
  }
  const made = await bay(t, { instances: { a: { hang } }, ...(caller && { caller }) })
  return { ...made, key: Buffer.from(made.of('a').key, 'hex'), running: () => running }
}

t.test(`on a link ${MAX_IN_FLIGHT} calls are in flight; the next is refused here`, async (t) => {
  const { sender, running } = await hanging(t)
  // To leave a signal takes as long as it has listeners, so there are many.
  const over = Array.from({ length: 256 }, () => new AbortController())
  for (const { signal } of over) setMaxListeners(0, signal)
  const optionsOf = (i: number) => {
    const { signal } = over[i % over.length] as AbortController
    return { signal, timeout: 600_000 }
  }
  const first = sender.send('hang', null, optionsOf(0))
  await restWhile(() => running() === 0)
  const send = (_: unknown, i: number) => sender.send('hang', null, optionsOf(i))
  const calls = [first, ...Array.from({ length: MAX_IN_FLIGHT - 1 }, send)]
  await t.rejects(sender.send('hang', null, optionsOf(0)), { code: 'BUSY', executed: 'no' })
  await restWhile(() => running() < MAX_IN_FLIGHT)
  for (const one of over) one.abort()
  const outcomes = await Promise.allSettled(calls)
  t.ok(outcomes.every(({ status }) => status === 'rejected'))
  t.equal(running(), MAX_IN_FLIGHT)
})

t.test('who sends more than that all the same is told so for each, and served', async (t) => {
  const { pool, key, running } = await hanging(t)
  const stream = await pool.open(key, { purpose: SPOKEN[0] as string })
  const duplex = stream.toDuplex()
  duplex.on('error', () => {})
  duplex.write(encodeFrame({ type: HELLO, version: 1 }))
  const more = 10
  const body = { kind: 'none', bytes: Buffer.alloc(0) } as const
  for (let id = 1; id <= MAX_IN_FLIGHT + more; id++) {
    const call = { type: CALL, id, timeLeft: 600_000, name: 'hang', meta: {}, body } as const
    duplex.write(encodeFrame({ ...call, isStreaming: false }))
    if (id % 256 === 0) await new Promise(setImmediate)
  }
  let [bytes, failures] = [Buffer.alloc(0), 0]
  for await (const chunk of duplex) {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32LE(0)) {
      const length = bytes.readUInt32LE(0)
      if (bytes[4] === FAILURE) {
        failures++
        t.equal(bytes.subarray(11, 11 + (bytes[10] as number)).toString(), 'BUSY')
      }
      bytes = bytes.subarray(4 + length)
    }
    if (failures === more) break
  }
  t.equal(running(), MAX_IN_FLIGHT)
})

t.test(`one key has ${MAX_SUBSCRIPTIONS} subscriptions, over all its links together`, async (t) => {
  const { pool, of, key } = await hanging(t, KeyPair())
  const { events, pairs } = of('a')
  const open = () => pool.open(key, { purpose: EVENTS })
  const streams = await Promise.all(Array.from({ length: MAX_SUBSCRIPTIONS }, open))
  await restWhile(() => events.stats.subscribers < MAX_SUBSCRIPTIONS)
  t.equal(pairs.length, 1)
  const closed = new Promise((resolve) => {
    void open().then((stream) => stream.toDuplex().on('error', resolve))
  })
  t.match(await closed, { code: 'STREAM_RESET', message: /LIMIT_REACHED/ })
  t.equal(events.stats.subscribers, MAX_SUBSCRIPTIONS)
  streams[0]?.destroy()
  await restWhile(() => events.stats.subscribers === MAX_SUBSCRIPTIONS)
  await open()
  await restWhile(() => events.stats.subscribers < MAX_SUBSCRIPTIONS)
})

t.test(`who listens follows ${MAX_FOLLOWED} instances, and others when those go`, async (t) => {
  const instances = Array.from({ length: MAX_FOLLOWED + 5 }, () => ({
    servicePublicKey: toHex(KeyPair().publicKey),
    version: '1.0.0',
    speaks: SPOKEN
  }))
  const opened = new Set<string>()
  let changed = () => {}
  const events = new EntryEvents({
    pool: {
      open: (key: Buffer) => {
        opened.add(toHex(key))
        return new Promise(() => {})
      },
      follow: () => ({ seek: () => {}, stop: () => {} }),
      pathOf: () => null
    },
    instances: () => instances,
    watch: (listener) => {
      changed = listener
      return () => {}
    },
    onnotice: () => {}
  })
  events.on('*', () => {})
  t.equal(opened.size, MAX_FOLLOWED)
  instances.splice(0, 3)
  changed()
  t.equal(opened.size, MAX_FOLLOWED + 3)
  events.close()
})

t.test('handlers that answer at once follow one another, however many have waited', async (t) => {
  const gate = deferred()
  const many = 20_000
  let count = 0
  const work = () => (++count === 1 ? gate.promise : count)
  const instances = { a: { work: { handler: work, concurrency: 1, queue: many } } }
  const { sender } = await bay(t, { instances })
  const patient = { timeout: 120_000 }
  const all = Array.from({ length: many / 2 }, () => sender.send('work', undefined, patient))
  const others = new Promise<void>((resolve) => setImmediate(() => resolve(gate.resolve())))
  await Promise.all([...all, others])
  t.equal(count, many / 2)
})

t.test('a state has no more than 4 096 names', async (t) => {
  const { state } = await owner(t, { dir: t.testdir({}) })
  await Promise.all(Array.from({ length: 4096 }, (_, i) => state.set(`n${i}`, i)))
  await t.rejects(state.set('more', 1), { code: 'LIMIT_REACHED' })
  await state.delete('n7')
  await state.set('more', 1)
  t.equal(state.size, 4096)
})
