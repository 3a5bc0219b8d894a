import { setTimeout as after } from 'node:timers/promises'
import type { Child } from '../child.js'
import type { PathKind } from '../paths/path.js'
import { plainRelay } from '../paths/relay.js'
import { type Row, record, type Stage } from '../stage.js'
import { Usage } from '../usage.js'

const BYTES_PER_MB = 1e6
const TIMEOUT_MS = 300_000
/** Connections before anything is counted: what a process needs to be at work at all. */
const WARM_UP_CONNECTIONS = 200
const WIDTH = 32
/** The bare pipe takes a minute and more for what the others do in seconds. */
const BASELINE_SHARE = 1 / 8
/** Until what finished handshakes and closed connections leave is collected. */
const SETTLE_MS = 12_000
const ENDS = ['near', 'far'] as const

/** What each process holds: fresh, after a lot of bytes, and after a lot of connections. */
export const memory: Row = {
  name: 'memory',
  title: 'Memory (RSS)',
  isList: true,
  metrics: Object.fromEntries(
    ENDS.flatMap((end) => [
      [`${end}Before`, { title: `${end} end, at first`, unit: 'MiB', better: 'less' }],
      [`${end}Bulk`, { title: `${end} end, most while bytes pass`, unit: 'MiB', better: 'less' }],
      [`${end}AfterBulk`, { title: `${end} end, after them`, unit: 'MiB', better: 'less' }],
      [`${end}Crowd`, { title: `${end} end, most with connections`, unit: 'MiB', better: 'less' }],
      [`${end}After`, { title: `${end} end, in the end`, unit: 'MiB', better: 'less' }]
    ])
  ),

  async run(stage) {
    const { memory, memoryConnections } = stage.options.size
    const baseline = Math.round(BASELINE_SHARE * 100)
    stage.results.note(
      `Memory: once, in fresh processes; ${memory} MB, half each way, and then ${memoryConnections} connections; ` +
        `the bare pipe ${baseline} % of each`
    )
    for (const { kind, near } of stage.standing) {
      if (near.child && kind !== plainRelay) await measure(stage, kind)
    }
  }
}

async function measure(stage: Stage, kind: PathKind) {
  const { island, options, backend } = stage
  const share = kind.name === 'bare pipe' ? BASELINE_SHARE : 1
  const path = await kind.open(island, backend.port)
  const near = await path.near()
  const load = async (name: string, ...args: (string | number)[]) => {
    await island.actor(name, [near.port, ...args]).report(TIMEOUT_MS)
  }
  await load('load-echo', WARM_UP_CONNECTIONS, WIDTH)

  const gauge = new Gauge(near.child, path.far)
  gauge.read('Before', 'rss')
  const bytes = (options.size.memory * share * BYTES_PER_MB) / 2
  await load('load-bulk', 'up', bytes)
  await load('load-bulk', 'down', bytes)
  gauge.read('Bulk', 'peak')
  gauge.read('AfterBulk', 'rss')
  await load('load-echo', options.size.memoryConnections * share, WIDTH)
  gauge.read('Crowd', 'peak')
  await after(SETTLE_MS * options.size.patience)
  gauge.read('After', 'rss')
  record(stage, memory, kind, gauge.values)

  await near.stop()
  await path.close()
}

/** Reads the memory of both ends. */
class Gauge {
  readonly values: Record<string, number> = {}
  readonly #usages: (Usage | null)[]

  constructor(...ends: (Child | null)[]) {
    this.#usages = ends.map((child) => child && new Usage(child.pid))
    for (const usage of this.#usages) usage?.resetPeak()
  }

  /** A peak is read as of the last reading of one. */
  read(moment: string, what: 'rss' | 'peak') {
    for (const [i, end] of ENDS.entries()) {
      this.values[`${end}${moment}`] = this.#usages[i]?.[what] ?? Number.NaN
      if (what === 'peak') this.#usages[i]?.resetPeak()
    }
  }
}
