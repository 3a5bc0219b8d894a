import type { Child } from '../child.js'
import { HTTP_LOAD, type HttpLoad, loadHttp } from '../http-load.js'
import { nginx } from '../paths/nginx.js'
import type { PathKind } from '../paths/path.js'
import { web, webWithoutFastPath } from '../paths/web.js'
import { eachRun, type Row, record, type Stage, type Standing, stand } from '../stage.js'
import { Usage } from '../usage.js'

const KINDS: PathKind[] = [nginx, web, webWithoutFastPath]
export const GATEWAY_CLIENTS = 32
/** Until what a JIT compiles is compiled: a gateway runs for months. */
const WARM_UP_SECONDS = 8

/** Small HTTP requests through the web gateway, and through nginx in front of the same backend. */
export const gateway: Row = {
  name: 'gateway',
  title: `Web gateway, HTTP keep-alive, ${GATEWAY_CLIENTS} clients`,
  metrics: {
    rate: { title: 'requests', unit: '1/s', better: 'more' },
    near: { title: 'CPU of the gateway', unit: 'µs/request', better: 'less' },
    far: { title: 'CPU of the service', unit: 'µs/request', better: 'less' },
    backend: { title: 'CPU of the backend', unit: 'µs/request', better: 'less' },
    p50: { title: 'p50', unit: 'ms', better: 'less' },
    p99: { title: 'p99', unit: 'ms', better: 'less' }
  },

  async run(stage) {
    stage.results.note(HTTP_LOAD)
    const standing = await standHere(stage)
    for (const one of standing) await load(stage, one, WARM_UP_SECONDS)
    await eachRun(stage, standing, (one) => measure(stage, one))
    for (const { near, path } of standing) {
      await near.stop()
      await path.close()
    }
  }
}

async function standHere({ island, backend, results }: Stage): Promise<Standing[]> {
  const here: PathKind[] = []
  for (const kind of KINDS) {
    const reason = await kind.missing(island)
    if (reason === null) here.push(kind)
    else {
      results.skipped.push({ row: gateway.name, path: kind.name, reason })
      results.note(`${kind.name} is skipped: ${reason}`)
    }
  }
  return stand(island, here, backend.port)
}

async function measure(stage: Stage, standing: Standing) {
  const { seconds } = stage.options
  const meter = new Meter(standing.near.child, standing.path.far, stage.backend.child)
  const { rate, errors, p50, p99 } = await load(stage, standing, seconds)
  const [near, far, backend] = meter.read().map((cpu) => (cpu / (rate * seconds)) * 1e6) as [
    number,
    number,
    number
  ]
  if (errors > 0) stage.results.note(`${standing.kind.name}, gateway: ${errors} errors`)
  record(stage, gateway, standing.kind, { rate, near, far, backend, p50, p99 })
}

function load(
  { island }: Stage,
  { near: { port, path = '/' } }: Standing,
  seconds: number
): Promise<HttpLoad> {
  return loadHttp(island, { port, path, clients: GATEWAY_CLIENTS, seconds, connection: 'keep' })
}

/** Reads how much CPU time processes take from now on, in s; NaN for those that are not. */
class Meter {
  readonly #usages: (Usage | null)[]
  readonly #before: number[]

  constructor(...children: (Child | null)[]) {
    this.#usages = children.map((child) => child && new Usage(child.pid))
    this.#before = this.#cpu()
  }

  read(): number[] {
    return this.#cpu().map((cpu, i) => cpu - (this.#before[i] ?? 0))
  }

  #cpu(): number[] {
    return this.#usages.map((usage) => usage?.cpu ?? Number.NaN)
  }
}
