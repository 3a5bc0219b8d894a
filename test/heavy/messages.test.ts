import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { Consumer, KeyPair, type PortlessEntry, Registry } from '../../lib/index.js'
import { restWhile } from '../rest.js'
import { Testbed } from '../testbed.js'
import { slowness } from '../watchdog.js'
import { type Child, start } from './fixtures/child.js'
import type { Heard, ListenerArguments } from './fixtures/listener.js'
import type { AgentArguments, AgentReport } from './fixtures/talker.js'

t.setTimeout(200_000)

/** Calls per second while instances come and go. */
const RATE = 500
const TICK_MS = 5
/** How long calls go on before and after one dies, in ms. */
const AROUND_MS = 1000
const ROUNDS = Number(process.env.MESSAGES_ROUNDS ?? 5)
/** In which who waits on a link that is lost is told so, in ms. */
const LOST_MS = 1000

interface Agent {
  key: string
}

/** A registry, an agent for each role, and who talks with them; agents are processes of their own. */
async function harbor(t: Test, roles: (Partial<AgentArguments> & { role: string })[]) {
  const testbed = await Testbed.make(t)
  const { bootstrap } = testbed
  const seed = KeyPair().publicKey
  const registry = Registry({ seed, dir: await testbed.dir(), bootstrap, private: false })
  t.teardown(() => registry.destroy())
  await registry.setup()
  const where = { registryPublicKey: registry.registryPublicKey, bootstrap }
  const done = `${await testbed.dir()}/done`
  const dirs: string[] = []
  const add = async (options: Partial<AgentArguments> & { role: string }) => {
    const dir = options.dir ?? (await testbed.dir())
    if (options.dir === undefined) dirs.push(dir)
    const terms: AgentArguments = { ...where, done, ...options, dir }
    return start<Agent>(t, 'talker.js', [JSON.stringify(terms)], { kill: true })
  }
  const agents: Child<Agent>[] = []
  for (const role of roles) agents.push(await add(role))
  const consumer = Consumer(['agent@1.x'], { ...where, dir: await testbed.dir(), listen: false })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const count = roles.filter(({ role }) => role.startsWith('agent@')).length
  await restWhile(() => entry.instances().length < count)
  const listener = async (options: Partial<ListenerArguments>) => {
    const terms = { ...where, dir: await testbed.dir(), count: 1, ...options }
    return start(t, 'listener.js', [JSON.stringify(terms)], { kill: true })
  }
  const doneBy = () => readFileSync(done, 'utf8').trim().split('\n')
  return { agents, add, entry, listener, dirs, doneBy }
}

const agent = { role: 'agent@1.0.0' }
const failed = (sent: Promise<unknown>) =>
  sent.then(
    () => {
      throw new Error('it was answered')
    },
    (error: SeaportError) => error
  )

t.test('ten thousand sends in flight to three processes, each its own answer', async (t) => {
  const { entry } = await harbor(t, [agent, agent, agent])
  const pids = await Promise.all(Array.from({ length: 30 }, () => entry.send('pid')))
  t.equal(new Set(pids).size, 3, 'all three have their share')
  const options = { timeout: 60_000 }
  const all = Array.from({ length: 10_000 }, (_, i) => entry.send('echo', { i }, options))
  const answers = await Promise.all(all)
  t.ok(answers.every(({ i }, k) => i === k))
})

t.test(
  'a handler that fails, hangs, returns garbage or dies: each caller is told what',
  async (t) => {
    const { entry, agents } = await harbor(t, [agent])
    const [first] = agents as [Child<Agent>]
    t.match(await failed(entry.send('fail')), {
      code: 'COMMAND_FAILED',
      executed: 'yes',
      handlerCode: 'ECANNOT'
    })
    for (const [name, code] of Object.entries({
      big: 'BAD_OUTPUT',
      cycle: 'BAD_OUTPUT',
      huge: 'TOO_LARGE'
    })) {
      t.match(await failed(entry.send(name)), { code, executed: 'yes' }, name)
    }

    const delays = monitorEventLoopDelay({ resolution: 1 })
    delays.enable()
    let since = performance.now()
    t.match(await failed(entry.send('hang', null, { timeout: 300 })), {
      code: 'DEADLINE',
      executed: 'perhaps'
    })
    let took = performance.now() - since
    delays.disable()
    const late = 350 + (5 * delays.max) / 1e6
    t.ok(took >= 300 && took <= late, `the deadline of 300 ms came after ${took} ms of ${late}`)

    process.kill(first.pid, 'SIGSTOP')
    since = performance.now()
    const frozen = await failed(entry.send('hang', null, { timeout: 700 }))
    took = performance.now() - since
    process.kill(first.pid, 'SIGCONT')
    t.match(frozen, { code: 'DEADLINE', executed: 'perhaps' })
    t.ok(took >= 700, 'who freezes is waited for until the deadline')

    const before = await first.ask<AgentReport>('report')
    const hanging = Array.from({ length: 50 }, () => failed(entry.send('hang')))
    while ((await first.ask<AgentReport>('report')).hanging < before.hanging + 50);
    since = performance.now()
    await first.kill('SIGKILL')
    for (const error of await Promise.all(hanging)) {
      t.match(error, { code: 'LINK_LOST', executed: 'perhaps' })
    }
    took = performance.now() - since
    t.ok(took < LOST_MS || took < LOST_MS * slowness(), `all were told after ${took} ms`)
  }
)

t.test('a caller that dies ends its handlers within a second', async (t) => {
  const { agents, listener } = await harbor(t, [agent])
  const [first] = agents as [Child<Agent>]
  const caller = await listener({ calls: true })
  while ((await first.ask<AgentReport>('report')).hanging < 1);
  const since = performance.now()
  await caller.kill('SIGKILL')
  while ((await first.ask<AgentReport>('report')).aborted < 1);
  const took = performance.now() - since
  t.ok(took < LOST_MS || took < LOST_MS * slowness(), `it was told after ${took} ms`)
})

t.test('deadlines shrink from A by B to C', async (t) => {
  const { entry } = await harbor(t, [{ role: 'last@1.0.0' }, { ...agent, next: 'last@1.x' }])
  // Links are made first.
  await entry.send('ask', null, { timeout: 20_000 })
  const timeout = 300 * slowness() + 200
  const left: number = await entry.send('ask', null, { timeout })
  t.ok(left > 0 && left <= timeout - 99, `of ${timeout} ms C had ${left} after B had used 100`)
})

/** Calls at a fixed rate, whatever becomes of the calls before, until it is told to stop. */
function callAt(rate: number, entry: PortlessEntry, idempotent: boolean) {
  const calls: Promise<SeaportError | null>[] = []
  const startedAt = performance.now()
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * rate
    while (calls.length < due) {
      const sent = entry.send('work', calls.length, { idempotent, timeout: 30_000 })
      calls.push(
        sent.then(
          () => null,
          (error) => error
        )
      )
    }
  }, TICK_MS)
  return async () => {
    clearInterval(timer)
    return Promise.all(calls)
  }
}

for (const idempotent of [true, false]) {
  const what = idempotent
    ? 'fails no idempotent call'
    : 'fails only those in flight there, and has none run twice'
  t.test(`kill -9 of one of two instances ${what}`, async (t) => {
    const { entry, agents, doneBy } = await harbor(t, [agent, agent])
    const stop = callAt(RATE, entry, idempotent)
    await setTimeout(AROUND_MS)
    await agents[0]?.kill('SIGKILL')
    await setTimeout(AROUND_MS)
    const outcomes = await stop()
    const errors = outcomes.filter((error) => error !== null)
    t.comment(`${errors.length} of ${outcomes.length} failed`)
    if (idempotent) {
      t.same(errors, [])
      return
    }
    for (const error of errors) t.match(error, { code: 'LINK_LOST', executed: 'perhaps' })
    // With 5 ms each, a few are in flight at a time.
    t.ok(errors.length < outcomes.length / 5)
    const ids = doneBy()
    t.equal(new Set(ids).size, ids.length, 'none ran twice')
    const ran = new Set(ids)
    const answered = outcomes.flatMap((error, id) => (error === null ? [`${id}`] : []))
    t.ok(answered.every((id) => ran.has(id)))
  })
}

t.test(`${ROUNDS} rounds of rolling restarts fail no call`, async (t) => {
  const { entry, add, agents: running, dirs, doneBy } = await harbor(t, [agent, agent])
  const stop = callAt(RATE / 2, entry, false)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, dir] of dirs.entries()) {
      await running[i]?.kill('SIGTERM')
      running[i] = await add({ ...agent, dir })
    }
  }
  const outcomes = await stop()
  t.same(
    outcomes.filter((error) => error !== null),
    []
  )
  const ids = doneBy()
  t.equal(ids.length, outcomes.length)
  t.equal(new Set(ids).size, ids.length, 'each ran once')
})

t.test(
  'of a hundred who hear events one stalls: it is told what it lost, and the others lose nothing',
  async (t) => {
    const { agents, listener } = await harbor(t, [agent])
    const [first] = agents as [Child<Agent>]
    const [good, stalled] = [await listener({ count: 99 }), await listener({})]
    await first.ask('emit', { count: 1, bytes: 10, atOnce: 1 })
    const heardBy = async (child: Child<unknown>, last: number): Promise<Heard[]> => {
      for (;;) {
        const heard = await child.ask<Heard[]>('heard')
        if (heard.every((one) => one.last >= last)) return heard
      }
    }
    await heardBy(stalled, 1)
    process.kill(stalled.pid, 'SIGSTOP')
    // Of 200 KB each, which wait for whoever reads.
    const [rounds, each] = [20, 100]
    const count = rounds * each
    // No faster than those who read can: they share this machine.
    for (let round = 1; round <= rounds; round++) {
      await first.ask('emit', { count: each, bytes: 2000, atOnce: 10 })
      await heardBy(good, 1 + round * each)
    }
    for (const { events, missed, odd } of await heardBy(good, count + 1)) {
      t.strictSame({ events, missed, odd }, { events: count + 1, missed: 0, odd: 0 })
    }
    process.kill(stalled.pid, 'SIGCONT')
    // What was missed is told with the next one.
    await first.ask('emit', { count: 1, bytes: 10, atOnce: 1 })
    const [{ events, missed, odd } = { events: 0, missed: 0, odd: 1 }] = await heardBy(
      stalled,
      count + 2
    )
    t.equal(odd, 0)
    t.equal(events + missed, count + 2)
    t.ok(missed > 0, `${missed} were lost`)
  }
)
