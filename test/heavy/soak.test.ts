import { setMaxListeners } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { unsigned } from './soak/audit.js'
import { Clock } from './soak/clock.js'
import { Judge } from './soak/judge.js'
import { Memory } from './soak/memory.js'
import { World } from './soak/world.js'
import { untilNothing } from './until.js'

/**
 * A random life of a private registry at two sites, each participant a process of its own: started,
 * stopped, killed, frozen, cut off from the other site, or under a clock that jumps by hours and years; one
 * registrar more crashes again and again, and begins on an empty disk each time. All along what every directory
 * shows is held against what is so (soak/judge.ts says how), while a stranger tries to read and to connect, a
 * member to forge, and another one lies about logs and denies everybody. The seed is printed; the same one makes the same choices.
 * `SOAK_SECONDS=3600 SOAK_SEED=7 npx tap --timeout=4000 …` runs it by hand.
 */
const SECONDS = Number(process.env.SOAK_SECONDS ?? 600)
const SEED = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000)
/** No process needs more, however long it runs; most of it is the runtime and the storage engine. */
const MAX_MIB = 300
/** What a process that is never restarted may grow by once it is warm. */
const MAX_GROWTH_MIB = 60
/**
 * Half an hour, or half of the run. The DHT names who crashed for up to 27 minutes, and a participant calls at all that
 * are named, at 128 at a time, with 130 KB each: so long it grows with the crashes, and by no more than that.
 */
const WARM_UP_S = Math.min(1800, SECONDS / 2)
const LOOK_AT_MEMORY_EVERY = 10
const REPORT_EVERY = 600
/** For all to be up and at one, once nothing happens any more. */
const SETTLE_MS = 30_000
/** For all to start and to settle, on a slow machine. */
const SLACK_S = 600
/** More of them say nothing new. */
const MAX_FAULTS = 20

t.setTimeout((SECONDS + SLACK_S) * 1000)

t.test(`every directory tells the truth through ${SECONDS} s of chaos`, async (t) => {
  t.comment(`SOAK_SEED=${SEED}`)
  const world = await World.make(t, SEED)
  await world.start()
  const judge = new Judge(world)
  const memory = new Memory()
  const faults: string[] = []
  const look = () => {
    const news = [...judge.look(), ...world.outlaws.flatMap((outlaw) => outlaw.read())]
    if (news.length === 0) return
    faults.push(...news)
    t.comment([...news, `while ${world.actors.join(', ')}`].join('\n'))
  }

  const over = new AbortController()
  setMaxListeners(0, over.signal)
  const lives = Promise.all(world.actors.map((actor) => actor.live(over.signal)))
  lives.catch(() => over.abort())
  const ticks = (SECONDS * 1000) / Clock.TICK_MS
  let warm: Record<string, number> = {}
  world.clock.start()
  for (let tick = 1; tick <= ticks && !over.signal.aborted; tick++) {
    await setTimeout(Clock.TICK_MS)
    world.clock.tick()
    look()
    if (tick % LOOK_AT_MEMORY_EVERY === 0) {
      for (const [name, { pid }] of world.running) memory.look(name, pid)
      world.betray()
    }
    if (tick === Math.ceil((WARM_UP_S * 1000) / Clock.TICK_MS)) warm = { ...memory.last }
    if (tick % REPORT_EVERY === 0) t.comment(figures(world, judge, memory))
    if (faults.length >= MAX_FAULTS) break
  }
  over.abort()
  await lives

  for (const actor of world.actors) await actor.bringUp()
  const settled = await untilNothing(async () => {
    look()
    return unsettled(world)
  }, SETTLE_MS).catch((error) => {
    t.comment(lastWords(world))
    throw error
  })
  t.comment(`all at one ${Math.round(settled)} ms after the last was up`)
  t.comment(figures(world, judge, memory))
  t.same(faults, [], `nothing was violated; SOAK_SEED=${SEED}`)
  t.same(
    unsigned(await world.export(), world.services),
    [],
    'every record is as its owner signed it'
  )
  for (const { name, tried } of world.outlaws) t.match(tried, /:[1-9]/, `the ${name} did try`)
  for (const [name, mib] of Object.entries(memory.most)) {
    t.ok(mib <= MAX_MIB, `${name} used at most ${mib} MiB`)
  }
  for (const { name, lives } of world.watchers) {
    const growth = (memory.last[name] ?? 0) - (warm[name] ?? 0)
    if (lives === 1 && name in warm) t.ok(growth <= MAX_GROWTH_MIB, `${name} grew by ${growth} MiB`)
  }
})

/** Who does not show yet what is so, in words. */
function unsettled({ watchers, services }: World): string | null {
  for (const watcher of watchers) {
    for (const service of services) {
      const sight = watcher.sightOf(service)
      if (!sight?.isLive || sight.life !== service.lives) return `${watcher} misses ${service}`
    }
  }
  return null
}

/** What all that run have printed last. */
function lastWords({ running }: World): string {
  return running
    .flatMap(([name, { lines }]) =>
      [...lines.stdout.slice(-3), ...lines.stderr.slice(-8)].map(
        (line) => `${name}: ${line.slice(0, 300)}`
      )
    )
    .join('\n')
}

function figures({ actors, watchers, outlaws, clock }: World, judge: Judge, memory: Memory) {
  const done: Record<string, number> = {}
  for (const actor of actors) {
    for (const [deed, times] of Object.entries(actor.done)) done[deed] = (done[deed] ?? 0) + times
  }
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`
  return [
    `done: ${Object.entries(done)
      .map((one) => one.reverse().join(' × '))
      .join(', ')}`,
    `${watchers.reduce((sum, { changes }) => sum + changes, 0)} changes were shown`,
    `looked at ${judge.looks.all} times, ${Math.round((judge.looks.bound / judge.looks.all) * 100)} % of them bound by a rule`,
    ...Object.entries(judge.worst).map(
      ([wrong, { ms, what }]) => `worst ${wrong}: ${seconds(ms)}, when ${what}`
    ),
    ...outlaws.map(({ name, tried }) => `the ${name} tried ${tried}`),
    `at most ${Object.entries(memory.most)
      .map((one) => one.join(' '))
      .join(', ')} MiB`,
    `the driver stood still for ${seconds(clock.lost)}`
  ].join('\n')
}
