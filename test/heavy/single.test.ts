import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Fleet } from '../fleet.js'
import { overlapsIn, writersOf, writerTo } from './writers.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
const APP = 'ledger'

t.test(
  'of a single app one instance runs: it ends before the next one starts, on another host or of another release',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    const file = join(await fleet.testbed.dir(), 'ledger')
    const apps = await fleet.apps()
    const hosts = [await fleet.host('one'), await fleet.host('two')]
    const app = { name: APP, place: { single: true } }
    const folder = await fleet.app({ ...app, version: '1.0.0' }, undefined, writerTo(file))
    await apps.run(folder)
    await fleet.settled(apps, APP)
    // A host that is slow to answer names none.
    const where = async () => {
      for (;;) {
        const [instance] = (await apps.status(APP)).instances
        if (instance?.pid) return { ...instance, pid: instance.pid }
      }
    }
    const first = await where()

    await apps.drain(first.hostName)
    while ((await where()).hostName === first.hostName) await setTimeout(50)
    await fleet.settled(apps, APP)
    t.throws(() => process.kill(first.pid, 0), 'the first one has ended')
    await apps.drain(first.hostName, false)

    await fleet.app({ ...app, version: '2.0.0' }, folder, writerTo(file))
    await apps.run(folder)
    await fleet.settled(apps, APP)
    t.match((await apps.status(APP)).current, { version: '2.0.0' })

    // A crash is none of the others' business: it is started again where it is.
    const second = await where()
    process.kill(second.pid, 'SIGKILL')
    while ((await where()).pid === second.pid) await setTimeout(50)
    await fleet.settled(apps, APP)
    t.equal((await where()).host, second.host)

    // It ends with its host.
    const third = await where()
    await hosts.find(({ key }) => key === third.host)?.destroy()
    t.throws(() => process.kill(third.pid, 0), 'the third one has ended')
    while ((await where()).host !== hosts.find(({ key }) => key !== third.host)?.key) {
      await setTimeout(50)
    }
    await fleet.settled(apps, APP)

    t.throws(() => apps.scale(APP, 2), { code: 'USAGE', message: /never run at once/ })
    t.throws(() => apps.scale(APP, 'all'), { code: 'USAGE' })
    const two = await fleet.app({ ...app, version: '3.0.0', instances: 2 })
    await t.rejects(apps.run(two), { code: 'BAD_CONFIG', message: /needs instances to be 1/ })
    await apps.scale(APP, 0)
    while ((await apps.status(APP)).instances.length > 0) await setTimeout(50)
    t.same(await overlapsIn(file), [])
    t.equal((await writersOf(file)).length, 5)
  }
)

t.test(
  'a single app runs while its host holds leases at more than half of the registrars, those forgotten left out',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    const file = join(await fleet.testbed.dir(), 'ledger')
    const apps = await fleet.apps()
    const host = await fleet.host('one')
    const app = { name: APP, version: '1.0.0', place: { single: true } }
    await apps.run(await fleet.app(app, undefined, writerTo(file)))
    await fleet.settled(apps, APP)
    const [first] = host.instances
    const ended = () => host.instances.length === 0
    const until = async (condition: () => boolean) => {
      while (!condition()) await setTimeout(20)
    }

    // Its only registrar ends, and another one begins on an empty disk.
    await fleet.registry.destroy()
    const lostAt = Date.now()
    await until(ended)
    const [{ to = 0 } = {}] = await writersOf(file)
    t.ok(to - lostAt > 500, 'it has run on for some time')
    t.throws(() => process.kill(first?.pid ?? 0, 0), 'and then it has ended')
    const second = await fleet.registrar('second')
    const admin = await fleet.admin()
    const [, old] = await admin.registrars()
    let status = await apps.status(APP)
    while (!/1 of 2/.test(status.refusals.one ?? '')) status = await apps.status(APP)
    t.match(status, { passing: 0, wanted: 1 })
    t.equal(
      status.refusals.one,
      `it holds leases at 1 of 2 registrars, and needs 2: not at ${old?.registrarKey.slice(0, 8)}…`
    )
    await setTimeout(4000)
    t.ok(ended(), 'it waits, however long that one is gone')
    await admin.forget(old?.registrarKey ?? '')
    await fleet.settled(apps, APP)

    // The same registrar, which comes back with its folder, counts as before.
    await second.destroy()
    await until(ended)
    await fleet.registrar('second')
    await fleet.settled(apps, APP)
    t.same(await overlapsIn(file), [])
    t.equal((await writersOf(file)).length, 3)
  }
)
