import { readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import t, { type Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { MORTAL } from '../fleet.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'

t.test(
  'an app is created, run, updated, looked at and removed by its command line',
  { skip },
  async (t) => {
    const { cli, port, app } = await harbor(t)
    const folder = cli.path('hello')
    t.match(await app('create', '--folder', folder), { code: 0, stdout: /^created hello-world/ })
    await patch(folder, { update: { steady: '200ms', deadline: '2s' } })

    t.match(await app('build', '--folder', folder), {
      code: 0,
      stdout: 'built hello-world@1.0.0\n'
    })
    const run = await app('run', '--folder', folder)
    t.match(run, { code: 0, stdout: /^running hello-world@1.0.0/ }, run.stderr)
    t.match(await get(port), { status: 200, body: 'Hello, World!\n' })
    t.match(await app('list'), { stdout: /hello-world +1\.0\.0 +running/ })

    await patch(folder, { version: '1.1.0', build: 'echo "// built" >> server.js' })
    t.match(await app('update', '--folder', folder), { code: 0, stderr: /building: / })
    await patch(folder, { version: '2.0.0', command: 'echo no luck; exit 3' })
    const failed = await app('update', '--folder', folder)
    t.match(failed, {
      code: 1,
      stderr: /hello-world@2\.0\.0 failed on one: it ended with exit code 3; no luck/
    })
    t.match(failed.stderr, /All went back to hello-world@1\.1\.0/)
    t.match(await get(port), { status: 200 })
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
    t.match(lines.at(-1), { host: 'one', line: 'began', time: /^2/ })
    t.same((await app('logs', 'hello-world', '--instance', 'other/0')).stdout, '')
    t.same((await app('logs', 'hello-world', '--since', '2999-01-01')).stdout, '')

    const { instances } = JSON.parse((await app('status', 'hello-world', '--json')).stdout)[0]
    const [{ pid }] = instances
    const removed = await app('remove', 'hello-world')
    t.match(removed, { code: 0, stdout: 'removed hello-world\n' })
    t.equal((await get(port)).status, 404)
    t.throws(() => process.kill(pid, 0), 'it has ended')
    t.match(await app('status', 'hello-world'), { code: 1, stderr: /NOT_FOUND/ })
  }
)

/** A registry, a host called one, and a gateway for `*.test`, each a process of its own. */
async function harbor(t: Test) {
  const cli = new Cli(t)
  await cli.island()
  cli.seed()
  const registry = cli.start(['registry', '--dir', cli.path('registry')])
  await registry.waitForLine('registryPublicKey=')
  const host: Running = cli.start([
    'host',
    '--name',
    'one',
    '--stopApps',
    '--minFree',
    '0',
    '--drainTimeout',
    '1',
    '--dir',
    cli.path('one')
  ])
  await host.waitForLine('registered host')
  t.teardown(() => host.kill())
  const web = cli.start(['web', '-p', '0', '--apps', '*.test', '--dir', cli.path('web')])
  const port = Number(await web.waitForLine('web server listening on port '))
  const app = (...args: string[]) => cli.run(['app', ...args])
  return { cli, port, app }
}

/** Changes fields of the app file, and has the program end with this test. */
async function patch(folder: string, fields: { [field: string]: unknown }) {
  const file = `${folder}/hyperseaport.app.json`
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...fields }))
  const program = `${folder}/server.js`
  const text = await readFile(program, 'utf8')
  if (!text.includes(MORTAL)) await writeFile(program, `${text}${MORTAL}console.log('began')\n`)
}

function get(port: number) {
  return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', headers: { host: 'hello-world.test' } })
    asked.on('error', reject)
    asked.on('response', async (response) => {
      let body = ''
      for await (const piece of response) body += piece
      resolve({ status: response.statusCode, body })
    })
    asked.end()
  })
}
