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

t.test('two homes of one carrier meet', { skip: noHosts }, async (t) => {
  const point = await MeetingPoint.make(t)
  const { hosts } = point
  const carrier = hosts.addRouter('carrier', '45.45.45.90', '100.64.9', { random: true })
  const one = hosts.addRouter('one-r', '100.64.9.2', '192.168.51', {}, carrier)
  const other = hosts.addRouter('other-r', '100.64.9.3', '192.168.52', {}, carrier)
  const service = await point.service(hosts.add('one', '192.168.51.2', one), roleOf('cgnat'))
  await service.ask('registered')
  const at = hosts.add('other', '192.168.52.2', other)
  const meeting = await meet(await point.consumer(at, [roleOf('cgnat')]))
  t.ok(meeting.took, shown(meeting))
})

t.test('a container and a neighbour of its host meet', { skip: noHosts }, async (t) => {
  const point = await MeetingPoint.make(t)
  const { hosts } = point
  const lan = hosts.addRouter('router', '45.45.45.91', '192.168.61')
  const bridge = hosts.addRouter('host', '192.168.61.2', '172.17.0', {}, lan)
  const places = [
    hosts.add('container', '172.17.0.2', bridge),
    hosts.add('neighbour', '192.168.61.3', lan)
  ]
  for (const [from, to] of [places, places.toReversed()] as [string[], string[]][]) {
    const role = from === places[0] ? 'outward@1.0.0' : 'inward@1.0.0'
    const service = await point.service(to, role)
    await service.ask('registered')
    const meeting = await meet(await point.consumer(from, [role]))
    t.ok(meeting.took, `${role}: ${shown(meeting)}`)
  }
})

t.test('a host with a firewall and its neighbour meet', { skip: noHosts }, async (t) => {
  const point = await MeetingPoint.make(t)
  const { hosts } = point
  const lan = hosts.addRouter('router', '45.45.45.92', '192.168.71')
  const walled = hosts.add('walled', '192.168.71.2', lan)
  hosts.addFirewall('walled')
  const open = hosts.add('open', '192.168.71.3', lan)
  for (const [from, to, role] of [
    [open, walled, 'walled@1.0.0'],
    [walled, open, 'open@1.0.0']
  ] as const) {
    const service = await point.service(to, role)
    await service.ask('registered')
    const meeting = await meet(await point.consumer(from, [role]))
    t.ok(meeting.took, `${role}: ${shown(meeting)}`)
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
