import { barePipe } from './paths/bare-pipe.js'
import { direct } from './paths/direct.js'
import { nginx } from './paths/nginx.js'
import { seaportDirect, seaportUdx } from './paths/seaport.js'
import { ssh } from './paths/ssh.js'
import { web } from './paths/web.js'
import type { Results } from './results.js'

/** What we hold ourselves to. */
export interface Target {
  text: string
  measured: number
  bound: number
  isMet: boolean
}

const UDX = seaportUdx.name
const TCP = seaportDirect.name
const OURS = 'hyperseaport'

/** The targets that this run can tell about. Those of what was not measured are left out. */
export function targetsOf(results: Results): Target[] {
  const targets: Target[] = []
  const get = (metric: string, path: string) => {
    const [row = '', name = ''] = metric.split('.')
    return results.median(row, name, path)
  }
  const hold = (text: string, measured: number | null, sign: '≥' | '≤', bound: number) => {
    if (measured === null || Number.isNaN(measured)) return
    const isMet = sign === '≥' ? measured >= bound : measured <= bound
    targets.push({ text: `${text} ${sign} ${bound}`, measured, bound, isMet })
  }
  const compare = (
    metric: string,
    path: string,
    sign: '≥' | '≤',
    bound: number,
    baseline: string,
    what: string
  ) => {
    const [a, b] = [get(metric, path), get(metric, baseline)]
    hold(`${path}: ${what} / ${baseline}`, a === null || b === null ? null : a / b, sign, bound)
  }
  const keep = 'keep-alive'
  const each = 'connection per request'
  compare('per-request.rate', UDX, '≥', 8, barePipe.name, each)
  compare('keep-alive.rate', UDX, '≥', 1.8, barePipe.name, keep)
  compare('per-request.rate', UDX, '≥', 0.8, ssh.name, each)
  compare('keep-alive.rate', UDX, '≥', 0.8, ssh.name, keep)
  compare('per-request.rate', TCP, '≥', 1, ssh.name, each)
  compare('keep-alive.rate', TCP, '≥', 1, ssh.name, keep)
  compare('gateway.near', web.name, '≤', 2, nginx.name, 'CPU per request')
  hold(`${web.name}: requests per s`, get('gateway.rate', web.name), '≥', 8900)
  for (const way of ['up', 'down']) {
    compare(`bulk.${way}`, UDX, '≥', 0.95, barePipe.name, `bulk ${way}`)
    compare(`bulk.${way}`, TCP, '≥', 1, ssh.name, `bulk ${way}`)
    compare(`bulk.${way}`, TCP, '≥', 2.5, UDX, `bulk ${way}`)
  }
  const sent = 'a command, 1 in flight, p50'
  for (const [path, rpc, many, nats, events] of [
    [TCP, 'protomux-rpc, TCP', 2, 3, 0.8],
    [UDX, 'protomux-rpc, UDX', 1, 1.5, 0.4]
  ] as const) {
    const broker = 'NATS micro'
    compare('messages.p50', path, '≤', 1 / 0.75, rpc, sent)
    compare('messages.rate', path, '≥', many, rpc, 'commands, 64 in flight')
    compare('messages.p50', path, '≤', 1, broker, sent)
    compare('messages.rate', path, '≥', nats, broker, 'commands, 64 in flight')
    for (const count of [1, 10, 100]) {
      compare(`messages.events${count}`, path, '≥', events, broker, `events to ${count}`)
    }
    hold(`${path}: a service that speaks and is idle, in MiB`, get('messages.rss', path), '≤', 100)
  }
  compare('browsers.cpu', OURS, '≤', 0.7, 'socket.io', 'CPU per delivery')
  compare('browsers.p99', OURS, '≤', 1, 'socket.io', 'p99 of a broadcast')
  hold('resident for each page, in KiB', get('browsers.rss', OURS), '≤', 12)
  hold('p99 beside one that does not read', get('browsers.deafShare', OURS), '≤', 1.1)
  for (const [metric, what] of [
    ['anew', 'pages that are back and not resumed'],
    ['missed', 'messages missed by pages'],
    ['twice', 'messages heard twice by pages']
  ] as const) {
    hold(what, get(`browsers.${metric}`, OURS), '≤', 0)
  }
  for (const path of [UDX, TCP]) {
    const [warm, bare] = [get('latency.p50', path), get('latency.p50', direct.name)]
    const beyond = warm === null || bare === null ? null : warm - bare
    hold(`${path}: warm p50 beyond direct TCP's, in ms`, beyond, '≤', 1)
    compare('crowd.time', path, '≤', 3, direct.name, '100 at once, time')
    for (const [id, what] of [
      ['kill', 'kill -9'],
      ['stop', 'SIGSTOP']
    ]) {
      hold(
        `${path}: ${what}, failed of those begun after`,
        get(`failover.${id}FailedNew`, path),
        '≤',
        0
      )
      hold(`${path}: ${what}, longest, in ms`, get(`failover.${id}Longest`, path), '≤', 1500)
      hold(`${path}: ${what}, cut on the other`, get(`failover.${id}Harmed`, path), '≤', 0)
    }
    hold(`${path}: rolling restarts, failed`, get('failover.rollingFailedNew', path), '≤', 0)
  }
  return targets
}
