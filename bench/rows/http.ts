import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run as runCommand } from '../child.js'
import { eachRun, type Row, record, type Stage, type Standing } from '../stage.js'
import { Usage } from '../usage.js'

const CLIENTS = 32
const WARM_UP_SECONDS = 1
const WRK = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'wrk'))
  .find(existsSync)

interface Load {
  /** Requests per second. */
  rate: number
  errors: number
}

type Connection = 'keep' | 'close'

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
      stage.results.note(
        WRK
          ? 'HTTP load: wrk, one thread'
          : 'HTTP load: our own generator on node:http, since wrk is not installed; it is slower than what it measures'
      )
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

async function load(
  { island }: Stage,
  { near }: Standing,
  connection: Connection,
  seconds: number
): Promise<Load> {
  if (WRK) return loadByWrk(WRK, near.port, connection, seconds)
  const child = island.actor('load-http', [near.port, CLIENTS, seconds, connection])
  return child.report<Load>((seconds + 30) * 1000)
}

async function loadByWrk(
  wrk: string,
  port: number,
  connection: Connection,
  seconds: number
): Promise<Load> {
  const headers = connection === 'close' ? ['-H', 'Connection: close'] : []
  // wrk takes whole seconds.
  const duration = `${Math.max(1, Math.round(seconds))}s`
  const url = `http://127.0.0.1:${port}/`
  const output = await runCommand(wrk, ['-t1', `-c${CLIENTS}`, `-d${duration}`, ...headers, url])
  const text = output.join('\n')
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0)
  const cut = (errors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0)
  return { rate, errors: cut + refused }
}
