import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { randomFrom, shuffled } from '../random.js'
import { Fleet } from './fleet.js'

const SEED = Number(process.env.REGISTRARS_SEED ?? Date.now() % 1_000_000)
const REGISTRARS = 3
/** `REGISTRARS_PROCESSES=10` by hand, for 200 services and 20 consumers. */
const SERVICE_PROCESSES = Number(process.env.REGISTRARS_PROCESSES ?? 3)
const SERVICES_EACH = 20
const CONSUMER_PROCESSES = Math.ceil(SERVICE_PROCESSES / 3)
const CONSUMERS_EACH = 5
/** Longer than a registrar takes to write off a lease, in ms. */
const NOTICE_MS = 5000

t.test(
  `${SERVICE_PROCESSES * SERVICES_EACH} services stay in reach while two of three registrars die, then all`,
  async (t) => {
    t.comment(`REGISTRARS_SEED=${SEED}`)
    const random = randomFrom(SEED)
    const fleet = await Fleet.make(t)
    const registrars = [...Array(REGISTRARS).keys()].map(() => fleet.startRegistrar())
    const victims = shuffled(await Promise.all(registrars), random)
    await populate(fleet)
    t.comment(`all is there ${Math.round(await fleet.whole())} ms later`)
    await fleet.seen()

    const last = victims.pop()
    for (const victim of victims) {
      await victim.kill('SIGKILL')
      await setTimeout(NOTICE_MS * random())
      await goesOn(t, fleet, 'with one registrar less')
    }
    await setTimeout(NOTICE_MS)
    await goesOn(t, fleet, 'with one registrar that is left')

    const beganAt = performance.now()
    await fleet.register((process) => `new${process}@1.0.0`)
    t.comment(`${SERVICE_PROCESSES} more registered in ${since(beganAt)} ms`)
    await newcomerFindsAll(t, fleet, 'with one registrar')

    await last?.kill('SIGKILL')
    await setTimeout(NOTICE_MS)
    await goesOn(t, fleet, 'without a registrar')
    await newcomerFindsAll(t, fleet, 'without a registrar')

    const startedAt = performance.now()
    await fleet.startRegistrar()
    const upAfter = since(startedAt)
    await fleet.whole()
    t.comment(
      `a registrar with an empty folder was up ${upAfter} ms after its start, all whole ${since(startedAt)} ms after it`
    )
    await goesOn(t, fleet, 'with a new registrar')
    await newcomerFindsAll(t, fleet, 'with a new registrar')
  }
)

async function populate(fleet: Fleet) {
  const processes = [...Array(SERVICE_PROCESSES).keys()].map((process) =>
    [...Array(SERVICES_EACH).keys()].map((i) => `s${process * SERVICES_EACH + i}@1.0.0`)
  )
  await Promise.all(processes.map((roles) => fleet.startServices(roles)))
  // Each service is called at by one consumer.
  const count = CONSUMER_PROCESSES * CONSUMERS_EACH
  const shares = [...Array(count).keys()].map((consumer) =>
    [...Array(Math.floor((SERVICE_PROCESSES * SERVICES_EACH) / count)).keys()].map(
      (i) => `s${consumer + i * count}@1.x`
    )
  )
  await Promise.all(
    [...Array(CONSUMER_PROCESSES).keys()].map((i) =>
      fleet.startConsumers(shares.slice(i * CONSUMERS_EACH, (i + 1) * CONSUMERS_EACH))
    )
  )
}

/** Nobody has lost sight of anything since this was asked before, and every stream was opened. */
async function goesOn(t: Test, fleet: Fleet, when: string) {
  const { lost, failures, streams, slowest } = await fleet.seen()
  t.comment(`${when}: ${streams} streams, the slowest was open after ${Math.round(slowest)} ms`)
  t.same(lost, [], `${when}: nothing is lost from a directory`)
  t.same(failures, [], `${when}: no stream fails`)
  t.equal(await fleet.missing(), null, `${when}: everything is there`)
  t.ok(streams > 0)
}

async function newcomerFindsAll(t: Test, fleet: Fleet, when: string) {
  const { failures, missing, ms } = await fleet.newcomer()
  t.comment(`${when}: a newcomer found everything in ${Math.round(ms)} ms`)
  t.equal(missing, null, `${when}: a newcomer finds everything`)
  t.same(failures, [], `${when}: and reaches it`)
}

/** In ms. */
function since(time: number): number {
  return Math.round(performance.now() - time)
}
