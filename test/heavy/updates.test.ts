import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
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

t.test(
  'what has to run first runs: setup once on each host, before once for each release',
  { skip },
  async (t) => {
    const fleet = await Fleet.make(t)
    await fleet.host('one')
    await fleet.host('two')
    const apps = await fleet.apps()
    const notes = await fleet.testbed.dir()
    const read = (name: string) => readFile(join(notes, name), 'utf8').catch(() => '')
    const note = (name: string) => `echo "$APP_HOST $APP_VERSION" >> ${notes}/${name}`
    const setup = `${note('setup')}; echo ready > made`
    // The program ends at once if what has to be there is not.
    const server = `require('node:fs').readFileSync('made'); require('node:fs').readFileSync('${notes}/before')
      require('node:http').createServer((_, answer) => answer.end('{}')).listen(process.env.PORT, '127.0.0.1')`
    const first = { version: '1.0.0', update, setup, before: note('before'), instances: 2 }
    const folder = await fleet.app(first, undefined, server)
    await apps.run(folder)
    await fleet.settled(apps, 'hello')
    t.match(await apps.status('hello'), { isPreparing: false, failures: [], passing: 2 })
    t.same((await read('setup')).trim().split('\n').sort(), ['one 1.0.0', 'two 1.0.0'])
    t.match(await read('before'), /^(one|two) 1\.0\.0\n$/)
    const { instances } = await apps.status('hello')

    // A command before that fails: nothing of its release ever starts, and all stays as it was.
    await fleet.app(
      { ...first, version: '2.0.0', before: `${note('before')}; echo no table; exit 5` },
      folder,
      server
    )
    await apps.run(folder)
    await until(() => apps.history('hello')[0]?.hasFailed === true)
    const status = await apps.status('hello')
    t.match(status, {
      hasFailed: true,
      isPreparing: false,
      current: { version: '1.0.0' },
      failures: [{ hostName: /one|two/, why: 'before: it ended with exit code 5\nno table' }]
    })
    t.same(
      status.instances.map(({ pid }) => pid).sort(),
      instances.map(({ pid }) => pid).sort(),
      'no instance was touched'
    )
    t.match(await read('before'), /^.* 1\.0\.0\n.* 2\.0\.0\n$/, 'it was tried once')

    // A restart runs the same program, and neither command again.
    const [setups, befores] = [await read('setup'), await read('before')]
    await apps.restart('hello')
    await fleet.settled(apps, 'hello')
    t.same([await read('setup'), await read('before')], [setups, befores])

    await fleet.app(
      { ...first, version: '3.0.0', setup: 'echo no network; exit 6' },
      folder,
      server
    )
    await apps.run(folder)
    await until(() => apps.history('hello')[0]?.hasFailed === true)
    t.match((await apps.status('hello')).failures[0]?.why, /^setup: .* 6\nno network$/)

    await fleet.app({ ...first, version: '4.0.0' }, folder, server)
    await apps.run(folder)
    await until(() => apps.history('hello')[0]?.isComplete === true)
    await fleet.settled(apps, 'hello')
    t.match(await read('before'), / 4\.0\.0\n$/)
    await apps.remove('hello')

    async function until(isDone: () => boolean) {
      while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
)
