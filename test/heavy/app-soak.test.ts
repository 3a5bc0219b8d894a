import t from 'tap'
import { SERVER } from '../fleet.js'
import { randomFrom } from '../random.js'
import { noHosts } from './hosts.js'
import { leftoversOn } from './leftovers.js'
import { Machines } from './machines.js'
import { live, wish } from './misfortunes.js'
import { atRest, PATIENCE_MS } from './rest.js'
import { untilNothing } from './until.js'

/** `APP_SOAK_SECONDS=3600 APP_SOAK_SEED=7` by hand. The seed is printed; the same one makes the same choices. */
const SECONDS = Number(process.env.APP_SOAK_SECONDS ?? 180)
const SEED = Number(process.env.APP_SOAK_SEED ?? Date.now() % 1_000_000)
const NAMES = ['one', 'two', 'three', 'four']
const REGISTRARS = ['one', 'two']
const APP = 'crew'
const MAX_INSTANCES = 6
/** For the last round, on a slow machine. */
const SLACK_S = 300

t.setTimeout((SECONDS + SLACK_S) * 1000)

t.test(
  `through ${SECONDS} s of kills, partitions, updates and scales exactly as many instances as are wanted run whenever it is quiet, and nothing is left of others`,
  { skip: noHosts },
  async (t) => {
    t.comment(`APP_SOAK_SEED=${SEED}`)
    const random = randomFrom(SEED)
    const machines = await Machines.make(t, NAMES, { registrars: REGISTRARS })
    const wanted = { instances: 3, version: 1 }
    const write = () => {
      const { instances } = wanted
      const version = `${wanted.version}.0.0`
      return machines.app({ name: APP, version, instances, command: ['node', 'server.js'] }, SERVER)
    }
    await machines.ask('run', write())
    const wishes = [
      async () => {
        wanted.version++
        return wish(machines, 'run', write(), `updated to ${wanted.version}`)
      },
      async () => {
        wanted.instances = 1 + Math.floor(random() * MAX_INSTANCES)
        const { instances } = wanted
        return wish(machines, 'scale', [APP, instances], `scaled to ${instances}`)
      },
      () => wish(machines, 'restart', APP, 'restarted')
    ]
    const endsAt = performance.now() + SECONDS * 1000
    let rounds = 0
    for (; performance.now() < endsAt; rounds++) {
      const told = await live(machines, random, { app: APP, wishes: [...wishes, ...wishes] })
      machines.heal()
      await machines.bringUp()
      // What was asked for on the side that lost, or was not taken, is asked for once more.
      await machines.ask('run', write())
      t.comment(told.join(', '))
      const took = await atRest(machines, { [APP]: wanted.instances })
      const cleared = await untilNothing(() => leftovers(machines), PATIENCE_MS)
      t.comment(
        `${wanted.instances} at rest after ${Math.round(took)} ms, all else gone after ${Math.round(cleared)}`
      )
      const versions = (await machines.running(APP)).map(({ env }) => env.APP_VERSION)
      t.same([...new Set(versions)], [`${wanted.version}.0.0`])
    }
    t.comment(`${rounds} rounds`)
    await machines.ask('remove', APP)
    await untilNothing(async () => {
      const { length } = await machines.running()
      return length === 0 ? leftovers(machines) : `${length} are left`
    }, PATIENCE_MS)
  }
)

async function leftovers(machines: Machines): Promise<string | null> {
  const running = await machines.running(APP)
  const found = await Promise.all(
    machines.names.map((name) => leftoversOn(machines, name, APP, running))
  )
  const faults = found.filter((fault) => fault !== null)
  return faults.length === 0 ? null : faults.join('; ')
}
