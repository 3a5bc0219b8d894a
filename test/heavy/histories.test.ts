import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import type { AppStatus } from '../../lib/index.js'
import { randomFrom } from '../random.js'
import { noHosts } from './hosts.js'
import { IDLE, Machines } from './machines.js'
import type { Marked } from './marked.js'
import { live, wish } from './misfortunes.js'
import { atRest, PATIENCE_MS, placesOf } from './rest.js'
import { untilNothing } from './until.js'
import { overlapsIn, writersOf, writerTo } from './writers.js'

/** `HISTORIES=100 HISTORY_SEED=7` by hand. The seed is printed; the same one makes the same choices. */
const HISTORIES = Number(process.env.HISTORIES ?? 2)
const SEED = Number(process.env.HISTORY_SEED ?? Date.now() % 1_000_000)
const NAMES = ['one', 'two', 'three']
/** More than there are machines, so that their ranks decide who has two. */
const INSTANCES = 4
const MAX_INSTANCES = 6
const BOTH = { crew: INSTANCES, ledger: 1 }
const WANTED = 3
/** Whoever had still something to do would have begun by then, in ms. */
const REST_MS = 1500
/** What is promised, in ms. */
const APP_PROMISE_MS = 2000
const MACHINE_PROMISE_MS = 15_000
/** For all of one history, on a slow machine. */
const HISTORY_MS = 120_000

t.setTimeout((HISTORIES + 1) * HISTORY_MS)

t.test(
  `${HISTORIES} random histories of machines and networks end with as many instances as are wanted, each in its place, and of a single app two never run at once`,
  { skip: noHosts },
  async (t) => {
    t.comment(`HISTORY_SEED=${SEED}`)
    const random = randomFrom(SEED)
    const machines = await Machines.make(t, NAMES)
    const ledger = join(machines.home, 'writes')
    const crew = {
      name: 'crew',
      version: '1.0.0',
      port: false,
      instances: INSTANCES,
      command: IDLE
    }
    const single = { name: 'ledger', version: '1.0.0', place: { single: true } }
    await machines.ask('run', machines.app(crew))
    await machines.ask('run', machines.app(single, writerTo(ledger)))
    await atRest(machines, BOTH)
    const places = await placesOf(machines)
    const wishes = [
      async () => {
        const wanted = 1 + Math.floor(random() * MAX_INSTANCES)
        return wish(machines, 'scale', ['crew', wanted], `scaled to ${wanted}`)
      },
      () => wish(machines, 'restart', 'crew', 'restarted')
    ]
    for (let i = 0; i < HISTORIES; i++) {
      const told = await live(machines, random, { app: 'crew', wishes })
      machines.heal()
      await machines.bringUp()
      await machines.ask('scale', ['crew', INSTANCES])
      t.comment(told.join(', '))
      const took = await atRest(machines, BOTH, { places })
      t.comment(`at rest after ${Math.round(took)} ms, each where it was`)
      await setTimeout(REST_MS)
      t.same(await placesOf(machines), places, 'and so it stays')
      t.same(await overlapsIn(ledger), [], 'no two writers at once')
    }
    t.comment(`${(await writersOf(ledger)).length} writers`)
    await Promise.all(['crew', 'ledger'].map((app) => machines.ask('scale', [app, 0])))
    await untilNothing(async () => {
      const left = await machines.running()
      return left.length === 0 ? null : `${left.length} are left`
    }, PATIENCE_MS)
  }
)

t.test(
  'an app that is killed passes again within 2 s; a machine that dies with all that it runs is made up for elsewhere within 15 s, and no other instance changes its pid; when it is back, all are where they were',
  { skip: noHosts },
  async (t) => {
    const names = [...NAMES, 'four']
    const machines = await Machines.make(t, names, { registrars: ['one'], isQuick: false })
    const app = { name: 'crew', version: '1.0.0', port: false, instances: WANTED, command: IDLE }
    await machines.ask('run', machines.app(app))
    await atRest(machines, { crew: WANTED })
    const places = await placesOf(machines)
    const victim = places.find((name) => name !== 'one') ?? ''
    const [first] = await onOf(machines, victim)
    process.kill(first?.pid ?? 0, 'SIGKILL')
    const crashed = await untilNothing(async () => {
      const [again] = await onOf(machines, victim)
      if (!again || again.pid === first?.pid) return 'it does not run'
      const { instances } = await machines.ask<AppStatus>('status', 'crew')
      const isPassing = instances.some(({ pid, state }) => pid === again.pid && state === 'passing')
      return isPassing ? null : 'it does not pass'
    }, APP_PROMISE_MS)
    t.comment(`killed with -9, and passing again ${Math.round(crashed)} ms after`)

    const others = pidsOf(await machines.running(), victim)
    machines.divide(names.filter((name) => name !== victim))
    await machines.kill(victim)
    const lost = await atRest(machines, { crew: WANTED }, { patience: MACHINE_PROMISE_MS })
    t.comment(`a machine dead, and ${WANTED} pass elsewhere ${Math.round(lost)} ms after`)
    const kept = pidsOf(await machines.running(), victim).filter((pid) => others.includes(pid))
    t.same(kept, others, 'no other instance changed its pid')

    machines.heal()
    let most = 0
    const back = machines.startHost(victim)
    const took = await untilNothing(async () => {
      const running = await machines.running()
      most = Math.max(most, running.length)
      const now = running.map(({ env }) => `${env.APP_HOST}`).sort()
      return `${now}` === `${places}` ? null : `they are on ${now}`
    }, PATIENCE_MS)
    await back
    await atRest(machines, { crew: WANTED })
    t.comment(`back, and all where they were ${Math.round(took)} ms after`)
    t.ok(most <= WANTED + 1, `at most ${most} ran`)
    t.same(await placesOf(machines), places)
  }
)

/** The instances on one machine. */
async function onOf(machines: Machines, name: string): Promise<Marked[]> {
  return (await machines.running()).filter(({ env }) => env.APP_HOST === name)
}

/** The pids of all that run elsewhere. */
function pidsOf(running: readonly Marked[], except: string): number[] {
  const others = running.filter(({ env }) => env.APP_HOST !== except)
  return others.map(({ pid }) => pid).sort()
}
