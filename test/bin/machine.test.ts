import { execFileSync } from 'node:child_process'
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { textOf } from '../docs/pages.js'
import type { Running } from './cli.js'
import { islandOf, list, registryOf } from './island.js'

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
  /^(registered service|proxy from|waiting for|web server listening|up |nothing is registered)/

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
  }
}

const NODE_MAJOR = Number(process.versions.node.split('.')[0])

t.test('when the machine fails, each verb says and does what the table says', async (t) => {
  t.equal(ROWS.length, 9)
  t.equal(new Set(ROWS.map(({ happened }) => happened)).size, 4)
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
    web: ['-p', '0']
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
