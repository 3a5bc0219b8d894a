import { Agent, type RequestListener, request } from 'node:http'
import t, { type Test } from 'tap'
import { Cli, type Running } from '../bin/cli.js'
import { backend } from '../bin/harbor.js'

const RATE = 200
const LOAD_MS = 12_000

/** Answers with what it was sent, after a while: some requests are always under way. */
const slowEcho: RequestListener = (request, response) => {
  setTimeout(() => request.pipe(response), Math.random() * 20)
}

/** What a service is started with, to be reached on one path or the other. */
const PATHS: [path: string, flags: string[]][] = [
  ['over the direct path', []],
  ['over UDX', ['--direct', 'off']]
]

/** A registry, three instances and a gateway, in processes of their own. */
async function fleet(t: Test, flags: string[]) {
  const cli = new Cli(t)
  await cli.island()
  cli.seed()
  const registry = cli.start(['registry', '--dir', cli.path('registry')])
  await registry.waitForLine('registryPublicKey=')
  const port = await backend(t, slowEcho)
  const start = async (index: number): Promise<Running> => {
    const args = ['-p', port, '-r', 'api@1.0.0', '--dir', cli.path(`service-${index}`), ...flags]
    const service = cli.start(['service', ...args])
    await service.waitForLine('registered service')
    return service
  }
  const services = [await start(0), await start(1), await start(2)]
  const web = cli.start(['web', '-p', '0', '--dir', cli.path('web')])
  return { services, start, port: Number(await web.waitForLine('web server listening on port ')) }
}

interface Outcome {
  /** 0 if it was cut. */
  status: number
  /** By this process's clock, in ms. */
  startedAt: number
  ms: number
}

/** So many requests a second, whatever becomes of those before. */
async function load(port: number, method: string, ms: number): Promise<Outcome[]> {
  const agent = new Agent({ keepAlive: true })
  const outcomes: Promise<Outcome>[] = []
  const startedAt = performance.now()
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(((performance.now() - startedAt) / 1000) * RATE, (ms / 1000) * RATE)
      while (outcomes.length < due) outcomes.push(ask(port, method, agent))
      if (outcomes.length >= (ms / 1000) * RATE) {
        clearInterval(timer)
        resolve()
      }
    }, 5)
  })
  const all = await Promise.all(outcomes)
  agent.destroy()
  return all
}

function ask(port: number, method: string, agent: Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    const startedAt = performance.now()
    const over = (status: number) =>
      resolve({ status, startedAt, ms: performance.now() - startedAt })
    const asking = request({ port, host: '127.0.0.1', path: '/role/api@1.x/', method, agent })
    asking.on('response', (answer) => {
      answer.resume()
      answer.on('end', () => over(answer.statusCode ?? 0))
      answer.on('error', () => over(0))
    })
    asking.on('error', () => over(0))
    asking.end()
  })
}

/** Those that failed. */
function failuresOf(t: Test, name: string, outcomes: Outcome[]): Outcome[] {
  const times = outcomes.map(({ ms }) => ms).sort((a, b) => a - b)
  const at = (share: number) => Math.round(times[Math.floor(times.length * share)] ?? 0)
  const failed = outcomes.filter(({ status }) => status !== 200)
  t.comment(
    `${outcomes.length} ${name}, ${failed.length} failed (${[...new Set(failed.map(({ status }) => status))]}), p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${Math.round(times.at(-1) ?? 0)} ms`
  )
  return failed
}

for (const [path, flags] of PATHS) {
  t.test(`kill -9 of an instance ${path} fails no GET, and POSTs only that it had`, async (t) => {
    const { services, port } = await fleet(t, flags)
    const loading = load(port, 'GET', LOAD_MS)
    const posting = load(port, 'POST', LOAD_MS)
    await load(port, 'GET', 1000)
    await services[0]?.kill('SIGKILL')
    const killedAt = performance.now()
    t.equal(failuresOf(t, 'GET', await loading).length, 0)
    const lost = failuresOf(t, 'POST', await posting)
    t.ok(
      lost.every(({ startedAt }) => startedAt <= killedAt),
      'none that began after it'
    )
  })

  t.test(`a rolling restart ${path} fails none at all`, async (t) => {
    const { services, start, port } = await fleet(t, flags)
    const loading = load(port, 'GET', LOAD_MS)
    const posting = load(port, 'POST', LOAD_MS)
    for (const [index, service] of services.entries()) {
      await service.kill('SIGTERM')
      await start(index)
    }
    t.equal(failuresOf(t, 'GET', await loading).length, 0)
    t.equal(failuresOf(t, 'POST', await posting).length, 0)
  })
}
