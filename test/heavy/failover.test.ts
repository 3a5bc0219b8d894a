import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { type Call, Callers } from './callers.js'

/** New connections per second, through each proxy. */
const RATE = 200
/** Rounds in which one instance after the other is restarted; `FAILOVER_ROUNDS=10` by hand. */
const ROUNDS = Number(process.env.FAILOVER_ROUNDS ?? 6)
/** How long all is well before something happens, and how long calls go on after it, in ms. */
const BEFORE_MS = 1500
const AFTER_MS = 6000
/** A link that is silent is given up after 10 s: nobody may wait for that. */
const DEAD_AFTER_MS = 10_000
/** What the two proxies take: the direct path where there is one, or UDX alone. */
const PATHS = ['lan', 'off'] as const

t.test('kill -9 of one of two instances cuts what is open on it, and nothing else', async (t) => {
  const { instances, call } = await fleet(t)
  const calling = call()
  await setTimeout(BEFORE_MS)
  const stoppedAt = stop(instances[0], 'SIGKILL')
  await setTimeout(AFTER_MS)
  onlyThoseOpenAreCut(t, await calling(), instances[0].backend, stoppedAt)
})

t.test('an instance that freezes holds up what is open on it, and nothing else', async (t) => {
  const { instances, call } = await fleet(t)
  const calling = call()
  await setTimeout(BEFORE_MS)
  const stoppedAt = stop(instances[0], 'SIGSTOP')
  await setTimeout(AFTER_MS)
  onlyThoseOpenAreCut(t, await calling(), instances[0].backend, stoppedAt)
})

t.test(`${ROUNDS} rounds of rolling restarts cut and refuse nothing`, async (t) => {
  const { instances, call, start } = await fleet(t)
  const calling = call()
  for (let round = 0; round < ROUNDS; round++) {
    for (const instance of instances) {
      const { code } = await instance.running.kill('SIGTERM')
      t.equal(code, 0)
      instance.running = await start(instance.index)
    }
  }
  for (const [path, calls] of await calling()) {
    describe(t, path, calls)
    t.same(
      calls.filter((call) => call.isCut),
      [],
      `${path}: none failed`
    )
  }
})

/** What became of the calls through each proxy. */
type CallsByPath = (readonly [path: string, calls: Call[]])[]

/** A service process, and its backend, which is ours. */
interface Instance {
  index: number
  running: Running
  backend: Backend
}

/** A registry, two instances of one role, and a proxy for each path, all processes of their own. */
async function fleet(t: Test) {
  const cli = new Cli(t)
  await cli.island()
  cli.seed()
  await cli.start(['registry', '--dir', cli.path('registry')]).waitForLine('registryPublicKey=')
  const backends = [await Backend.make(t, '0'), await Backend.make(t, '1')]
  const start = async (index: number): Promise<Running> => {
    const port = `${backends[index]?.port}`
    const dir = cli.path(`service-${index}`)
    const line = ['service', '-p', port, '-r', 'echo@1.0.0', '--check', 'none', '--dir', dir]
    const service = cli.start(line)
    await service.waitForLine('registered service')
    return service
  }
  const instances = await Promise.all(
    backends.map(async (backend, index) => ({ index, backend, running: await start(index) }))
  )
  const ports = new Map<string, number>()
  for (const path of PATHS) {
    const line = ['proxy', '-p', '0', '-r', 'echo@1.x', '--direct', path, '--dir', cli.path(path)]
    const proxy = cli.start(line)
    ports.set(path, Number.parseInt(await proxy.waitForLine('proxy from  '), 10))
  }
  /** Calls at all proxies; what it returns stops that, and tells of the calls by path. */
  const call = (): (() => Promise<CallsByPath>) => {
    const callers = [...ports].map(([path, port]) => ({ path, callers: new Callers(port, RATE) }))
    return () =>
      Promise.all(callers.map(async ({ path, callers }) => [path, await callers.stop()] as const))
  }
  return { instances: instances as [Instance, Instance], call, start }
}

/** What a service forwards to: answers every byte with its own name. */
class Backend {
  readonly name: string
  readonly #server: Server
  readonly #open = new Set<Socket>()
  /** Connections, all in all. */
  accepted = 0

  static async make(t: Test, name: string): Promise<Backend> {
    const backend = new Backend(name)
    await once(backend.#server, 'listening')
    t.teardown(() => {
      for (const socket of backend.#open) socket.destroy()
      backend.#server.close()
    })
    return backend
  }

  private constructor(name: string) {
    this.name = name
    this.#server = createServer((socket) => {
      this.accepted++
      this.#open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#open.delete(socket))
      socket.on('data', () => socket.write(name))
    }).listen(0, '127.0.0.1')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }
}

/** @returns when it was, as in a call */
function stop({ running }: Instance, signal: NodeJS.Signals): number {
  process.kill(running.pid, signal)
  return performance.now()
}

function onlyThoseOpenAreCut(t: Test, all: CallsByPath, backend: Backend, stoppedAt: number) {
  for (const [path, calls] of all) {
    const { slowest } = describe(t, path, calls)
    const cut = calls.filter(({ isCut }) => isCut)
    const late = cut.filter(({ beganAt }) => beganAt > stoppedAt)
    t.same(late, [], `${path}: none that began later fails`)
    const others = cut.filter(({ answer }) => answer !== null && answer !== backend.name)
    t.same(others, [], `${path}: none that the other one answered is cut`)
    t.ok(slowest < DEAD_AFTER_MS, `${path}: none waits until the link is given up`)
    const goesOn = calls.some(({ beganAt }) => beganAt > stoppedAt + AFTER_MS / 2)
    t.ok(goesOn, `${path}: and all went on for a while`)
  }
  const calls = all.flatMap(([, calls]) => calls)
  const unanswered = calls.filter(({ isCut, answer }) => isCut && answer === null).length
  const answered = calls.filter(({ answer }) => answer === backend.name).length
  const open = backend.accepted - answered
  t.ok(unanswered <= open, `${unanswered} cut without an answer, ${open} were connected`)
}

/** Says how the calls went. */
function describe(t: Test, path: string, calls: Call[]): { slowest: number } {
  const cut = calls.filter(({ isCut }) => isCut)
  const waits = calls.flatMap(({ waited }) => waited ?? []).sort((a, b) => a - b)
  const at = (share: number) => Math.round(waits[Math.floor(waits.length * share)] ?? 0)
  const slowest = Math.round(waits.at(-1) ?? 0)
  t.comment(
    `--direct ${path}: ${calls.length} calls, ${cut.length} cut, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest wait ${slowest} ms`
  )
  return { slowest }
}
