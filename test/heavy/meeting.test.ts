import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Child } from './fixtures/child.js'
import { noHosts } from './hosts.js'
import { type Kind, type Meeting, MeetingPoint, roleOf } from './meeting.js'

/** No promise is made of how long it takes, on a machine that does much else. */
const LIMIT_MS = 90_000
/** A router's new address is noticed in 2 s; it took 281 without that. */
const SOON_MS = 30_000

const PAIRS: [consumer: Kind, service: Kind][] = [
  ['public', 'symmetric'],
  ['home', 'firewall'],
  ['firewall', 'home'],
  ['cgnat', 'firewall'],
  ['double', 'home'],
  ['home', 'cgnat'],
  ['symmetric', 'cone'],
  ['firewall', 'double']
]

t.test('eight pairs of networks meet, without a relay', { skip: noHosts }, async (t) => {
  const point = await MeetingPoint.make(t, { options: { relay: 0 } })
  const services = [...new Set(PAIRS.map(([, service]) => service))]
  for (const kind of services) {
    const service = await point.service(point.place(kind, `s-${kind}`), roleOf(kind))
    await service.ask('registered')
  }
  for (const [kind, service] of PAIRS) {
    const consumer = await point.consumer(point.place(kind, `c-${kind}-${service}`), [
      roleOf(service)
    ])
    const meeting = await meet(consumer)
    t.ok(meeting.took, `${kind} → ${service}: ${shown(meeting)}`)
  }
})

t.test('two who can punch no hole meet by a registrar', { skip: noHosts }, async (t) => {
  for (const relay of [undefined, 0]) {
    const point = await MeetingPoint.make(t, { options: relay === undefined ? {} : { relay } })
    const service = await point.service(point.place('symmetric', 'service'), roleOf('symmetric'))
    await service.ask('registered')
    const consumer = await point.consumer(point.place('cgnat', 'consumer'), [roleOf('symmetric')])
    await consumer.ask('connected')
    if (relay === 0) {
      t.equal((await meet(consumer, UNMET_MS)).took, null, 'without, they do not')
      continue
    }
    const meeting = await meet(consumer)
    t.ok(meeting.took, shown(meeting))
    t.equal(meeting.path, 'relayed')
    const { relay: stats } = (await point.registry?.ask<{ relay: object }>('stats')) ?? {}
    t.match(stats, { pairs: 1, paired: 1, refused: 0, ended: 0 })
  }
})

t.test('a member on a phone finds a registry at home', { skip: noHosts }, async (t) => {
  const point = await MeetingPoint.make(t, { registry: 'home' })
  const service = await point.service(point.place('cgnat', 'phone'), roleOf('cgnat'))
  t.comment(`registered after ${await service.ask('registered')} ms`)
})

for (const side of ['service', 'consumer'] as const) {
  t.test(
    `after its router got another address, a ${side} is met again soon`,
    { skip: noHosts },
    async (t) => {
      const point = await MeetingPoint.make(t)
      const service = await point.service(point.place('home', 'service'), roleOf('home'))
      await service.ask('registered')
      const consumer = await point.consumer(point.place('home', 'consumer'), [roleOf('home')])
      t.ok((await meet(consumer)).took)
      // They have looked once, and know what to compare with.
      await sleep(LOOKOUT_MS)
      point.hosts.readdress(`${side}-r`, '45.45.45.77')
      const took = await untilItAnswers(consumer)
      t.ok(took < SOON_MS, `after ${took} ms`)
      t.comment(`${side}: new requests after ${took} ms`)
      await stays(t, consumer)
    }
  )
}

const LOOKOUT_MS = 3000
const UNMET_MS = 10_000
const TRY_MS = 1000

/** Asks again and again, a new request each second. */
async function untilItAnswers(consumer: Child<object>): Promise<number> {
  const beganAt = performance.now()
  // Until it is noticed, the old way may look as if it were there.
  for (;;) {
    if ((await meet(consumer, TRY_MS)).took) return performance.now() - beganAt
  }
}

async function stays(t: Test, consumer: Child<object>) {
  for (let i = 0; i < 5; i++) t.ok((await meet(consumer)).took)
}

async function meet(consumer: Child<object>, limit = LIMIT_MS): Promise<Meeting> {
  const [meeting] = await consumer.ask<Meeting[]>('meet', limit)
  if (!meeting) throw new Error('no role was asked for')
  return meeting
}

function shown({ took, path, errors }: Meeting): string {
  return took === null ? errors.join('; ') : `${path}, ${Math.round(took)} ms`
}
