import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { randomFrom } from '../random.js'

/**
 * A random life of a registry, each participant a process of its own: started, stopped, killed, frozen.
 * All along, what every directory shows is held against what is so. The seed is printed; the same
 * one makes the same choices. `SOAK_SECONDS=3600 SOAK_SEED=7 npx tap --timeout=4000 …` runs it by hand.
 */
const SECONDS = Number(process.env.SOAK_SECONDS ?? 60)
const SEED = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000)
const REGISTRARS = 2
const SERVICES = 5
const WATCHERS = 2
/** How long the registry may take to notice what happened. */
const NOTICE_MS = 10_000
/** A registrar that was restarted gives owners 10 s to come back. */
const SETTLE_MS = 13_000
const STEP_MS = 700

type Event = 'start' | 'stop' | 'kill' | 'freeze' | 'thaw'

/** A process that comes and goes, and since when it is as it is. */
class Actor {
  state: 'up' | 'down' | 'frozen' = 'down'
  since = Date.now()
  running: Running | null = null
  readonly name: string
  readonly #launch: () => Promise<Running>

  constructor(name: string, launch: () => Promise<Running>) {
    this.name = name
    this.#launch = launch
  }

  async do(event: Event) {
    if (event === 'start') this.running = await this.#launch()
    if (event === 'stop') await this.running?.kill('SIGTERM')
    if (event === 'kill') await this.running?.kill('SIGKILL')
    if (event === 'freeze') process.kill(this.running?.pid ?? 0, 'SIGSTOP')
    if (event === 'thaw') process.kill(this.running?.pid ?? 0, 'SIGCONT')
    this.state =
      event === 'freeze' ? 'frozen' : event === 'start' || event === 'thaw' ? 'up' : 'down'
    this.since = Date.now()
  }

  hasBeen(state: Actor['state'], ms: number): boolean {
    return this.state === state && Date.now() - this.since > ms
  }
}

t.test(`every directory tells the truth through ${SECONDS} s of chaos`, async (t) => {
  t.comment(`SOAK_SEED=${SEED}`)
  const random = randomFrom(SEED)
  const cli = new Cli(t)
  await cli.island()
  cli.write('.hyperseaportrc', (await cli.run(['seed'])).stdout)
  const backend = createServer((socket) => socket.on('error', () => {}).pipe(socket))
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { port } = backend.address() as AddressInfo

  const registrars = Array.from({ length: REGISTRARS }, (_, i) => {
    const dir = cli.path(`registrar-${i}`)
    return new Actor(`registrar ${i}`, () =>
      ready(cli, 'registryPublicKey=', ['registry', '--dir', dir])
    )
  })
  const services = Array.from({ length: SERVICES }, (_, i) => {
    const line = [
      'service',
      '-p',
      `${port}`,
      '-r',
      `s${i}@1.0.0`,
      '--dir',
      cli.path(`service-${i}`)
    ]
    // With every registrar down it is not registered yet, and need not be listed.
    return new Actor(`s${i}`, () => ready(cli, 'connecting to registry', line))
  })
  for (const actor of [...registrars, ...services]) await actor.do('start')
  const watchers = await Promise.all(
    Array.from({ length: WATCHERS }, async (_, i) =>
      ready(cli, '{"change":"up"', ['watch', '--json', '--dir', cli.path(`watcher-${i}`)])
    )
  )

  const end = Date.now() + SECONDS * 1000
  while (Date.now() < end) {
    await step(random, [...registrars, ...services])
    const lies = findLies(registrars, services, watchers)
    if (lies.length === 0) continue
    for (const { lines } of watchers) t.comment(lines.stdout.slice(-10).join('\n'))
    throw new Error(`SOAK_SEED=${SEED}: ${states(registrars, services)}; ${lies.join('; ')}`)
  }
  for (const actor of [...registrars, ...services])
    if (actor.state === 'frozen') await actor.do('thaw')
  t.pass(`${watchers.map(({ lines }) => lines.stdout.length).join(' and ')} changes seen`)
})

/** Something happens to somebody, or nothing. */
async function step(random: () => number, actors: Actor[]) {
  const actor = actors[Math.floor(random() * actors.length)] as Actor
  const choices: Record<Actor['state'], Event[]> = {
    up: ['stop', 'kill', 'kill', 'freeze'],
    down: ['start'],
    frozen: ['thaw', 'kill']
  }
  const events = choices[actor.state]
  const event = events[Math.floor(random() * events.length)] as Event
  // Most of the time all is quiet, or there would be no truth to compare with.
  if (random() < (actor.state === 'up' ? 0.12 : 0.5)) await actor.do(event)
  await setTimeout(STEP_MS * random())
}

/** What a directory shows although it has not been so for too long, or does not show although it has. */
function findLies(registrars: Actor[], services: Actor[], watchers: Running[]): string[] {
  const isWatched = registrars.some((registrar) => registrar.hasBeen('up', SETTLE_MS))
  if (!isWatched) return []
  const lies: string[] = []
  for (const [i, watcher] of watchers.entries()) {
    const seen = view(watcher)
    for (const service of services) {
      const live = seen.get(service.name)
      if (service.hasBeen('up', NOTICE_MS) && live === undefined) {
        lies.push(`watcher ${i} lost sight of ${service.name}`)
      }
      const isGone = service.hasBeen('down', NOTICE_MS) || service.hasBeen('frozen', NOTICE_MS)
      if (isGone && live === true) lies.push(`watcher ${i} takes ${service.name} for live`)
    }
  }
  return lies
}

/** The roles that a watcher shows, and whether as live. */
function view({ lines }: Running): Map<string, boolean> {
  const seen = new Map<string, boolean>()
  for (const line of lines.stdout) {
    const { change, role, live } = JSON.parse(line)
    if (change === 'down') seen.delete(role)
    else seen.set(role, live)
  }
  return seen
}

function states(registrars: Actor[], services: Actor[]): string {
  return [...registrars, ...services]
    .map(
      ({ name, state, since }) =>
        `${name} ${state} for ${Math.round((Date.now() - since) / 1000)} s`
    )
    .join(', ')
}

async function ready(cli: Cli, line: string, args: string[]): Promise<Running> {
  const running = cli.start(args)
  await running.waitForLine(line)
  return running
}
