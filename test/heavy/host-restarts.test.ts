import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { statOf } from '../../lib/hosting/driver/proc.js'
import { AppHarbor } from './app-harbor.js'
import { processesWith, watchDoubles } from './marked.js'
import { untilNothing } from './until.js'

const skip = process.platform !== 'linux' && 'processes of apps are run on Linux only'
const APP = 'hello-world'
/** For what comes about by itself, on a busy machine, in ms. */
const PATIENCE_MS = 60_000
/** Everything runs again within this time after everything was killed, in ms. */
const PROMISE_MS = 15_000

t.test(
  'a host whose process is killed and started again has its apps under their old pids, and no others',
  { skip },
  async (t) => {
    const { harbor, hosts, mark } = await aFleet(t, ['one', 'two'], 4)
    const before = await harbor.status(APP)
    const pids = pidsOf(before)
    t.same(await processesWith(mark), pids)
    for (const name of ['one', 'two']) {
      await hosts.get(name)?.kill('SIGKILL')
      hosts.set(name, harbor.host(name))
      await hosts.get(name)?.waitForLine('registered host')
      const watch = watchDoubles(mark)
      await atRest(harbor, 4)
      t.same(pidsOf(await harbor.status(APP)), pids, `${name} was killed`)
      // Whoever took the host for lost would start others after 2 s.
      await setTimeout(3000)
      t.same(await watch.stop(), pids, 'and no other has run meanwhile')
    }
    const after = await harbor.status(APP)
    t.same(keysOf(after), keysOf(before), 'the keys are the same, too')
    t.equal((await harbor.get()).status, 200)
  }
)

t.test(
  'a host that was away for long has its apps back under their old pids, and only they run in the end',
  { skip },
  async (t) => {
    const { harbor, hosts, mark } = await aFleet(t, ['one', 'two'], 2)
    const before = await harbor.status(APP)
    await hosts.get('one')?.kill('SIGKILL')
    await untilNothing(async () => {
      const { instances } = await harbor.status(APP)
      const there = instances.filter(({ hostName }: Shown) => hostName === 'two')
      return there.length === 2 ? null : `${there.length} of 2 run on two`
    }, PATIENCE_MS)
    t.equal((await processesWith(mark)).length, 3, 'the app of the one that was killed runs on')
    hosts.set('one', harbor.host('one'))
    // Two that pass on the other host are enough until nothing has changed for 10 s.
    await untilNothing(async () => {
      const places = placesOf(await harbor.status(APP))
      return String(places) === String(placesOf(before)) ? null : `they are on ${places}`
    }, PATIENCE_MS)
    await atRest(harbor, 2)
    const after = await harbor.status(APP)
    t.same(placesOf(after), placesOf(before), 'each has one, as before')
    t.same(pidsOf(after), pidsOf(before), 'what ran on was taken, and what was new ended')
    t.same(await processesWith(mark), pidsOf(after))
  }
)

t.test(
  'with every registrar dead apps answer, those that crashed or whose host was killed run under their old keys, nothing moves, and an update waits',
  { skip },
  async (t) => {
    const { harbor, hosts, mark, registry, folder } = await aFleet(t, ['one', 'two'], 2)
    const before = await harbor.status(APP)
    await registry.kill('SIGKILL')
    const [crashing = 0, other = 0] = pidsOf(before)
    await answeredBy(harbor, [crashing, other])
    process.kill(crashing, 'SIGKILL')
    await untilNothing(async () => {
      const running = await processesWith(mark)
      const isAgain = running.length === 2 && !running.includes(crashing)
      return isAgain ? null : `${running} run`
    }, PATIENCE_MS)
    const pids = await processesWith(mark)
    t.ok(pids.includes(other), 'the other one is the same')
    await answeredBy(harbor, pids)

    await hosts.get('one')?.kill('SIGKILL')
    const watch = watchDoubles(mark)
    const one = harbor.host('one')
    hosts.set('one', one)
    await one.waitForMatch(/^hello-world@1\.0\.0 0 passing pid /)
    // The gateway knows no keys but those that a registrar has written down before.
    await answeredBy(harbor, pids)
    await hosts.get('two')?.kill('SIGKILL')
    hosts.set('two', harbor.host('two'))
    await hosts.get('two')?.waitForMatch(/^hello-world@1\.0\.0 0 passing pid /)
    // Whoever took the other host for lost would start more after 2 s.
    await setTimeout(3000)
    t.same(await watch.stop(), pids, 'nothing moved')

    harbor.write({ name: APP, version: '2.0.0', instances: 2, env: { MARK: mark } })
    const update = harbor.cli.start(['app', 'update', '--folder', folder])
    await update.waitForMatch(/registrar/)
    await harbor.registry()
    t.match(await update.outcome, { code: 0, stdout: /^updated hello-world@2\.0\.0/ })
    await atRest(harbor, 2)
  }
)

t.test('a stranger who has the pid of an app now is not touched', { skip }, async (t) => {
  const { harbor, hosts, mark } = await aFleet(t, ['one'], 1)
  const [pid = 0] = pidsOf(await harbor.status(APP))
  await hosts.get('one')?.kill('SIGKILL')
  process.kill(pid, 'SIGKILL')
  await untilNothing(async () => ((await statOf(pid)) === null ? null : 'it runs'), PATIENCE_MS)
  const { stranger, isReused } = await strangerWith(t, pid)
  t.comment(isReused ? 'the kernel gave the pid anew' : 'the pid was written into the file')
  if (!isReused) await replacePid(harbor.cli.path('one'), pid, stranger.pid ?? 0)
  hosts.set('one', harbor.host('one'))
  await atRest(harbor, 1)
  const [other] = pidsOf(await harbor.status(APP))
  t.not(other, stranger.pid)
  await harbor.app('remove', APP)
  t.same(await processesWith(mark), [])
  t.not(await statOf(stranger.pid ?? 0), null)
  t.equal(stranger.exitCode, null)
})

for (const registrar of ['with its folder', 'with an empty folder']) {
  t.test(
    `everything was killed: with a registrar ${registrar} all runs within 15 s, without a command`,
    { skip },
    async (t) => {
      const { harbor, hosts, mark, registry, web } = await aFleet(t, ['one', 'two'], 3)
      const before = await harbor.status(APP)
      for (const running of [web, registry, ...hosts.values()]) await running.kill('SIGKILL')
      for (const pid of await processesWith(mark)) process.kill(pid, 'SIGKILL')
      const isEmpty = registrar === 'with an empty folder'
      const name = isEmpty ? 'another' : 'registry'
      const starting = harbor.registry(name)
      for (const host of hosts.keys()) hosts.set(host, harbor.host(host))
      const took = await untilNothing(async () => {
        const running = await processesWith(mark)
        return running.length === 3 ? null : `${running.length} of 3 run`
      }, PROMISE_MS)
      t.comment(`${Math.round(took)} ms`)
      await starting
      await atRest(harbor, 3)
      const after = await harbor.status(APP)
      t.same(placesOf(after), placesOf(before))
      t.same(keysOf(after), keysOf(before), 'under their old keys')
      await harbor.web()
      t.equal((await harbor.get()).status, 200)
    }
  )
}

interface Shown {
  hostName: string
  slot: number
  pid: number
  key: string
  state: string
}

/** A registry, hosts, and so many instances of an app, at rest. `mark` is in the environment of these. */
async function aFleet(t: Test, names: string[], instances: number) {
  const harbor = await AppHarbor.make(t)
  const registry = await harbor.registry()
  const hosts = new Map(names.map((name) => [name, harbor.host(name)]))
  for (const host of hosts.values()) await host.waitForLine('registered host')
  const web = await harbor.web()
  const mark = `mark-${process.pid}-${Math.random().toString(36).slice(2)}`
  const app = { name: APP, version: '1.0.0', instances, env: { MARK: mark } }
  const folder = harbor.write(app)
  const run = await harbor.app('run', '--folder', folder)
  if (run.code !== 0) throw new Error(run.stderr)
  t.teardown(async () => {
    for (const host of hosts.values()) await host.kill('SIGKILL')
    for (const pid of await processesWith(mark)) process.kill(pid, 'SIGKILL')
  })
  await atRest(harbor, instances)
  return { harbor, registry, hosts, web, mark, folder }
}

/** Until as many pass as are wanted, and no others are there. */
function atRest(harbor: AppHarbor, wanted: number): Promise<number> {
  return untilNothing(async () => {
    const { passing, instances, silent } = await harbor.status(APP)
    const isAtRest = passing === wanted && instances.length === wanted && silent.length === 0
    return isAtRest ? null : `${passing} of ${wanted} pass, ${instances.length} are there`
  }, PATIENCE_MS)
}

/** Until each of these programs has answered. */
async function answeredBy(harbor: AppHarbor, pids: readonly number[]) {
  const missing = new Set(pids)
  while (missing.size > 0) {
    const { status, body } = await harbor.get()
    if (status === 200) missing.delete(JSON.parse(body).pid)
  }
}

function pidsOf({ instances }: { instances: Shown[] }): number[] {
  return instances.map(({ pid }) => pid).sort()
}

function keysOf({ instances }: { instances: Shown[] }): string[] {
  return instances.map(({ key }) => key).sort()
}

function placesOf({ instances }: { instances: Shown[] }): string[] {
  return instances.map(({ hostName }) => hostName).sort()
}

/**
 * A process that has this pid, where the kernel lets us choose the next one, and nobody else is quicker; any other
 * process otherwise.
 */
async function strangerWith(t: Test, pid: number) {
  let stranger: ChildProcess | null = null
  for (let attempt = 0; attempt < 20; attempt++) {
    const canChoose = await writeFile('/proc/sys/kernel/ns_last_pid', `${pid - 1}`).then(
      () => true,
      () => false
    )
    stranger = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' })
    await once(stranger, 'spawn')
    if (stranger.pid === pid || !canChoose) break
    if (attempt < 19) stranger.kill('SIGKILL')
  }
  const found = stranger as ChildProcess
  t.teardown(() => found.kill('SIGKILL'))
  return { stranger: found, isReused: found.pid === pid }
}

/** Has a host find this pid in the place of the one that it has recorded. */
async function replacePid(folder: string, from: number, to: number) {
  const path = `${folder}/instances/${APP}/0/state.json`
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace(`"pid":${from}`, `"pid":${to}`))
}
