/** `npm run bench:scale`: what a registry costs, and how that grows. Usage: node dist/bench/scale.js [records,…] */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Child, stopAll } from './child.js'
import { Island } from './island.js'
import { describe, thisMachine } from './machine.js'
import { type Metric, Results } from './results.js'
import { percentile } from './statistics.js'
import { tables } from './tables.js'
import { Usage } from './usage.js'

const OUT = resolve(import.meta.dirname, '../../bench/results/scale.json')
const SIZES = (process.argv[2] ?? '1000,10000,100000').split(',').map(Number)
if (!SIZES.every((size) => size > 0)) {
  console.error('Usage: npm run bench:scale -- [records,…], as in 1000,10000')
  process.exit(2)
}
const IN_FLIGHT = 32
/** Registered one by one afterwards, while another process watches. */
const SINGLES = 500
const TIMEOUT_MS = 300_000

const METRICS: Record<string, Metric> = {
  rate: { title: `registrations, ${IN_FLIGHT} in flight`, unit: '1/s', better: 'more' },
  p50: { title: 'registration, p50', unit: 'ms', better: 'less' },
  p99: { title: 'registration, p99', unit: 'ms', better: 'less' },
  rss: { title: 'registrar, memory', unit: 'MiB', better: 'less' },
  ready: { title: "newcomer's directory ready", unit: 'ms', better: 'less' },
  first: { title: 'first resolve of a role of 100', unit: 'µs', better: 'less' },
  resolve: { title: 'resolve, p50', unit: 'µs', better: 'less' },
  restart: { title: 'registrar killed and started → found', unit: 'ms', better: 'less' },
  visible50: { title: 'one more is visible at another process, p50', unit: 'ms', better: 'less' },
  visible99: { title: 'one more is visible at another process, p99', unit: 'ms', better: 'less' },
  verify: { title: 'one signature verified on this machine', unit: 'µs', better: 'less' }
}

const machine = thisMachine()
console.log(describe(machine))
const results = new Results()
try {
  for (const size of SIZES) await measure(size)
} catch (error) {
  results.note((error as Error).message)
  process.exitCode = 1
}
console.log(`\n${tables('Records', results.of('scale'), [])}`)
for (const note of results.notes) console.log(`\n${note}`)
mkdirSync(dirname(OUT), { recursive: true })
const report = {
  date: new Date().toISOString(),
  machine,
  results: results.all(),
  notes: results.notes
}
writeFileSync(OUT, `${JSON.stringify(report, null, 2)}\n`)
await stopAll()
process.exit()

async function measure(size: number) {
  const take = (values: Record<string, number>) => {
    for (const [metric, about] of Object.entries(METRICS)) {
      const value = values[metric]
      if (value !== undefined) results.add('scale', `${size}`, metric, value, about)
    }
  }
  const island = await Island.make(null)
  const where = [island.bootstrap, island.registryPublicKey]
  const lessee = island.actor('lessee', [...where, size, IN_FLIGHT, SINGLES])
  await lessee.waitForLine('ready', TIMEOUT_MS)
  lessee.write('go\n')
  take(await lessee.report<Record<string, number>>(TIMEOUT_MS))
  take({ rss: new Usage(island.registry.pid).rss })
  const newcomer = island.actor('newcomer', [...where, island.folder(), size])
  take(await newcomer.report<Record<string, number>>(TIMEOUT_MS))
  take(await visible(island, lessee))
  const start = performance.now()
  await island.restartRegistry()
  take({ restart: performance.now() - start })
  await stopAll()
}

async function visible(island: Island, lessee: Child): Promise<Record<string, number>> {
  const where = [island.bootstrap, island.registryPublicKey]
  const watcher = island.actor('watcher', [...where, island.folder()])
  await watcher.waitForLine('watching', TIMEOUT_MS)
  lessee.write('go\n')
  const moments = JSON.parse(await lessee.waitForLine('moments=', TIMEOUT_MS)) as [string, number][]
  watcher.finish()
  const seen = await watcher.report<{ key: string; at: number }[]>()
  const seenAt = new Map(seen.map(({ key, at }) => [key, at]))
  const times = moments.map(([key, at]) => (seenAt.get(key) ?? Number.POSITIVE_INFINITY) - at)
  return { visible50: percentile(times, 0.5), visible99: percentile(times, 0.99) }
}
