import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run as runCommand } from './child.js'
import type { Island } from './island.js'

export interface HttpLoadOptions {
  port: number
  path?: string
  clients: number
  seconds: number
  /** Whether connections are kept, or made for each request. */
  connection: 'keep' | 'close'
}

export interface HttpLoad {
  /** Requests per second. */
  rate: number
  errors: number
  /** How long requests took, in ms. */
  p50: number
  p99: number
}

const WRK = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'wrk'))
  .find(existsSync)

/** What makes the load here. */
export const HTTP_LOAD = WRK
  ? 'HTTP load: wrk, one thread'
  : 'HTTP load: our own generator on node:http, since wrk is not installed; it is slower than what it measures'

/** Asks for as much as clients get, each one request after the other. */
export async function loadHttp(island: Island, options: HttpLoadOptions): Promise<HttpLoad> {
  if (WRK) return loadByWrk(WRK, options)
  const { port, path = '/', clients, seconds, connection } = options
  const child = island.actor('load-http', [port, path, clients, seconds, connection])
  return child.report<HttpLoad>((seconds + 30) * 1000)
}

async function loadByWrk(
  wrk: string,
  { port, path = '/', clients, seconds, connection }: HttpLoadOptions
): Promise<HttpLoad> {
  const headers = connection === 'close' ? ['-H', 'Connection: close'] : []
  // wrk takes whole seconds.
  const duration = `${Math.max(1, Math.round(seconds))}s`
  const url = `http://127.0.0.1:${port}${path}`
  const load = ['-t1', `-c${clients}`, `-d${duration}`, '--latency']
  const text = (await runCommand(wrk, [...load, ...headers, url])).join('\n')
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0)
  const cut = (errors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0)
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    errors: cut + refused,
    p50: percentileOf(text, '50'),
    p99: percentileOf(text, '99')
  }
}

/** In ms; wrk chooses a unit for each. */
function percentileOf(text: string, share: string): number {
  const [, value, unit = ''] =
    new RegExp(`^\\s+${share}%\\s+([\\d.]+)(us|ms|s)`, 'm').exec(text) ?? []
  return Number(value) * ({ us: 0.001, ms: 1, s: 1000 }[unit] ?? Number.NaN)
}
