import { createHash } from 'node:crypto'
import { EventEmitter, on } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Consumer, type PortlessEntry } from '../../lib/index.js'
import type { StateEntry } from '../../lib/messaging/state/state.js'
import { keepProcessKey } from '../../lib/registry/log/own-keys.js'
import { Cli } from '../bin/cli.js'
import { inTime } from '../watchdog.js'
import type { AgentArguments, Step, Ticks } from './fixtures/agent.js'
import { type Child, start } from './fixtures/child.js'

const ROUNDS = 5
const CALLS_MS = 5
const WRITES_MS = 20
const BETWEEN_MS = 800
const STEPS: readonly Step[] = ['takeover', 'snapshot', 'ready', 'over', 'taken']
const SERVES_MS = 3000

t.setTimeout(240_000)

/** A registry, agents in processes of their own, and a consumer who may write their state. */
async function harbor(t: Test) {
  const cli = new Cli(t)
  const bootstrap = await cli.island()
  const { registryPublicKey } = cli.seed()
  await cli.start(['registry', '--dir', cli.path('registrar')]).waitForLine('registryPublicKey=')
  const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-test-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const own = join(folder, 'consumer')
  const { publicKey } = await keepProcessKey(Buffer.from(registryPublicKey, 'hex'), own)
  const dir = join(folder, 'agents')
  const agent = (version: number, how: Pick<AgentArguments, 'takeOver' | 'dieAt'>) => {
    const options: AgentArguments = {
      registryPublicKey,
      bootstrap,
      dir,
      role: `agent@${version}.0.0`,
      // A key of its own.
      name: `v${version}`,
      writers: [publicKey.toString('hex')],
      ...how
    }
    return start<object>(t, './agent.js', [JSON.stringify(options)])
  }
  const consume = async () => {
    const consumer = Consumer(['agent'], { registryPublicKey, bootstrap, dir: own, listen: false })
    t.teardown(() => consumer.destroy())
    const [entry] = await consumer.setup()
    return entry
  }
  return { agent, consume }
}

/** Calls and writes on and on, and notes what became of it. */
function load(entry: PortlessEntry) {
  const failures: string[] = []
  const written = new Map<string, number>()
  let calls = 0
  let writes = 0
  const events = new EventEmitter()
  let isOver = false
  const call = async () => {
    const n = ++calls
    try {
      if ((await entry.send('echo', n)) !== n) failures.push('another answer')
      events.emit('call', performance.now(), n)
    } catch (error) {
      failures.push((error as Error).message)
    }
  }
  const write = async () => {
    const n = ++writes
    // Each has a name of its own: one that was slow does not overwrite a later one.
    const name = `n${n}`
    try {
      await entry.state.set(name, n, { timeout: 2000 })
      written.set(name, n)
      events.emit('write', performance.now(), n)
    } catch {
      // Whoever is handing over refuses: nothing was written then.
    }
  }
  const nextOf = async (name: string, after: number) => {
    for await (const [at, n] of on(events, name)) if (n > after) return at as number
    throw new Error('it never ends')
  }
  const timers = [
    setInterval(() => isOver || void call(), CALLS_MS),
    setInterval(() => isOver || void write(), WRITES_MS)
  ]
  return {
    failures,
    written,
    get calls() {
      return calls
    },
    /** When one succeeds that begins only now. */
    nextCall: () => nextOf('call', calls),
    nextWrite: () => nextOf('write', writes),
    stop() {
      isOver = true
      for (const timer of timers) clearInterval(timer)
    }
  }
}

/** What was acknowledged is there. */
function isWhole(t: Test, written: Map<string, number>, entries: readonly StateEntry[]) {
  const values = new Map(entries.map(({ name, value }) => [name, value]))
  const lost = [...written].filter(([name, n]) => values.get(name) !== n)
  t.same(lost, [], `${written.size} names, none is lost`)
}

function hashOf(entries: readonly StateEntry[]): string {
  const lines = entries.map(({ name, rev, value }) => JSON.stringify([name, rev, value])).sort()
  return createHash('sha256').update(lines.join('\n')).digest('hex')
}

t.test(`${ROUNDS} swaps under load lose no call, no event and no state`, async (t) => {
  const { agent, consume } = await harbor(t)
  let running = await agent(1, {})
  await running.ask('setup')
  const entry = await consume()
  const ticks = new Map<string, number[]>()
  let missed = 0
  entry.events.on('TICK', ({ n }, origin) => {
    missed += origin.missed
    ticks.set(origin.instance, [...(ticks.get(origin.instance) ?? []), n])
  })
  await entry.events.ready()
  await entry.state.ready()
  const work = load(entry)
  await setTimeout(BETWEEN_MS)
  for (let round = 1; round <= ROUNDS; round++) {
    const next = await agent(round + 1, { takeOver: true })
    await next.ask('setup')
    await running.ask('left')
    const { key, count, hasMoved } = await running.ask<Ticks>('ticks')
    t.ok(hasMoved, `round ${round}: it was told`)
    const heard = ticks.get(key) ?? []
    const first = round === 1 ? (heard[0] as number) : 1
    const all = Array.from({ length: count - first + 1 }, (_, i) => first + i)
    t.same(heard, all, `round ${round}: each of ${count} events, once and in order`)
    ticks.delete(key)
    running = next
    await setTimeout(BETWEEN_MS)
  }
  work.stop()
  await setTimeout(500)
  t.same(work.failures, [], `none of ${work.calls} calls failed`)
  t.equal(missed, 0)
  const entries = await running.ask<StateEntry[]>('state')
  isWhole(t, work.written, entries)
  t.match(entries[0], { term: ROUNDS + 1 })
  t.equal(hashOf(await entry.state.entries()), hashOf(entries), 'copies are what the owner has')
})

t.test(
  'killed in any step of a swap: one of the two serves within 3 s, and the state is whole',
  async (t) => {
    const { agent, consume } = await harbor(t)
    let version = 1
    let running: Child<object> = await agent(version, { dieAt: STEPS[0] })
    await running.ask('setup')
    const entry = await consume()
    await entry.state.ready()
    const work = load(entry)
    await setTimeout(BETWEEN_MS)
    for (const [i, step] of STEPS.entries()) {
      const next = await agent(++version, { takeOver: true, dieAt: STEPS[i + 1] })
      const setup = next.ask('setup')
      await running.exited
      const diedAt = performance.now()
      const [call, write] = await Promise.all([work.nextCall(), work.nextWrite()])
      const took = Math.max(call, write) - diedAt
      t.ok(inTime(took, SERVES_MS), `${step}: it serves after ${Math.round(took)} ms`)
      await setup
      // Before it is asked: what is acknowledged while its answer comes is not in that.
      const written = new Map(work.written)
      isWhole(t, written, await next.ask<StateEntry[]>('state'))
      running = next
      await setTimeout(BETWEEN_MS)
    }
    work.stop()
    const again = await agent(STEPS.length, {})
    await again.ask('setup')
    const kept = await again.ask<StateEntry[]>('state')
    t.same(kept, [], 'who comes back does not go on with what was given away')
  }
)

for (const isListed of [true, false]) {
  const when = isListed ? 'is in the directory' : 'has lost its lease'
  t.test(`one that is frozen and ${when} is gone on for, and yields when it returns`, async (t) => {
    const { agent, consume } = await harbor(t)
    const frozen = await agent(1, {})
    await frozen.ask('setup')
    const entry = await consume()
    await entry.state.set('before', 1)
    process.kill(frozen.pid, 'SIGSTOP')
    t.teardown(() => process.kill(frozen.pid, 'SIGCONT'))
    while (!isListed && entry.instances().length > 0) await setTimeout(20)
    const next = await agent(2, { takeOver: true })
    await next.ask('setup')
    const key = await next.ask<string>('key')
    const entries = await next.ask<StateEntry[]>('state')
    t.match(entries, [{ name: 'before', value: 1, term: 2, owner: key }])
    process.kill(frozen.pid, 'SIGCONT')
    await frozen.ask('moved')
    await frozen.ask('left')
    t.equal(await entry.state.set('after', 2, { instance: key }), 2)
    t.match(await entry.state.entries({ instance: key }), [
      { name: 'after', value: 2, stale: false },
      { name: 'before', value: 1, stale: false }
    ])
  })
}
