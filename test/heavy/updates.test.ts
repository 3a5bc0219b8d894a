import t from 'tap'
import { Fleet } from '../fleet.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
const ENDS = `console.log('no database here'); process.exit(3)`
const NEVER_LISTENS = `setInterval(() => {}, 1000)`
const update = { steady: '100ms', deadline: '60s' }

t.test(
  'a release that does not come to run is given up, and the one before runs on',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    await fleet.host('one')
    await fleet.host('two')
    const apps = await fleet.apps()
    const web = await fleet.web()
    const folder = await fleet.app({ version: '1.0.0', update })
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    const { body } = await fleet.answered(web, 'hello.test', 200, '1.0.0')
    await complete('1.0.0')

    await fleet.app(
      { version: '2.0.0', update: { ...update, deadline: '1s' } },
      folder,
      NEVER_LISTENS
    )
    await apps.run(folder)
    await failed('2.0.0')
    await fleet.settled(apps, 'hello')
    const status = await apps.status('hello')
    t.match(status, { hasFailed: true, current: { version: '1.0.0' }, passing: 1 })
    t.same(
      status.failures.map(({ hostName }) => hostName).sort(),
      ['one', 'two'],
      'both have tried it'
    )
    t.match(await fleet.get(web, 'hello.test'), { status: 200, body: { pid: body.pid } })

    await fleet.app({ version: '3.0.0', update }, folder, ENDS)
    await apps.run(folder)
    await failed('3.0.0')
    await fleet.settled(apps, 'hello')
    const next = await apps.status('hello')
    t.match(next, { hasFailed: true, current: { version: '1.0.0' } }, 'not to the one that failed')
    t.match(next.failures[0]?.why, /exit code 3\nno database here/)
    t.match(await fleet.get(web, 'hello.test'), { status: 200, body: { pid: body.pid } })
    t.match(apps.history('hello'), [
      { version: '3.0.0', hasFailed: true },
      { version: '2.0.0', hasFailed: true },
      { version: '1.0.0', isComplete: true }
    ])
    await t.rejects(async () => apps.rollback('hello', '2.0.0'), { code: 'CHECK_FAILED' })

    await fleet.app({ version: '4.0.0', update }, folder)
    await apps.run(folder)
    await complete('4.0.0')
    await fleet.settled(apps, 'hello')
    await fleet.answered(web, 'hello.test', 200, '4.0.0')
    await apps.remove('hello')

    async function until(isDone: () => boolean) {
      while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    function complete(version: string) {
      return until(() => {
        const [wanted] = apps.history('hello')
        return wanted?.version === version && wanted.isComplete
      })
    }
    function failed(version: string) {
      return until(() => {
        const [wanted] = apps.history('hello')
        return wanted?.version === version && wanted.hasFailed
      })
    }
  }
)
