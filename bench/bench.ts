/** `npm run bench`: measures hyperseaport next to what else one could use. See bench/README.md. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { stopAll } from './child.js'
import { Island } from './island.js'
import { describe, thisMachine } from './machine.js'
import { readOptions } from './options.js'
import { barePipe } from './paths/bare-pipe.js'
import { direct } from './paths/direct.js'
import { nginx } from './paths/nginx.js'
import type { PathKind } from './paths/path.js'
import { plainRelay } from './paths/relay.js'
import { seaportDirect, seaportUdx } from './paths/seaport.js'
import { ssh } from './paths/ssh.js'
import { Results } from './results.js'
import { browsers } from './rows/browsers.js'
import { bulk } from './rows/bulk.js'
import { crowd } from './rows/crowd.js'
import { failover } from './rows/failover.js'
import { gateway } from './rows/gateway.js'
import { gatewayMemory } from './rows/gateway-memory.js'
import { keepAlive, perRequest } from './rows/http.js'
import { idle } from './rows/idle.js'
import { latency } from './rows/latency.js'
import { mail } from './rows/mail.js'
import { memory } from './rows/memory.js'
import { MESSAGE_BASELINES, messages } from './rows/messages.js'
import { visible } from './rows/visible.js'
import { type Row, type Stage, stand } from './stage.js'
import { format, tables } from './tables.js'
import { targetsOf } from './targets.js'

const ROOT = resolve(import.meta.dirname, '../..')
const KINDS: PathKind[] = [direct, barePipe, ssh, plainRelay, seaportUdx, seaportDirect]
const BASELINES: string[] = [
  ...[...KINDS, nginx].filter(({ isBaseline }) => isBaseline).map(({ name }) => name),
  ...MESSAGE_BASELINES
]
/** The first five share their paths; the others open their own. What leaves dead peers behind
 * comes last: they are looked for a while, which counts as packets. */
const ROWS: Row[] = [
  keepAlive,
  perRequest,
  bulk,
  crowd,
  latency,
  gateway,
  gatewayMemory,
  messages,
  mail,
  browsers,
  visible,
  idle,
  memory,
  failover
]

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129]
] as const) {
  // Everything that we started dies in our exit.
  process.once(signal, () => process.exit(code))
}

try {
  await main()
  process.exit()
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}

async function main() {
  const options = readOptions(
    process.argv.slice(2),
    ROWS.map(({ name }) => name),
    ROOT
  )
  if (!options) return
  // Before ten minutes of work, not after.
  mkdirSync(dirname(options.out), { recursive: true })
  const isWanted = ({ name }: Row) =>
    (options.only.length === 0 || options.only.includes(name)) && !options.skip.includes(name)

  const started = Date.now()
  const machine = thisMachine()
  console.log(describe(machine))
  const results = new Results()
  const island = await Island.make(options.profiles)
  const backend = await island.backend('main')
  const kinds = await available(island, results)
  const standing = await stand(island, kinds, backend.port)
  const stage: Stage = { island, options, results, kinds, standing, backend }

  for (const row of ROWS.filter(isWanted)) {
    const began = Date.now()
    try {
      await row.run(stage)
    } catch (error) {
      // What the others find out is worth having.
      results.note(`${row.name} failed: ${(error as Error).message}`)
      process.exitCode = 1
    }
    console.log(`\n${tables(row.title, results.of(row.name), row.isList ? [] : BASELINES)}`)
    console.log(`\n${row.name} took ${Math.round((Date.now() - began) / 1000)} s`)
  }
  await end(stage)

  const targets = targetsOf(results)
  console.log('\n## Targets\n')
  for (const { text, measured, isMet } of targets) {
    console.log(`- ${isMet ? 'met   ' : 'MISSED'} ${text}: ${format(measured)}`)
  }
  console.log('\n## Notes\n')
  for (const note of results.notes) console.log(`- ${note}`)

  const seconds = Math.round((Date.now() - started) / 1000)
  const { runs, quick } = options
  const report = {
    date: new Date(started).toISOString(),
    machine,
    options: { runs, seconds: options.seconds, quick, size: options.size },
    took: seconds,
    results: results.all(),
    targets,
    skipped: results.skipped,
    notes: results.notes
  }
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`)
  console.log(`\n${seconds} s in all; written to ${relative('', options.out)}`)
}

async function available(island: Island, results: Results): Promise<PathKind[]> {
  const kinds: PathKind[] = []
  for (const kind of KINDS) {
    const reason = await kind.missing(island)
    if (reason === null) kinds.push(kind)
    else {
      results.skipped.push({ row: 'all', path: kind.name, reason })
      results.note(`${kind.name} is skipped: ${reason}`)
    }
  }
  return kinds
}

/** In order, so that profiles are written; and then whatever is left. */
async function end({ standing }: Stage) {
  for (const { path, near } of standing) {
    await near.stop()
    await path.close()
  }
  await stopAll()
}
