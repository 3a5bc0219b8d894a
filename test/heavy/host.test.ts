import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { Apps, Service } from '../../lib/index.js'
import { Fleet } from '../fleet.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
t.test('an app runs on a host, is updated, outlives the host, and stops', { skip }, async (t) => {
  const fleet = await Fleet.make(t)
  const host = await fleet.host()
  const apps = await fleet.apps()
  const web = await fleet.web()
  const folder = await fleet.app({ version: '1.0.0' })

  t.match(await fleet.get(web, 'hello.test'), { status: 404 })
  const first = await apps.run(folder)
  await fleet.settled(apps, 'hello')
  const one = await fleet.answered(web, 'hello.test', 200, '1.0.0')
  t.match(one, { body: { APP_NAME: 'hello' } })
  t.notOk(
    one.body.seen.some((name: string) => /hyperseaport/i.test(name)),
    'it sees nothing of the host'
  )
  t.match(await fleet.get(web, 'hello.test', 'POST'), { body: { posts: 1 } }, 'once, and here')
  t.match(await fleet.get(web, 'other.test'), { status: 404 })
  t.match(await apps.status('hello'), {
    passing: 1,
    wanted: 1,
    silent: [],
    instances: [{ app: 'hello', slot: 0, state: 'passing', pid: one.body.pid, hostName: 'one' }]
  })
  for await (const { lines } of apps.logs('hello')) {
    t.match(lines.map(({ text }) => text).join('\n'), `hello from ${one.body.pid}`)
  }

  // The host's own process ends and comes back: the app goes on, and is found again.
  await host.destroy()
  await fleet.host()
  await fleet.settled(apps, 'hello')
  const again = await fleet.answered(web, 'hello.test', 200)
  t.match(again, { body: { pid: one.body.pid } })

  await fleet.app({ version: '2.0.0' }, folder)
  await apps.run(folder)
  await fleet.settled(apps, 'hello')
  await fleet.answered(web, 'hello.test', 200, '2.0.0')
  t.same(
    apps.history('hello').map(({ version }) => version),
    ['2.0.0', '1.0.0']
  )
  await apps.rollback('hello')
  await fleet.settled(apps, 'hello')
  t.equal((await apps.status('hello')).statement.release, first.release)

  await apps.scale('hello', 2)
  await fleet.settled(apps, 'hello')
  const { instances } = await apps.status('hello')
  t.equal(new Set(instances.map(({ pid }) => pid)).size, 2)
  await apps.restart('hello')
  await fleet.settled(apps, 'hello')
  const restarted = await apps.status('hello')
  const former = new Set(instances.map(({ pid }) => pid))
  t.notOk(
    restarted.instances.some(({ pid }) => former.has(pid)),
    'each was replaced'
  )

  await apps.stop('hello')
  await fleet.settled(apps, 'hello')
  await fleet.answered(web, 'hello.test', 404)
  t.same((await apps.status('hello')).instances, [])
  const ended = new Map<number, string[]>()
  for await (const { slot, lines } of apps.logs('hello')) {
    ended.set(slot, [...(ended.get(slot) ?? []), ...lines.map(({ text }) => text)])
  }
  t.ok(ended.has(0) && ended.has(1), 'logs of instances that have ended are kept')
  t.match(ended.get(0)?.[0], `hello from ${one.body.pid}`)
  for await (const { slot } of apps.logs('hello', { slot: 1 })) t.equal(slot, 1)
  await apps.remove('hello')
  t.same(apps.list(), [])
  t.throws(() => apps.history('hello'), { code: 'NOT_FOUND' })
})

t.test('nobody commands an app, or takes its traffic, who may not', { skip }, async (t) => {
  const fleet = await Fleet.make(t)
  const host = await fleet.host()
  const apps = await fleet.apps()
  await apps.run(await fleet.app({ version: '1.0.0' }))
  await fleet.settled(apps, 'hello')
  const { registryPublicKey } = fleet.registry
  const { bootstrap } = fleet.testbed
  const stranger = Apps({ registryPublicKey, bootstrap, dir: await fleet.testbed.dir() })
  t.teardown(() => stranger.destroy())
  await stranger.setup()
  await t.rejects(stranger.stop('hello'), { code: 'NOT_GRANTED' })
  await t.rejects(stranger.run(await fleet.app({ version: '9.0.0' })), { code: 'NOT_GRANTED' })
  await t.rejects(stranger.drain('one'), { code: 'NOT_GRANTED' })
  await t.rejects(stranger.logs('hello').next(), { code: 'NOT_GRANTED' })
  const seen = await stranger.status('hello')
  t.same(seen.instances, [], 'hosts tell who may deploy it, and nobody else')
  t.equal(seen.passing, 1, 'the directory tells all')

  const thief = Service({
    registryPublicKey,
    bootstrap,
    role: 'hello@99.0.0',
    commands: {},
    dir: await fleet.testbed.dir()
  })
  t.teardown(() => thief.destroy())
  await thief.setup()
  const web = await fleet.web()
  await fleet.answered(web, 'hello.test', 200, '1.0.0')

  await t.rejects(apps.run(await fleet.app({ name: 'other', version: '1.0.0' })), {
    code: 'HOSTNAME_TAKEN'
  })
  const deployers = [await fleet.apps(), await fleet.apps()]
  const both = [deployers[0]?.scale('hello', 0), deployers[1]?.stop('hello')]
  const [one, other] = await Promise.allSettled(both)
  if (!one || !other) return
  t.same([one.status, other.status].sort(), ['fulfilled', 'rejected'], 'two at once: one CONFLICT')
  t.match(
    [one, other].find(({ status }) => status === 'rejected'),
    { reason: { code: 'CONFLICT' } }
  )
  // This deployer may hear of it later than the two.
  while (apps.list()[0]?.seq === 1) await new Promise((resolve) => setTimeout(resolve, 50))
  await fleet.settled(apps, 'hello')
  t.same(host.instances, [])
})

t.test('an instance that could not be started is tried again', { skip }, async (t) => {
  const fleet = await Fleet.make(t)
  const host = await fleet.host()
  const apps = await fleet.apps()
  const seed = join(await fleet.dirOf('one'), 'instances/hello/0/seed')
  await mkdir(dirname(seed), { recursive: true })
  await writeFile(seed, 'no key')
  const told = new Promise((resolve) => host.on('notice', resolve))
  await apps.run(await fleet.app({ version: '1.0.0' }))
  t.match(await told, { code: 'STORAGE_FAILED', message: /holds no key any more/ })
  t.same(host.instances, [])
  await rm(seed)
  await fleet.settled(apps, 'hello')
})

t.test('what no app needs is deleted while an instance cannot be started', { skip }, async (t) => {
  const fleet = await Fleet.make(t)
  const host = await fleet.host()
  const apps = await fleet.apps()
  const dir = await fleet.dirOf('one')
  await apps.run(await fleet.app({ name: 'other', version: '1.0.0', hostnames: [] }))
  await fleet.settled(apps, 'other')
  await mkdir(join(dir, 'instances/hello/0'), { recursive: true })
  await writeFile(join(dir, 'instances/hello/0/seed'), 'no key')
  const told = new Promise((resolve) => host.on('notice', resolve))
  await apps.run(await fleet.app({ version: '1.0.0' }))
  await told
  const bundles = () => readdir(join(dir, 'bundles'))
  t.equal((await bundles()).length, 2)
  await apps.remove('other')
  while ((await bundles()).length > 1) await new Promise((resolve) => setTimeout(resolve, 50))
})
