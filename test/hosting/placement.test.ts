import t from 'tap'
import { refusals } from '../../lib/hosting/placement.js'
import type { AppView, HostView } from '../../lib/hosting/placement-view.js'
import { randomFrom, shuffled } from '../random.js'
import { aHost, anApp, Fleet } from './fleet.js'

/** `PLACEMENTS=10000` for the long run. */
const HISTORIES = Number(process.env.PLACEMENTS ?? 100)

t.test('instances are on distinct hosts before any host has two', async (t) => {
  const fleet = new Fleet()
  fleet.add(aHost(), aHost(), aHost())
  fleet.want(anApp({ instances: 3 }))
  fleet.settle()
  t.same(countsIn(fleet), [1, 1, 1])
  fleet.want(anApp({ instances: 7 }))
  fleet.settle()
  t.same(countsIn(fleet), [2, 2, 3])
  fleet.want(anApp({ instances: 2 }))
  fleet.settle()
  t.same(countsIn(fleet), [0, 1, 1])
})

t.test('an app for all hosts runs once on each that can have it', async (t) => {
  const fleet = new Fleet()
  const [one, two] = [aHost({ labels: new Set(['region=eu']) }), aHost()]
  fleet.add(one, two)
  fleet.want(anApp({ instances: 'all', labels: ['region=eu'] }))
  fleet.settle()
  t.equal(fleet.on(one.host).length, 1)
  t.equal(fleet.on(two.host).length, 0)
  const three = aHost({ labels: new Set(['region=eu', 'disk=ssd']) })
  fleet.add(three, { ...one, isDraining: true })
  fleet.settle()
  t.same(
    fleet.instances.map(({ host }) => host),
    [three.host]
  )
})

t.test('who is not eligible gets nothing, and it is said why', async (t) => {
  const app = anApp({ labels: ['region=eu'], platforms: ['linux-x64'], memory: 2 ** 30 })
  const eu = new Set(['region=eu'])
  const good = aHost({ labels: eu, memory: 2 ** 30 })
  const bad = [
    aHost({ labels: new Set(['region=us']) }),
    aHost({ labels: eu, platform: 'linux-arm64' }),
    aHost({ labels: eu, drivers: new Set() }),
    aHost({ labels: eu, memory: 2 ** 29 }),
    aHost({ labels: eu, isDraining: true }),
    aHost({ labels: eu, isStale: true }),
    aHost({ labels: eu, declines: new Set([app.app]) })
  ]
  const fleet = new Fleet()
  fleet.add(good, ...bad)
  fleet.want(app)
  fleet.settle()
  t.same(
    fleet.instances.map(({ host }) => host),
    [good.host]
  )
  t.equal(fleet.decide().unplaced.get(app.app), 2)
  const said = refusals({ hosts: [good, ...bad], apps: [app], instances: fleet.instances }, app)
  const expected = [
    /0 MiB of its memory are free/,
    /not labelled region=eu/,
    /linux-arm64/,
    /driver/,
    /512 MiB of its memory are free, and 1024 MiB are needed/,
    /draining/,
    /outage/,
    /cannot take/
  ]
  for (const [i, { host }] of [good, ...bad].entries()) {
    t.match(said.get(host), expected[i] as RegExp)
  }
  const shut = { ...app, driver: 'bubblewrap' }
  t.match(refusals({ hosts: [good], apps: [shut], instances: [] }, shut).get(good.host), /sandbox/)
})

t.test(
  'a host that drains keeps its instance until as many as wanted pass elsewhere',
  async (t) => {
    const fleet = new Fleet()
    fleet.add(aHost(), aHost(), aHost(), aHost())
    fleet.want(anApp({ instances: 3 }))
    fleet.settle()
    const [first] = fleet.instances
    const host = fleet.hosts.get(first?.host ?? '') as HostView
    fleet.add({ ...host, isDraining: true })
    fleet.settle(10, () => {
      t.ok(passingIn(fleet) >= 3)
      t.ok(fleet.instances.length <= 4)
    })
    t.equal(fleet.on(host.host).length, 0)
    fleet.add(host)
    fleet.settle()
    t.equal(fleet.on(host.host).length, 1, 'it takes over again what it has the better place for')
  }
)

t.test('a host that drains keeps what nobody else has room for', async (t) => {
  const fleet = new Fleet()
  const host = aHost()
  fleet.add({ ...host, isDraining: true }, aHost({ memory: 10 }))
  fleet.want(anApp({ instances: 1, memory: 20 }))
  fleet.instances.push({ app: 'shop', host: host.host, slot: 0, release: 'r1', state: 'passing' })
  fleet.settle()
  t.equal(fleet.on(host.host).length, 1)
})

t.test(
  'a stale host is waited for, and its instances count as there, but not as passing',
  async (t) => {
    const fleet = new Fleet()
    fleet.add(aHost(), aHost(), aHost(), aHost())
    fleet.want(anApp({ instances: 3 }))
    fleet.settle()
    const host = fleet.hosts.get(fleet.instances[0]?.host ?? '') as HostView
    fleet.add({ ...host, isStale: true })
    t.same(fleet.decide().changes, [])
    fleet.lose(host.host)
    t.match(fleet.decide().changes, [{ action: 'start', why: 'missing' }])
  }
)

t.test(
  'a new release replaces the old one instance by instance, and the old one beside it ends',
  async (t) => {
    const fleet = new Fleet()
    fleet.add(aHost(), aHost(), aHost())
    fleet.want(anApp({ instances: 3 }))
    fleet.settle()
    fleet.want(anApp({ instances: 3, release: 'r2' }))
    fleet.settle(100, (changes) => {
      t.ok(changes.length <= 1, 'one at a time')
      t.ok(passingIn(fleet) >= 3)
      t.ok(fleet.instances.length <= 4)
    })
    t.ok(fleet.instances.every(({ release }) => release === 'r2'))
    t.same(countsIn(fleet), [1, 1, 1])
  }
)

t.test('a surge lets so many more run while a release is replaced', async (t) => {
  const fleet = new Fleet()
  fleet.add(...Array.from({ length: 4 }, () => aHost()))
  fleet.want(anApp({ instances: 4 }))
  fleet.settle()
  fleet.want(anApp({ instances: 4, release: 'r2', surge: 3 }))
  let most = 0
  fleet.settle(100, () => {
    most = Math.max(most, fleet.instances.length)
  })
  t.equal(most, 7)
})

t.test('a new release that does not pass is not followed by more of it', async (t) => {
  const fleet = new Fleet()
  fleet.add(aHost(), aHost(), aHost())
  fleet.want(anApp({ instances: 3 }))
  fleet.settle()
  fleet.want(anApp({ instances: 3, release: 'r2' }))
  fleet.step()
  for (let step = 0; step < 5; step++) {
    fleet.instances = fleet.instances.map((one) =>
      one.release === 'r2' ? { ...one, state: 'failing' } : one
    )
    t.same(fleet.decide().changes, [])
  }
  fleet.want(anApp({ instances: 3 }))
  fleet.settle()
  t.ok(fleet.instances.every(({ release }) => release === 'r1'))
})

t.test('of a single instance never two run', async (t) => {
  const fleet = new Fleet()
  fleet.add(aHost(), aHost(), aHost())
  const app = anApp({ instances: 1, isSingle: true })
  fleet.want(app)
  const one = () => t.ok(fleet.instances.length <= 1)
  fleet.settle(10, one)
  fleet.want({ ...app, release: 'r2' })
  fleet.settle(10, one)
  const { host } = fleet.instances[0] as { host: string }
  fleet.add({ ...(fleet.hosts.get(host) as HostView), isDraining: true })
  fleet.settle(10, one)
  t.equal(fleet.instances.length, 1)
  t.not(fleet.instances[0]?.host, host)
})

t.test('a single instance stays on a host that drains when nobody else can have it', async (t) => {
  const fleet = new Fleet()
  const host = aHost()
  fleet.add(host)
  fleet.want(anApp({ instances: 1, isSingle: true }))
  fleet.settle()
  fleet.add({ ...host, isDraining: true })
  t.same(fleet.decide().changes, [])
})

t.test('what is stopped or has no app ends everywhere', async (t) => {
  const fleet = new Fleet()
  fleet.add(aHost(), aHost())
  fleet.want(anApp({ app: 'shop' }), anApp({ app: 'blog', instances: 'all' }))
  fleet.settle()
  t.equal(fleet.instances.length, 5)
  fleet.want(anApp({ app: 'shop', instances: 0 }))
  fleet.apps.delete('blog')
  fleet.settle()
  t.same(fleet.instances, [])
})

t.test('a host that leaves moves only what was there', async (t) => {
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const random = randomFrom(seed)
    const fleet = randomFleet(random)
    fleet.settle()
    const before = fleet.instances
    const [gone] = shuffled([...fleet.hosts.keys()], random)
    fleet.lose(gone as string)
    const { changes } = fleet.decide()
    const lost = before.filter(({ host }) => host === gone).length
    if (changes.some(({ why }) => why !== 'missing') || changes.length > lost) {
      t.fail(`seed ${seed}: ${JSON.stringify(changes)}`)
    }
  }
  t.pass(`${HISTORIES} histories`)
})

t.test(
  'any order of joins, leaves and drains ends at the same placement, if memory suffices',
  async (t) => {
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const random = randomFrom(seed)
      const target = randomFleet(random, { hasMemory: true })
      target.settle()
      const fleet = new Fleet()
      const others = Array.from({ length: 3 }, () => aHost({ host: keyFrom(random) }))
      const events = shuffled(
        [
          ...[...target.hosts.values()].flatMap((host) => detours(fleet, host, random)),
          ...others.flatMap((host) => [() => fleet.add(host), () => fleet.step()]),
          ...[...target.apps.values()].map((app) => () => fleet.want(app)),
          ...Array.from({ length: 10 }, () => () => fleet.step())
        ],
        random
      )
      for (const event of events) event()
      for (const { host } of others) fleet.lose(host)
      fleet.add(...target.hosts.values())
      fleet.want(...target.apps.values())
      fleet.settle()
      if (fleet.placement !== target.placement) t.fail(`seed ${seed}`)
    }
    t.pass(`${HISTORIES} histories`)
  }
)

t.test('no host is ever over its memory, and it ends', async (t) => {
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const random = randomFrom(seed)
    const fleet = randomFleet(random)
    const check = () => {
      for (const { host, memory } of fleet.hosts.values()) {
        const used = fleet.on(host).reduce((sum, { app }) => sum + memoryOf(fleet, app), 0)
        if (used > memory) t.fail(`seed ${seed}: ${used} of ${memory}`)
      }
    }
    for (let round = 0; round < 5; round++) {
      fleet.settle(500, check)
      const [gone] = shuffled([...fleet.hosts.keys()], random)
      if (random() < 0.5) fleet.lose(gone as string)
      fleet.add(aHost({ host: keyFrom(random), memory: Math.floor(random() * 500) }))
      for (const app of fleet.apps.values()) {
        if (random() < 0.3) fleet.want({ ...app, release: `r${round}` })
      }
    }
  }
  t.pass(`${HISTORIES} histories`)
})

t.test('what is decided does not depend on the order in which things are listed', async (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = randomFrom(seed)
    const fleet = randomFleet(random)
    fleet.step()
    fleet.lose([...fleet.hosts.keys()][0] as string)
    const other = new Fleet()
    other.add(...shuffled([...fleet.hosts.values()], random))
    other.want(...shuffled([...fleet.apps.values()], random))
    other.instances = shuffled(fleet.instances, random)
    const said = (one: Fleet) =>
      one
        .decide()
        .changes.map((change) => JSON.stringify(change))
        .sort()
    t.same(said(fleet), said(other))
  }
})

/** A host joins and then drains, leaves or comes back, at any times. */
function detours(fleet: Fleet, host: HostView, random: () => number): (() => void)[] {
  return [
    () => fleet.add(host),
    () => fleet.step(),
    () => (random() < 0.5 ? fleet.lose(host.host) : fleet.add({ ...host, isDraining: true })),
    () => fleet.step()
  ]
}

function randomFleet(random: () => number, { hasMemory = false } = {}): Fleet {
  const fleet = new Fleet()
  const upTo = (most: number) => 1 + Math.floor(random() * most)
  const labels = () => new Set(random() < 0.5 ? ['region=eu'] : [])
  for (let i = upTo(8); i > 0; i--) {
    const memory = hasMemory ? 10_000 : upTo(500)
    fleet.add(aHost({ host: keyFrom(random), labels: labels(), memory }))
  }
  for (let i = upTo(6); i > 0; i--) {
    const instances: AppView['instances'] = random() < 0.2 ? 'all' : upTo(6)
    fleet.want(
      anApp({
        app: `app-${i}`,
        instances,
        labels: [...labels()],
        memory: upTo(100),
        surge: upTo(2)
      })
    )
  }
  return fleet
}

function keyFrom(random: () => number): string {
  return Array.from({ length: 8 }, () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  ).join('')
}

function memoryOf(fleet: Fleet, app: string): number {
  return fleet.apps.get(app)?.memory ?? 0
}

function passingIn(fleet: Fleet): number {
  return fleet.instances.filter(({ state }) => state === 'passing' || state === 'ending').length
}

function countsIn(fleet: Fleet): number[] {
  return [...fleet.hosts.keys()].map((host) => fleet.on(host).length).sort()
}

t.test(
  'what failed on a host ends at once and is tried on another; the old ones serve on',
  async (t) => {
    const fleet = new Fleet()
    fleet.add(aHost(), aHost(), aHost())
    fleet.want(anApp({ instances: 2 }))
    fleet.settle()
    fleet.want(anApp({ instances: 2, release: 'r2' }))
    const [start] = fleet.step()
    const failedOn = new Set([start?.host ?? ''])
    fleet.want(anApp({ instances: 2, release: 'r2', failedOn }))
    fleet.instances = fleet.instances.map((one) =>
      one.release === 'r2' ? { ...one, state: 'failing' } : one
    )
    const changes = fleet.step()
    t.match(
      changes.filter(({ action }) => action === 'stop'),
      [{ host: start?.host, release: 'r2' }]
    )
    fleet.settle(100, () => t.ok(passingIn(fleet) >= 2))
    t.ok(fleet.instances.every(({ release, host }) => release === 'r2' && !failedOn.has(host)))
    t.equal(fleet.instances.length, 2)
  }
)

t.test('a single instance that failed has ended before it is tried on another host', async (t) => {
  const fleet = new Fleet()
  fleet.add(aHost(), aHost())
  const app = anApp({ instances: 1, isSingle: true })
  fleet.want(app)
  const [start] = fleet.step()
  fleet.want({ ...app, failedOn: new Set([start?.host ?? '']) })
  fleet.settle(100, () => t.ok(fleet.instances.length <= 1))
  t.equal(fleet.instances.length, 1)
  t.not(fleet.instances[0]?.host, start?.host)
})
