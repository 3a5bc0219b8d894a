import t from 'tap'
import { get, islandOf, list } from '../bin/island.js'

/** What makes a namespace in which the program is the first process. */
const canBeFirst = process.platform === 'linux' && process.getuid?.() === 0
const SERVER = `
console.log('the pid is ' + process.pid)
console.error('talk of the command')
process.on('SIGUSR2', () => console.log('got SIGUSR2'))
require('http').createServer((_, response) => response.end('by ' + process.pid)).listen(process.env.PORT)
`

t.test(
  'a command is registered while it listens, started again, and leaves nothing behind',
  async (t) => {
    const { cli, start } = await islandOf(t)
    const script = cli.write('server.cjs', SERVER)
    const service = cli.start(['service', '-r', 'hello@1.0.0', '--', 'node', script])
    const first = await service.waitForLine('the pid is ')
    await service.waitForTalk('talk of the command')
    await service.waitForLine('registered service {')
    const { port } = await start.proxy('hello@1.x')
    t.equal(await get(port), `by ${first}`)

    process.kill(service.pid, 'SIGUSR2')
    await service.waitForLine('got SIGUSR2')

    process.kill(Number(first), 'SIGKILL')
    t.match(await service.waitForTalk(`node ${script} was ended by SIGKILL`), /starts again in/)
    const lines = service.lines.stdout
    lines.splice(0)
    const second = await service.waitForLine('the pid is ')
    await service.waitForLine('registered service {')
    t.not(second, first)
    t.match(await list(cli), [{ status: 'passing' }])

    t.match(await service.kill('SIGTERM'), { code: 0 })
    t.throws(() => process.kill(Number(second), 0), { code: 'ESRCH' })
    t.same(await list(cli), [])
  }
)

t.test(
  'as PID 1, who runs commands or apps is told to use an init',
  { skip: canBeFirst ? false : 'only root of Linux may make a namespace' },
  async (t) => {
    const { cli } = await islandOf(t)
    const script = cli.write('server.cjs', SERVER)
    const at = ['unshare', '--pid', '--fork', '--kill-child']
    for (const line of [['service', '-r', 'hello@1.0.0', '--', 'node', script], ['host']]) {
      const running = cli.start(line, { at })
      t.match(await running.waitForTalk('as PID 1 '), /docker run --init/)
      await running.waitForLine('registered ')
    }
  }
)

t.test(
  'what fails its check is listed as failing, and used when there is nothing else',
  async (t) => {
    const { cli, start } = await islandOf(t)
    const flags = ['--checkInterval', '500ms', '--checkHost', 'hello.test', '--check']
    const service = await start.service('hello@1.0.0', ...flags, 'http:/health')
    const { port } = await start.proxy('hello@1.x')
    t.equal(await get(port), 'hello')
    t.match(await list(cli), [{ status: 'passing' }])
    start.answer(500)
    t.equal(await service.waitForTalk('CHECK_FAILED: '), 'GET /health was answered with 500')
    const reason = 'CHECK_FAILED: GET /health was answered with 500'
    const shown = await cli.ask(['list', '--status', 'failing'])
    t.match(shown.stdout, /^hello +1\.0\.0 +failing /m)
    t.match(shown.stderr, new RegExp(`^hello@1\\.0\\.0 [0-9a-f]{8}… is failing: ${reason}$`, 'm'))
    t.match(await list(cli), [{ status: 'failing', reason }])
    t.match(await cli.ask(['list', '--status', 'passing,stale', '--status', 'draining']), {
      code: 0,
      stdout: '',
      stderr: 'nothing is passing or stale or draining\n'
    })
    t.equal(await get(port), 'hello')
    start.answer(200)
    await service.waitForTalk('the backend is well again')
    while ((await list(cli)).some(({ status }) => status === 'failing'));
    t.same((await list(cli))[0]?.reason, undefined)
  }
)

t.test('commands and checks that cannot be right are misuses', async (t) => {
  const { cli } = await islandOf(t)
  const misuses: [args: string[], line: RegExp][] = [
    [['service', '-r', 'a@1.0.0', '--'], /^USAGE: there is no command after --\. Run/],
    [['list', '--', 'ls'], /^USAGE: list takes nothing after --\. Run/],
    [['service', '-r', 'a@1.0.0', '--command', 'ls'], /^USAGE: unknown flag --command/],
    [['service', '-r', 'a@1.0.0', '--target', 'b:1', '--', 'ls'], /^USAGE: .*not a --target/],
    [['service', '-r', 'a@1.0.0', '-p', '1', '--check', 'udp'], /^USAGE: a check is tcp, http:/],
    [['service', '-r', 'a@1.0.0', '-p', '1', '--checkInterval', '1 s'], /^USAGE: --checkInterval/],
    [['service', '-r', 'a@1.0.0', '-p', '1', '--checkInterval', '5000'], /^USAGE: .* 600 s apart/],
    [['service', '-r', 'a@1.0.0', '-p', '1', '--checkPasses', '0'], /^USAGE: --checkPasses/]
  ]
  for (const [args, line] of misuses) {
    const { code, stderr } = await cli.ask(args)
    t.equal(code, 2, args.join(' '))
    t.match(stderr, line)
  }
  const missing = await cli.ask(['service', '-r', 'a@1.0.0', '--', 'no-such-program-here'])
  t.match(missing, { code: 1 })
  t.match(missing.stderr, /^COMMAND_FAILED: there is no program no-such-program-here/m)
})
