import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { connectBackend } from '../../lib/serving/backend.js'
import { Supervisor, type SupervisorOptions } from '../../lib/serving/supervisor.js'
import { restWhile } from '../rest.js'

const LISTEN = `require('net').createServer((s) => s.end(process.env.PORT)).listen(process.env.PORT, '127.0.0.1')`
/** tap's loader in the child would only cost time. */
const NODE = ['env', '-u', 'NODE_OPTIONS', process.execPath, '-e']

function supervise(t: Test, script: string, options: Partial<SupervisorOptions> = {}) {
  const supervisor = new Supervisor({
    command: [...NODE, script],
    backoffs: [10, 20],
    random: () => 0,
    ...options
  })
  t.teardown(() => supervisor.stop())
  return supervisor
}

async function ask(port: number): Promise<string> {
  let answer = ''
  for await (const chunk of await connectBackend({ host: '127.0.0.1', port })) answer += chunk
  return answer
}

t.test('a command is up when it listens on the PORT that it was given', async (t) => {
  const supervisor = supervise(t, LISTEN)
  const up = once(supervisor, 'up')
  await supervisor.start()
  const [port] = await up
  t.equal(await ask(port), `${port}`)
  const { pid } = supervisor
  const down = once(supervisor, 'down')
  await supervisor.stop()
  await down
  t.throws(() => process.kill(pid ?? 0, 0), { code: 'ESRCH' })
})

t.test(
  'a command that greets whoever comes does not die of our looking whether it listens',
  async (t) => {
    // Without a listener for errors, a reset would end it.
    const greeting = 's.end("hello\\n".repeat(1e4) + '
    const supervisor = supervise(t, LISTEN.replace('s.end(', greeting))
    const up = once(supervisor, 'up')
    await supervisor.start()
    const [port] = await up
    for (let i = 0; i < 5; i++) t.match(await ask(port), /^hello/)
    t.equal(supervisor.stats.exits, 0)
  }
)

t.test('a command that ends is started again, later each time', async (t) => {
  const supervisor = supervise(t, 'process.exit(3)')
  await supervisor.start()
  const exits = []
  while (exits.length < 3) exits.push((await once(supervisor, 'exit'))[0])
  t.same(exits, [
    { code: 3, signal: null, restartIn: 10 },
    { code: 3, signal: null, restartIn: 20 },
    { code: 3, signal: null, restartIn: 20 }
  ])
})

t.test('a command that is killed is down, and up again on a port that it is told', async (t) => {
  const supervisor = supervise(t, LISTEN)
  const first = once(supervisor, 'up')
  await supervisor.start()
  await first
  const [down, exit, second] = ['down', 'exit', 'up'].map((event) =>
    once(supervisor, event as 'up')
  )
  supervisor.signal('SIGKILL')
  await down
  t.match(await exit, [{ signal: 'SIGKILL' }])
  const [port] = (await second) ?? []
  t.equal(await ask(port as number), `${port}`)
})

t.test(
  'what a command started ends with it, and who does not listen to SIGTERM is killed',
  async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'hyperseaport-test-'))
    t.teardown(() => rm(dir, { recursive: true, force: true }))
    const file = join(dir, 'pid')
    const script = `
    process.on('SIGTERM', () => {})
    const child = require('child_process').spawn('sleep', ['1000'])
    require('fs').writeFileSync(${JSON.stringify(file)}, String(child.pid))
    ${LISTEN}`
    const supervisor = supervise(t, script, { grace: 50 })
    const up = once(supervisor, 'up')
    await supervisor.start()
    await up
    t.ok(existsSync(file))
    await supervisor.stop()
    const grandchild = Number(readFileSync(file, 'utf8'))
    t.ok(await isGone(grandchild))
  }
)

t.test('a command ends with a process that is killed, and with all that it started', async (t) => {
  const url = import.meta.resolve('../../lib/serving/supervisor.js')
  const start = `
    const { Supervisor } = await import(${JSON.stringify(url)})
    const command = ['sh', '-c', 'sleep 1000 & echo $!; wait']
    await new Supervisor({ command, output: 'inherit' }).start()
    console.log('started')`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', start], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let text = ''
  for await (const piece of holder.stdout) {
    text += piece
    if (/\d\n/.test(text) && text.includes('started')) break
  }
  const grandchild = Number(/\d+/.exec(text))
  t.notOk(await isGone(grandchild))
  holder.kill('SIGKILL')
  await restWhile(async () => !(await isGone(grandchild)))
})

t.test('it can be stopped at any time', async (t) => {
  const starting = supervise(t, LISTEN)
  await Promise.all([starting.start(), starting.stop()])
  t.equal(starting.isUp, false)
  const waiting = supervise(t, 'process.exit()', { backoffs: [100_000] })
  await waiting.start()
  await once(waiting, 'exit')
  await waiting.stop()
  await waiting.stop()
})

t.test('it can be stopped where connections fail at once, as without a loopback', async (t) => {
  const url = import.meta.resolve('../../lib/serving/supervisor.js')
  const script = `
    import { Socket } from 'node:net'
    Socket.prototype.connect = function () {
      return this.destroy(Object.assign(new Error('unreachable'), { code: 'ENETUNREACH' }))
    }
    const { Supervisor } = await import(${JSON.stringify(url)})
    const supervisor = new Supervisor({ command: ['sleep', '1000'] })
    await supervisor.start()
    await new Promise((resolve) => setTimeout(resolve, 100))
    await supervisor.stop()
    console.log('stopped', supervisor.stats.exits)`
  // One that waits without end would keep its process busy, so that nothing but SIGKILL ends it.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { env: { ...process.env, NODE_OPTIONS: '' }, timeout: 25_000, killSignal: 'SIGKILL' }
  )
  t.equal(stdout, 'stopped 1\n')
})

t.test('what cannot be started is refused', async (t) => {
  const nobody = new Supervisor({ command: ['no-such-program-here'] })
  await t.rejects(nobody.start(), { code: 'COMMAND_FAILED', message: /no-such-program-here/ })
  t.throws(() => new Supervisor({ command: [] }), { code: 'USAGE' })

  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const second = supervise(t, LISTEN, { port })
  await t.rejects(second.start(), { code: 'PORT_IN_USE' }, 'or something else would be registered')
})

/** Killed it is, but somebody has to notice: init, or whoever stands in for it. */
async function isGone(pid: number): Promise<boolean> {
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || /\) Z /.test(readFileSync(stat, 'utf8'))
}
