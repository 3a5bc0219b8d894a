import t from 'tap'
import type { AppView, HostView, InstanceView } from '../../lib/hosting/placement-view.js'
import { Placer, type PlacerView } from '../../lib/hosting/placer.js'
import { Ranks } from '../../lib/hosting/ranks.js'
import { aHost, anApp } from './fleet.js'
import { History } from './history.js'

/** `HISTORIES=10000` for the long run, `HISTORY=…` for one of them. */
const HISTORIES = Number(process.env.HISTORIES ?? 10)
const FIRST = Number(process.env.HISTORY ?? 1)

if (process.env.HISTORIES) t.setTimeout(0)

t.test(
  'nothing is decided before the copy is whole, a registrar lives, and the others stay the same',
  async (t) => {
    const { view, placer } = aScene()
    t.match(placer.look({ ...view, isSynced: false }, 0), { waitsFor: /not whole/, changes: [] })
    t.match(placer.look({ ...view, hasRegistrar: false }, 5000), {
      waitsFor: /no registrar is alive/
    })
    t.match(placer.look({ ...view, hosts: view.hosts.slice(1) }, 6000), {
      waitsFor: /lists this host/
    })
    t.match(placer.look(view, 10_000), { waitsFor: /long enough/, again: 3000 })
    const more = { ...view, hosts: [...view.hosts, aHost()] }
    t.match(placer.look(more, 12_000), { waitsFor: /long enough/, again: 3000 })
    t.match(placer.look(more, 14_999), { again: 1 })
    t.match(placer.look(more, 15_000), { waitsFor: null })
    // Later, others may come and go.
    t.match(placer.look(view, 15_001), { waitsFor: null })
    placer.look({ ...view, hasRegistrar: false }, 20_000)
    t.match(placer.look(view, 30_000), { waitsFor: /long enough/, again: 3000 })
  }
)

t.test('a host acts for itself, and knows what is decided for all', async (t) => {
  const { view, placer } = aScene({ instances: 3 })
  placer.look(view, 0)
  const { changes, placement } = placer.look(view, 3000)
  t.match(changes, [{ action: 'start', host: view.hosts[0]?.host }])
  t.equal(changes.length, 1)
  t.equal(placement?.changes.length, 3)
})

t.test(
  'a host whose lease was lost is waited for, two seconds, and half a minute for a single instance',
  async (t) => {
    for (const [isSingle, wait] of [
      [false, 2000],
      [true, 30_000]
    ] as const) {
      const { view, placer, app } = aScene({ instances: 1, isSingle })
      const [other] = view.hosts.slice(1).reverse()
      const instance = anInstance(app, other as HostView)
      const before = { ...view, instances: [instance] }
      placer.look(before, 0)
      placer.look(before, 3000)
      const after = { ...view, hosts: view.hosts.filter((host) => host !== other) }
      t.match(placer.look(after, 10_000), { placement: { changes: [] } })
      const { placement, again } = placer.look(after, 10_000 + wait - 1)
      t.same(placement?.changes, [])
      t.equal(again, 1)
      t.match(placer.look(after, 10_000 + wait), {
        placement: { changes: [{ action: 'start', why: 'missing' }] }
      })
    }
  }
)

t.test(
  'a single instance is started by who has known the others for half a minute, and saw nothing change for 3 s',
  async (t) => {
    const { view, app } = aScene({ instances: 1, isSingle: true })
    const [best] = ranked(view, app)
    const mine = new Placer({ host: best?.host ?? '' })
    mine.look(view, 0)
    t.match(mine.look(view, 3000), { changes: [], placement: { changes: [{ action: 'start' }] } })
    t.match(mine.look(view, 29_999), { changes: [], again: 1 })
    t.match(mine.look(view, 30_000), { changes: [{ action: 'start' }] })
    const more = {
      ...view,
      hosts: view.hosts.map((host) => ({ ...host, labels: new Set(['a=b']) }))
    }
    t.match(mine.look(more, 40_000), { changes: [], again: 3000 })
    t.match(mine.look(more, 43_000), { changes: [{ action: 'start' }] })
    t.match(mine.look({ ...more, mayStartSingle: false }, 44_000), { changes: [] })
    t.match(mine.look(more, 45_000), { changes: [] }, 'it had too few leases')
    t.match(mine.look(more, 74_999), { changes: [], again: 1 })
    t.match(mine.look(more, 75_000), { changes: [{ action: 'start' }] })
  }
)

t.test('a better host takes over when nothing has changed for ten seconds', async (t) => {
  const { view, app } = aScene({ instances: 1 })
  const [best, ...worse] = ranked(view, app)
  const mine = new Placer({ host: best?.host ?? '' })
  const before = { ...view, instances: [anInstance(app, worse[0] as HostView)] }
  mine.look(before, 0)
  t.match(mine.look(before, 3000), { changes: [], again: 7000 })
  const failing = { ...anInstance(app, worse[0] as HostView), state: 'failing' as const }
  t.match(mine.look({ ...view, instances: [failing] }, 9000), { changes: [] })
  t.match(mine.look(before, 9500), { changes: [], again: 500 })
  t.match(mine.look(before, 19_499), { changes: [], again: 1 })
  t.match(mine.look(before, 19_500), { changes: [{ action: 'start', why: 'better' }] })
})

t.test('what keeps failing here is declined, for longer each time, until it passes', async (t) => {
  const { view, app } = aScene({ instances: 1 })
  const [best] = ranked(view, app)
  const mine = new Placer({ host: best?.host ?? '' })
  mine.look(view, 0)
  t.match(mine.look(view, 3000), { changes: [{ action: 'start' }] })
  mine.failed(app.app, 3000)
  const declined = mine.look(view, 3000)
  t.same(declined.changes, [])
  t.match(declined.placement?.changes, [{ action: 'start' }], 'somebody else has it')
  t.equal(declined.again, 30_000)
  t.same(mine.declines(3000), new Set([app.app]))
  t.same(mine.declines(33_000), new Set())
  mine.failed(app.app, 33_000)
  t.ok(mine.declines(92_999).has(app.app))
  t.notOk(mine.declines(93_000).has(app.app))
  for (let i = 0; i < 10; i++) mine.failed(app.app, 0)
  t.ok(mine.declines(599_999).has(app.app))
  t.notOk(mine.declines(600_000).has(app.app))
  mine.passed(app.app)
  t.same(mine.declines(0), new Set())
})

t.test('hosts that see each other late keep what is promised, in any history', async (t) => {
  for (let seed = FIRST; seed < FIRST + HISTORIES; seed++) {
    const { breaches, log } = new History(seed).run()
    if (breaches.length > 0) t.fail(`HISTORY=${seed}`, { breaches: breaches.slice(0, 3), log })
  }
  t.pass(`${HISTORIES} histories`)
})

t.test(
  'of a single instance never two run, whatever is cut off, and at rest it runs',
  async (t) => {
    for (let seed = FIRST; seed < FIRST + HISTORIES; seed++) {
      const { breaches, log } = new History(seed, { isSingle: true }).run()
      if (breaches.length > 0) t.fail(`HISTORY=${seed}`, { breaches: breaches.slice(0, 3), log })
    }
    t.pass(`${HISTORIES} histories`)
  }
)

t.test('without the wait for the same others, too many are started at the beginning', async (t) => {
  const seeds = Array.from({ length: 20 }, (_, i) => i + 1)
  const breaches = seeds.flatMap(
    (seed) => new History(seed, { timings: { sameOthers: 0 } }).run(0).breaches
  )
  t.match(breaches[0]?.what, /at the beginning/)
})

/** Three hosts, of which the first is ours, and an app. */
function aScene(fields: Partial<AppView> = {}) {
  const app = anApp(fields)
  const hosts = [aHost(), aHost(), aHost()]
  const view: PlacerView = {
    hosts,
    apps: [app],
    instances: [],
    isSynced: true,
    hasRegistrar: true,
    mayStartSingle: true
  }
  return { view, app, placer: new Placer({ host: hosts[0]?.host ?? '' }) }
}

function anInstance({ app, release }: AppView, { host }: HostView): InstanceView {
  return { app, host, slot: 0, release, state: 'passing' }
}

/** The hosts, the best first. */
function ranked({ hosts }: PlacerView, { app }: AppView): HostView[] {
  const order = new Ranks(hosts.map(({ host }) => host)).of(app)
  return order.map(({ host }) => hosts.find((one) => one.host === host) as HostView)
}
