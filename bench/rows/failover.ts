import { setTimeout as after } from 'node:timers/promises'
import type { Child } from '../child.js'
import type { PathKind } from '../paths/path.js'
import { SeaportPath } from '../paths/seaport.js'
import { type Row, record, type Stage } from '../stage.js'

const RATE = 200
const HELD = 20
const BEFORE_MS = 2000
/** Longer than it takes until a silent link is given up. */
const AFTER_MS = { SIGKILL: 5000, SIGSTOP: 14_000 }
const TIMEOUT_MS = 60_000

interface Report {
  requests: [start: number, took: number, error: string | null][]
  held: { name: string; lives: boolean }[]
}

interface Scene {
  path: SeaportPath
  load: Child
  /** Each instance's backend is called by its index. */
  instances: Child[]
  close(): Promise<void>
}

/** Two instances under new connections, of which one dies, falls silent, or is restarted in order. */
export const failover: Row = {
  name: 'failover',
  title: `Failover: two instances, ${RATE} new connections/s of 10 ms each, ${HELD} held open`,
  metrics: Object.fromEntries(
    [
      ['kill', 'kill -9'],
      ['stop', 'SIGSTOP'],
      ['rolling', 'rolling restarts']
    ].flatMap(([id, title]) => [
      [`${id}Requests`, { title: `${title}: connections`, unit: '', better: 'more' }],
      [
        `${id}FailedOpen`,
        { title: `${title}: failed, open at the time`, unit: '', better: 'less' }
      ],
      [`${id}FailedNew`, { title: `${title}: failed, begun after it`, unit: '', better: 'less' }],
      [`${id}Longest`, { title: `${title}: longest`, unit: 'ms', better: 'less' }],
      [`${id}Harmed`, { title: `${title}: held on the other, cut`, unit: '', better: 'less' }]
    ])
  ),

  async run(stage) {
    const kinds = stage.kinds.filter(({ isBaseline }) => !isBaseline)
    stage.results.note(
      'Failover: no baselines, since none of them knows a second instance. Rolling restarts: all rounds of one run'
    )
    for (const kind of kinds) {
      for (let run = 0; run < stage.options.runs; run++) {
        await strike(stage, kind, 'SIGKILL')
        await strike(stage, kind, 'SIGSTOP')
      }
      await roll(stage, kind)
    }
  }
}

/** One of the two gets a signal and is not heard of again. */
async function strike(stage: Stage, kind: PathKind, signal: 'SIGKILL' | 'SIGSTOP') {
  const scene = await set(stage, kind)
  await after(BEFORE_MS)
  const at = Date.now()
  scene.instances[0]?.signal(signal)
  await after(AFTER_MS[signal] * stage.options.size.patience)
  const { requests, held } = await finish(scene)
  const id = signal === 'SIGKILL' ? 'kill' : 'stop'
  const failed = requests.filter(([, , error]) => error !== null)
  record(stage, failover, kind, {
    [`${id}Requests`]: requests.length,
    [`${id}FailedOpen`]: failed.filter(([start]) => start <= at).length,
    [`${id}FailedNew`]: failed.filter(([start]) => start > at).length,
    [`${id}Longest`]: longest(requests.filter(([start]) => start > at)),
    [`${id}Harmed`]: held.filter(({ name, lives }) => name === '1' && !lives).length
  })
  for (const [start, took, error] of failed.filter(([start]) => start > at).slice(0, 1)) {
    stage.results.note(
      `${kind.name}, ${signal}: one begun ${start - at} ms after it failed after ${Math.round(took)} ms: ${error}`
    )
  }
  await scene.close()
}

/** Each in turn is told to stop, and started again. Nothing is held open: that would end with the drain. */
async function roll(stage: Stage, kind: PathKind) {
  const scene = await set(stage, kind, 0)
  await after(BEFORE_MS)
  let { instances } = scene
  for (let round = 0; round < stage.options.size.rounds; round++) {
    const restarted: Child[] = []
    for (const instance of instances) restarted.push(await scene.path.restart(instance))
    instances = restarted
  }
  const { requests } = await finish(scene)
  const failed = requests.filter(([, , error]) => error !== null)
  record(stage, failover, kind, {
    rollingRequests: requests.length,
    rollingFailedNew: failed.length,
    rollingLongest: longest(requests)
  })
  const [first] = failed
  if (first) stage.results.note(`${kind.name}, rolling restarts: a failure was ${first[2]}`)
  await scene.close()
}

async function set({ island }: Stage, kind: PathKind, held = HELD): Promise<Scene> {
  const one = await island.backend('0')
  const other = await island.backend('1')
  const path = await kind.open(island, one.port)
  if (!(path instanceof SeaportPath) || !path.far) throw new Error(`${kind.name} has no instances`)
  const instances = [path.far, await path.service(other.port)]
  const near = await path.near()
  const load = island.actor('load-steady', [near.port, RATE, held])
  await load.waitForLine('loaded')
  return {
    path,
    load,
    instances,
    async close() {
      await near.stop()
      // One that was stopped hears nothing else.
      await path.close('SIGKILL')
      await Promise.all([one, other].map(({ child }) => child.stop()))
    }
  }
}

async function finish({ load }: Scene): Promise<Report> {
  load.finish()
  return load.report<Report>(TIMEOUT_MS)
}

function longest(requests: Report['requests']): number {
  return Math.max(0, ...requests.map(([, took]) => took))
}
