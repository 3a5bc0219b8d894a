import { HTTP_LOAD, type HttpLoad, type HttpLoadOptions, loadHttp } from '../http-load.js'
import { eachRun, type Row, record, type Stage, type Standing } from '../stage.js'
import { Usage } from '../usage.js'

const CLIENTS = 32
/** Until V8 has compiled what is hot: these are processes that run for days. */
const WARM_UP_SECONDS = 4

type Connection = HttpLoadOptions['connection']

/** Small HTTP requests, over connections that are kept. */
export const keepAlive = httpRow('keep-alive', 'HTTP keep-alive', 'keep')

/** The same, each over a connection of its own. */
export const perRequest = httpRow('per-request', 'HTTP, connection per request', 'close')

function httpRow(name: string, title: string, connection: Connection): Row {
  const row: Row = {
    name,
    title: `${title}, ${CLIENTS} clients`,
    metrics: {
      rate: { title: 'requests', unit: '1/s', better: 'more' },
      near: { title: 'CPU of the near end', unit: 'µs/request', better: 'less' },
      far: { title: 'CPU of the far end', unit: 'µs/request', better: 'less' }
    },

    async run(stage) {
      stage.results.note(HTTP_LOAD)
      for (const standing of stage.standing)
        await load(stage, standing, connection, WARM_UP_SECONDS)
      await eachRun(stage, stage.standing, (standing) => measure(stage, standing))
    }
  }

  async function measure(stage: Stage, standing: Standing) {
    const { seconds } = stage.options
    const usages = [standing.near.child, standing.path.far].map((child) =>
      child ? new Usage(child.pid) : null
    )
    const before = usages.map((usage) => usage?.cpu ?? Number.NaN)
    const { rate, errors } = await load(stage, standing, connection, seconds)
    const [near = Number.NaN, far = Number.NaN] = usages.map(
      (usage, i) => (((usage?.cpu ?? Number.NaN) - (before[i] ?? 0)) / (rate * seconds)) * 1e6
    )
    if (errors > 0) stage.results.note(`${standing.kind.name}, ${name}: ${errors} errors`)
    record(stage, row, standing.kind, { rate, near, far })
  }
  return row
}

function load(
  { island }: Stage,
  { near: { port } }: Standing,
  connection: Connection,
  seconds: number
): Promise<HttpLoad> {
  return loadHttp(island, { port, clients: CLIENTS, seconds, connection })
}
