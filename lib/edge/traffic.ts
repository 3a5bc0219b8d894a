import { Latency } from './latency.js'

/** A request that is over. */
export interface Exchange {
  /** Hex, or empty if no instance was reached. */
  instance: string
  role: string
  status: number
  /** Until the answer began, in ms. */
  ms: number
  bytesIn: number
  bytesOut: number
}

/** Counters of one role or instance since the start, and the latency of late. */
export class Flow {
  requests = 0
  /** Of them: those answered with 5xx. */
  errors = 0
  bytesIn = 0
  bytesOut = 0
  readonly #latencies: [current: Latency, previous: Latency] = [new Latency(), new Latency()]

  record({ status, ms, bytesIn, bytesOut }: Exchange) {
    this.requests++
    if (status >= 500) this.errors++
    this.bytesIn += bytesIn
    this.bytesOut += bytesOut
    this.#latencies[0].record(ms)
  }

  /** In ms, over the last one to two windows. */
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

const WINDOW_MS = 15_000

/** What went through the gateway, in all, by role and by instance. */
export class Traffic {
  readonly total = new Flow()
  /** Requests that are under way. */
  active = 0
  readonly roles = new Map<string, Flow>()
  readonly instances = new Map<string, Flow>()
  #turnedAt = performance.now()

  record(exchange: Exchange) {
    this.#turnMaybe()
    this.total.record(exchange)
    if (exchange.role !== '') flowOf(this.roles, exchange.role).record(exchange)
    if (exchange.instance !== '') flowOf(this.instances, exchange.instance).record(exchange)
  }

  /** Forgets what is no longer there. */
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
