import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Fleet } from './fleet.js'
import { noHosts } from './hosts.js'
import { Sites } from './sites.js'
import { untilNothing } from './until.js'

/** How long the two sites are cut off from each other; `PARTITION_SECONDS=60` by hand. */
const CUT_MS = Number(process.env.PARTITION_SECONDS ?? 20) * 1000
/** How soon all are at one again. */
const HEALED_WITHIN_MS = 15_000
/** A registrar takes its own network for broken when at least ten leases vanish, and more than half. */
const MANY = 12

t.test(
  `two sites that went on by themselves for ${CUT_MS / 1000} s are at one soon after`,
  { skip: noHosts },
  async (t) => {
    const sites = await Sites.make(t)
    const { here, there } = sites.at
    const fleet = await Fleet.make(t, sites.bootstrap)
    await Promise.all([fleet.startRegistrar(here), fleet.startRegistrar(there)])
    const names = (what: string, count: number) =>
      [...Array(count).keys()].map((i) => `${what}${i}@1.0.0`)
    const [lastingHere, dyingHere, lastingThere, dyingThere] = await Promise.all([
      fleet.startServices(names('h', MANY), here),
      fleet.startServices(names('dh', 3), here),
      fleet.startServices(names('t', 3), there),
      fleet.startServices(names('dt', 2), there)
    ])
    await Promise.all([
      fleet.startConsumers([['h1@1.x', 't1@1.x']], here),
      fleet.startConsumers([['t2@1.x', 'h2@1.x']], there)
    ])
    await fleet.whole()

    sites.cut()
    const healing = setTimeout(CUT_MS)
    await setTimeout(CUT_MS / 4)
    await Promise.all([
      fleet.withdraw(lastingHere, 'h0@1.0.0'),
      fleet.withdraw(lastingThere, 't0@1.0.0'),
      fleet.add(lastingHere, 'h0@1.1.0'),
      fleet.add(lastingThere, 'nt@1.0.0'),
      fleet.kill(dyingHere),
      fleet.kill(dyingThere)
    ])
    await healing
    t.not(await fleet.missing(true), null, 'the two do not know the same')
    await fleet.seen()
    sites.heal()
    const took = await untilNothing(() => fleet.missing(true), HEALED_WITHIN_MS)
    t.comment(`one directory ${Math.round(took)} ms after`)
    const { failures } = await fleet.seen()
    t.comment(`${failures.length} streams failed meanwhile`)
    t.pass('all consumers show the same, and nothing else')
  }
)
