import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Running } from '../bin/cli.js'
import { answered, islandOf, list, registryOf } from '../bin/island.js'
import { textOf } from '../docs/pages.js'
import { CLOCKS, clockOf } from './fixtures/clocks.js'

/** A line of the table in docs/guide/troubleshooting.md. */
interface Row {
  happened: string
  verbs: string[]
  printed: string
  then: string
}

const FEW_FILES = ['sh', '-c', 'ulimit -n 64; exec "$@"', '-']
const ROWS = rowsOf(textOf('docs/guide/troubleshooting.md'))
/** Of a process that runs, only Linux lets others change what it may write. */
const canBeFilled = process.platform === 'linux'

/** What a verb prints that has begun its work. */
const READY =
  /^(registered |proxy from|waiting for|web server listening|up |listening to|nothing is registered|ROLE )/
/** Longer than a registrar waits for a sign of life, in ms. */
const STILL_MS = 5000

type Trial = (t: Test, verb: string, printed: string, then: string) => Promise<void>

const TRIALS: Record<string, Trial> = {
  'the disk is full': async (t, verb, printed) => {
    await whileRunning(t, verb, printed, {
      harm: ({ pid }) => limitWriting(pid, '1'),
      end: ({ pid }) => limitWriting(pid, 'unlimited')
    })
  },
  'the folder was deleted': async (t, verb, printed) => {
    await whileRunning(t, verb, printed, { harm: (_, dir) => renameSync(dir, `${dir}-gone`) })
  },
  'the folder cannot be written': async (t, verb, printed, then) => {
    const { cli, start } = await islandOf(t)
    // A watch has something to show then.
    if (then === 'goes on') await start.instance('a@1.0.0')
    const dir = join(cli.write('file', ''), 'data')
    await atOnce(t, cli.start(lineOf(verb, start.port, dir)), printed, then)
  },
  '64 open files at most': async (t, verb, printed, then) => {
    const { cli, start } = await islandOf(t)
    const line = lineOf(verb, start.port, cli.path('data'))
    const running = cli.start(line, { at: FEW_FILES })
    await atOnce(t, running, printed, then)
  },
  'the clock is 20 years behind, or 10 ahead': async (t, verb) => {
    for (const offset of Object.values(CLOCKS)) await withClock(t, verb, offset)
  },
  'it stood still, as while a machine sleeps': async (t, verb, printed) => {
    if (verb === 'registry') return aRegistryStoodStill(t)
    if (printed.startsWith('nothing')) return aReaderStoodStill(t, verb)
    await aServiceStoodStill(t, verb, printed)
  }
}

const NODE_MAJOR = Number(process.versions.node.split('.')[0])

t.test('when the machine fails, each verb says and does what the table says', async (t) => {
  t.equal(ROWS.length, 15)
  t.equal(new Set(ROWS.map(({ happened }) => happened)).size, 6)
  for (const { happened, verbs, printed, then } of ROWS) {
    // Later Nodes keep fewer files open, and 64 are enough for them.
    if (happened === '64 open files at most' && NODE_MAJOR > 20) continue
    for (const verb of verbs) {
      await t.test(`${happened}: ${verb}`, async (t) => {
        if (happened === 'the disk is full' && !canBeFilled) return
        await TRIALS[happened]?.(t, verb, printed, then)
      })
    }
  }
})

t.test(
  'who is told to stop exits with 0, though its folder was deleted a moment ago',
  async (t) => {
    for (const verb of ['registry', 'service', 'proxy', 'web', 'watch', 'listen', 'peer', 'host']) {
      const { cli, start, registry } = await islandFor(t, verb, '--dir', 'registry-data')
      await start.instance('a@1.0.0')
      const dir = cli.path(verb === 'registry' ? 'registry-data' : 'data')
      const running = registry ?? cli.start(lineOf(verb, start.port, dir))
      await running.waitForMatch(READY)
      rmSync(dir, { recursive: true })
      t.match(await running.kill('SIGTERM'), { code: 0 }, verb)
    }
  }
)

t.test(
  'a letter to a peer whose disk is full comes once it has room and was started again',
  async (t) => {
    if (!canBeFilled) return
    const { cli } = await islandOf(t)
    const start = () => cli.start(['peer', '--json', '--dir', cli.path('data')])
    const full = start()
    await full.waitForMatch(/^registered as peer /)
    const [, key = ''] = /^peer (\w+)$/m.exec(full.lines.stderr.join('\n')) ?? []
    limitWriting(full.pid, '1')
    const sent = await cli.run(['send', key, 'hello', '--dir', cli.path('writer')])
    t.match(sent, { code: 0, stdout: /^unreachable / })
    t.match(await full.kill('SIGTERM'), { code: 0, stdout: '' })
    const roomy = start()
    await roomy.waitForMatch(/^registered as peer /)
    cli.start(['peer', '--dir', cli.path('writer')])
    await roomy.waitForMatch(/"hello"/)
  }
)

async function withClock(t: Test, verb: string, offset: number) {
  const nodeFlags = ['--import', clockOf(offset)]
  const { cli, start, registry } = await islandFor(t, verb, '--dir', 'registry-data')
  if (registry) {
    await registry.kill('SIGTERM')
    cli.start(['registry', '--dir', 'registry-data'], { nodeFlags })
  }
  await start.instance('a@1.0.0')
  if (registry) {
    t.match(await list(cli), [{ role: 'a', status: 'passing' }])
    return
  }
  const running = cli.start(lineOf(verb, start.port, cli.path('data')), { nodeFlags })
  await running.waitForMatch(READY)
  if (verb === 'proxy') t.equal(await answered(await portOf(running)), 'hello')
  if (verb === 'list') t.match(await running.outcome, { code: 0, stdout: /passing/ })
  else t.match(await running.kill('SIGTERM'), { code: 0 })
}

async function aRegistryStoodStill(t: Test) {
  const { cli, start, registry } = await registryOf(t)
  const service = await start.instance('a@1.0.0')
  const lost = once(service, 'lost')
  process.kill(registry.pid, 'SIGSTOP')
  await lost
  const registered = once(service, 'registered')
  process.kill(registry.pid, 'SIGCONT')
  await registered
  t.match(await list(cli), [{ role: 'a', live: true }])
  t.match(await registry.kill('SIGTERM'), { code: 0 })
}

async function aServiceStoodStill(t: Test, verb: string, printed: string) {
  const { cli, start } = await islandOf(t)
  const role = verb === 'service' ? 'x' : verb
  const isListed = async () => (await list(cli)).some((one) => one.role === role)
  const running = cli.start(lineOf(verb, start.port, cli.path('data')))
  await running.waitForMatch(READY)
  process.kill(running.pid, 'SIGSTOP')
  while (await isListed());
  process.kill(running.pid, 'SIGCONT')
  await running.waitForMatch(new RegExp(printed))
  while (!(await isListed()));
  t.match(await running.kill('SIGTERM'), { code: 0 })
}

async function aReaderStoodStill(t: Test, verb: string) {
  const { cli, start } = await islandOf(t)
  const leaving = await start.instance('a@1.0.0')
  const running = cli.start(lineOf(verb, start.port, cli.path('data')))
  await running.waitForMatch(READY)
  process.kill(running.pid, 'SIGSTOP')
  await sleep(STILL_MS)
  await leaving.destroy()
  await start.instance('a@1.2.0')
  process.kill(running.pid, 'SIGCONT')
  if (verb === 'watch') await running.waitForLine('up     a@1.2.0')
  else {
    const port = await portOf(running)
    // A gateway answers at once, too, that it has not heard of the new one yet.
    while ((await answered(port, verb === 'web' ? 'role/a/' : '')) !== 'hello');
  }
  t.match(await running.kill('SIGTERM'), { code: 0 })
}

/** The port that a proxy or gateway listens on. */
async function portOf(running: Running): Promise<number> {
  await running.waitForMatch(READY)
  const [, port] =
    /(?:proxy from|listening on port) +(\d+)/.exec(running.lines.stdout.join('\n')) ?? []
  return Number(port)
}

/** A registry: the binary where that is what is tried, and one of this process else. */
async function islandFor(t: Test, verb: string, ...flags: string[]) {
  if (verb === 'registry') return registryOf(t, ...flags)
  return { ...(await islandOf(t)), registry: null }
}

/** A verb that runs says what happened, and goes on; so does a registry, when it is over. */
async function whileRunning(
  t: Test,
  verb: string,
  printed: string,
  { harm, end = () => {} }: { harm(verb: Running, dir: string): void; end?(verb: Running): void }
) {
  const isRegistry = verb === 'registry'
  const flags = isRegistry ? ['--dir', 'registry-data'] : []
  const { cli, start, registry } = await islandFor(t, verb, ...flags)
  const leaving = await start.instance('a@1.0.0')
  const dir = cli.path(isRegistry ? 'registry-data' : 'data')
  const running = registry ?? cli.start(lineOf(verb, start.port, dir))
  if (!isRegistry) await running.waitForMatch(READY)
  harm(running, dir)
  const coming = start.instance('b@1.0.0')
  await running.waitForMatch(new RegExp(printed))
  if (isRegistry) {
    t.ok(
      (await list(cli)).some(({ role }) => role === 'a'),
      'a newcomer lists'
    )
    await leaving.destroy()
  }
  end(running)
  await coming
  if (isRegistry) {
    await running.waitForMatch(/the log is written again/)
    while ((await list(cli)).some(({ role }) => role === 'a'));
  }
  t.match(await running.kill('SIGTERM'), { code: 0 })
}

async function atOnce(t: Test, running: Running, printed: string, then: string) {
  await running.waitForMatch(new RegExp(printed))
  if (then === 'goes on') {
    await running.waitForMatch(READY)
    t.match(await running.kill('SIGTERM'), { code: 0 })
    return
  }
  const { code, stderr } = await running.outcome
  t.equal(`exit ${code}`, then)
  t.notMatch(stderr, /^\s+at /m, 'no stack')
  if (code !== 0) t.match(stderr, /^STORAGE_FAILED: /m)
}

function lineOf(verb: string, port: number, dir: string, role = 'x@1.0.0'): string[] {
  const flags: Record<string, string[]> = {
    service: ['-p', `${port}`, '-r', role],
    proxy: ['-p', '0', '-r', 'a@1.x'],
    web: ['-p', '0'],
    listen: ['a@1.x'],
    peer: ['--name', 'ada']
  }
  return [verb, ...(flags[verb] ?? []), '--dir', dir]
}

function limitWriting(pid: number, size: string) {
  execFileSync('prlimit', [`--pid=${pid}`, `--fsize=${size}:unlimited`])
}

function rowsOf(page: string): Row[] {
  const [table = ''] = /^\| what happened .*\n(?:\|.*\n)+/m.exec(page) ?? []
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => {
      const [, happened = '', verbs = '', printed = '', then = ''] = line
        .split('|')
        .map((cell) => cell.trim())
      const words = [...verbs.matchAll(/`([^`]+)`/g)].map(([, verb = '']) => verb)
      return { happened, verbs: words, printed: printed.replaceAll('`', ''), then }
    })
}
