import { Histogram } from '../core/histogram.js'
import type { Measure } from '../core/metrics.js'
import { bucketOf, Latency } from './latency.js'

/** A request that is over. */
export interface Exchange {
  /** Hex, or empty if no instance was reached. */
  instance: string
  role: string
  status: number
  /** The time until the answer began, in ms. */
  ms: number
  bytesIn: number
  bytesOut: number
}

/** Counters of one role or instance since the start, and the latency since then and of late. */
export class Flow {
  requests = 0
  /** How many of them were answered with 5xx. */
  errors = 0
  bytesIn = 0
  bytesOut = 0
  readonly latency = new Histogram()
  readonly #latencies: [current: Latency, previous: Latency] = [new Latency(), new Latency()]

  record({ status, ms, bytesIn, bytesOut }: Exchange, bucket: number) {
    this.requests++
    if (status >= 500) this.errors++
    this.bytesIn += bytesIn
    this.bytesOut += bytesOut
    this.latency.observe(ms)
    this.#latencies[0].record(bucket)
  }

  /** The latency that this share of requests stayed below, in ms, over the last one to two windows. */
  percentile(share: number): number {
    const [current, previous] = this.#latencies
    return (current.count > 0 ? current : previous).percentile(share)
  }

  /** Begins a new window. */
  turn() {
    this.#latencies.reverse()
    this.#latencies[0].reset()
  }
}

const FIELDS = [
  ['requests', 'Requests for a role'],
  ['errors', 'Requests for a role that were answered with 5xx'],
  ['bytesIn', 'Bytes of request bodies for a role'],
  ['bytesOut', 'Bytes of answer bodies of a role']
] as const
const WINDOW_MS = 15_000

/** Counts what went through the gateway, in all, by role and by instance. */
export class Traffic {
  readonly total = new Flow()
  /** Requests that are under way. */
  active = 0
  readonly roles = new Map<string, Flow>()
  readonly instances = new Map<string, Flow>()
  #turnedAt = performance.now()

  record(exchange: Exchange) {
    this.#turnMaybe()
    const { role, instance } = exchange
    const bucket = bucketOf(exchange.ms)
    this.total.record(exchange, bucket)
    if (role !== '') flowOf(this.roles, role).record(exchange, bucket)
    if (instance !== '') flowOf(this.instances, instance).record(exchange, bucket)
  }

  /** The counters of each role as metrics. */
  *measures(): Iterable<Measure> {
    for (const [role, flow] of this.roles) {
      for (const [field, help] of FIELDS) {
        const name = `hyperseaport_web_role_${field.replace('bytes', 'bytes_').toLowerCase()}`
        yield { name, help, type: 'counter', labels: { role }, value: flow[field] }
      }
      yield {
        name: 'hyperseaport_web_role_latency_seconds',
        help: 'Until answers began',
        type: 'histogram',
        labels: { role },
        value: flow.latency
      }
    }
  }

  /** Forgets roles and instances that are not listed here. */
  retain(roles: ReadonlySet<string>, instances: ReadonlySet<string>) {
    for (const role of this.roles.keys()) if (!roles.has(role)) this.roles.delete(role)
    for (const key of this.instances.keys()) if (!instances.has(key)) this.instances.delete(key)
  }

  #turnMaybe() {
    const now = performance.now()
    if (now - this.#turnedAt < WINDOW_MS) return
    this.#turnedAt = now
    for (const flow of [this.total, ...this.roles.values(), ...this.instances.values()]) flow.turn()
  }
}

function flowOf(flows: Map<string, Flow>, key: string): Flow {
  const known = flows.get(key)
  if (known) return known
  const flow = new Flow()
  flows.set(key, flow)
  return flow
}
