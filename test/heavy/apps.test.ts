import t from 'tap'
import { AppHarbor } from './app-harbor.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'

t.test(
  'an app is created, run, updated, looked at and removed by its command line',
  { skip },
  async (t) => {
    const harbor = await AppHarbor.withOneHost(t)
    const { cli } = harbor
    const app = (...args: string[]) => harbor.app(...args)
    const folder = cli.path('hello')
    t.match(await app('create', '--folder', folder), { code: 0, stdout: /^created hello-world/ })
    await harbor.patch(folder, { update: { steady: '200ms', deadline: '2s' } })

    t.match(await app('build', '--folder', folder), {
      code: 0,
      stdout: 'built hello-world@1.0.0\n'
    })
    const run = await app('run', '--folder', folder)
    t.match(run, { code: 0, stdout: /^running hello-world@1.0.0/ }, run.stderr)
    t.match(await harbor.get(), { status: 200, body: 'Hello, World!\n' })
    t.match(await app('list'), { stdout: /hello-world +1\.0\.0 +running/ })

    await harbor.patch(folder, { version: '1.1.0', build: 'echo "// built" >> server.js' })
    t.match(await app('update', '--folder', folder), { code: 0, stderr: /building: / })
    await harbor.patch(folder, { version: '2.0.0', command: 'echo no luck; exit 3' })
    const failed = await app('update', '--folder', folder)
    t.match(failed, {
      code: 1,
      stderr: /hello-world@2\.0\.0 failed on one: it ended with exit code 3; no luck/
    })
    t.match(failed.stderr, /All went back to hello-world@1\.1\.0/)
    t.match(await harbor.get(), { status: 200 })
    const status = await app('status', 'hello-world')
    t.match(status.stdout, /running instead: hello-world@1\.1\.0/)
    const history = await app('history', 'hello-world')
    t.match(
      history.stdout,
      /2\.0\.0 .* wanted +failed +it ended with exit code 3\n1\.1\.0 .* kept +complete/
    )

    const logs = await app('logs', 'hello-world', '--json')
    const lines = logs.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const began = lines.find(({ line }) => line === 'began')
    t.match(began, { host: 'one', time: /^2/ })
    const isThere = lines.some(({ line }) => line === 'no luck')
    t.ok(isThere, 'the instance that failed is heard, too')
    t.same((await app('logs', 'hello-world', '--instance', 'other/0')).stdout, '')
    t.same((await app('logs', 'hello-world', '--since', '2999-01-01')).stdout, '')

    const { instances } = JSON.parse((await app('status', 'hello-world', '--json')).stdout)[0]
    const [{ pid }] = instances
    const removed = await app('remove', 'hello-world')
    t.match(removed, { code: 0, stdout: 'removed hello-world\n' })
    t.equal((await harbor.get()).status, 404)
    t.throws(() => process.kill(pid, 0), 'it has ended')
    t.match(await app('status', 'hello-world'), { code: 1, stderr: /NOT_FOUND/ })
  }
)

t.test(
  'app update --watch updates after each change, also after one that failed, and its end stops nothing',
  { skip },
  async (t) => {
    const harbor = await AppHarbor.withOneHost(t)
    const folder = harbor.cli.path('hello')
    await harbor.app('create', '--folder', folder)
    const update = { steady: '200ms', deadline: '2s' }
    await harbor.patch(folder, { update, build: 'date +%N > built.txt' })
    const watch = harbor.cli.start(['app', 'update', '--folder', folder, '--watch'])
    await watch.waitForLine('updated hello-world@1.0.0')
    await harbor.patch(folder, { version: '2.0.0', command: 'echo no luck; exit 3' })
    await watch.waitForMatch(/hello-world@2\.0\.0 failed on one/)
    await harbor.patch(folder, { version: '3.0.0', command: ['node', 'server.js'] })
    await watch.waitForLine('updated hello-world@3.0.0')
    t.match(await harbor.get(), { status: 200 })

    t.match(await watch.kill('SIGINT'), { code: 0 })
    t.equal(watch.lines.stdout.length, 2, 'what is built is no change')
    t.match(await harbor.get(), { status: 200 })
    t.match(await harbor.status('hello-world'), { passing: 1, current: { version: '3.0.0' } })
  }
)

t.test(
  'where no host has a place for an app, it is said at once, and Ctrl-C ends the waiting alone',
  { skip },
  async (t) => {
    const harbor = await AppHarbor.withOneHost(t)
    const folder = harbor.cli.path('hello')
    t.match(await harbor.app('create', 'hello', '--folder', folder, '--json'), {
      stdout: JSON.stringify({ app: 'hello', folder })
    })
    await harbor.patch(folder, { place: { labels: { region: 'mars' } } })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const run = harbor.cli.start(['app', 'run', '--folder', folder])
      await run.waitForMatch(/one: it is not labelled region=mars/)
      t.match(await run.kill(signal), { code: signal === 'SIGINT' ? 130 : 143 })
    }
    t.match(await harbor.status('hello'), { wanted: 1, passing: 0 })
    t.match(await harbor.app('scale', 'hello', 'two'), { code: 2, stderr: /not "two"/ })
    t.match(await harbor.app('scale', 'hello', '0'), { code: 0, stdout: /^scaled hello/ })
    t.match(await harbor.app('remove', 'hello'), { code: 0 })
    t.match(await harbor.app('help'), { code: 0, stdout: /Usage|hyperseaport app/ })
    t.match(await harbor.app('version', '--json'), { code: 0, stdout: /^\{"version":"\d/ })
  }
)
