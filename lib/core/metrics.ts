import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Counter, Gauge, Registry } from 'prom-client'
import { SeaportError } from './errors.js'
import { ReadyResource } from './holepunch.js'
import { listenError } from './network.js'

/** One number, as it is now. */
export interface Measure {
  /** As in `hyperseaport_registry_leases`; a counter's without its `_total`. */
  name: string
  help: string
  type: 'counter' | 'gauge'
  labels?: Record<string, string>
  value: number
}

/** Reads the numbers, for one scrape. */
export type Measures = () => Iterable<Measure>

/** What a number in a `stats` object means, by its component and path. What is not here is a gauge. */
const MEANINGS: Record<string, [type: Measure['type'], help: string]> = {
  registry_leases: ['gauge', 'Services whose lease this registrar holds'],
  registry_granted: ['counter', 'Lease requests that were granted'],
  registry_denied: ['counter', 'Lease requests that were denied'],
  registry_lost: ['counter', 'Leases that were lost'],
  registry_stale: ['gauge', 'Instances that are kept although their leases vanished'],
  registry_peers: ['gauge', 'Connections to other participants'],
  registry_instances: ['gauge', 'Instances in the directory'],
  service_registrars: ['gauge', 'Registrars that hold the lease'],
  service_links: ['gauge', 'Links from consumers'],
  service_direct: ['gauge', 'Links from consumers on the direct path'],
  service_accepted: ['counter', 'Streams that were joined with the backend'],
  service_refused: ['counter', 'Streams that were refused'],
  service_reset: ['counter', 'Streams that were cut before their end'],
  service_health_checks: ['counter', 'Times that the backend was looked at'],
  service_health_failures: ['counter', 'Times that the backend was not well'],
  service_command_starts: ['counter', 'Starts of the supervised command'],
  service_command_exits: ['counter', 'Ends of the supervised command'],
  proxy_instances: ['gauge', 'Instances that match'],
  proxy_registrars: ['gauge', 'Registrars that are connected'],
  proxy_behind: [
    'gauge',
    'Blocks of the logs of live registrars that are not in the directory yet'
  ],
  proxy_peers: ['gauge', 'Connections to other participants'],
  proxy_links_links: ['gauge', 'Links to services'],
  proxy_links_direct: ['gauge', 'Links to services on the direct path'],
  proxy_links_made: ['counter', 'Links that were made'],
  proxy_links_lost: ['counter', 'Links that were lost'],
  proxy_proxy_connections: ['gauge', 'Connections to the local port'],
  proxy_proxy_connected: ['counter', 'Connections that were joined with an instance'],
  proxy_proxy_refused: ['counter', 'Connections that found no instance'],
  proxy_proxy_reset: ['counter', 'Connections that were cut before their end'],
  proxy_dialer_dialed: ['counter', 'Streams that were connected'],
  proxy_dialer_failed_attempts: ['counter', 'Attempts at an instance that failed'],
  proxy_dialer_failed: ['counter', 'Dials that found no instance'],
  web_registrars: ['gauge', 'Registrars that are connected'],
  web_behind: ['gauge', 'Blocks of the logs of live registrars that are not in the directory yet'],
  web_peers: ['gauge', 'Connections to other participants'],
  web_links_links: ['gauge', 'Links to services'],
  web_links_direct: ['gauge', 'Links to services on the direct path'],
  web_links_made: ['counter', 'Links that were made'],
  web_links_lost: ['counter', 'Links that were lost'],
  web_gateway_active: ['gauge', 'Requests under way'],
  web_gateway_connections: ['gauge', 'Connections from clients'],
  web_gateway_streams_idle: ['gauge', 'Streams to instances that are kept for the next request'],
  web_gateway_streams_reused: ['counter', 'Requests that went over a kept stream'],
  web_gateway_streams_opened: ['counter', 'Streams to instances that were opened'],
  web_gateway_retries_retries: ['counter', 'Requests that were sent to another instance'],
  web_gateway_retries_denied: ['counter', 'Retries that the budget did not allow'],
  web_gateway_requests: ['counter', 'Requests for services'],
  web_gateway_errors: ['counter', 'Requests for services that were answered with 5xx'],
  web_gateway_bytes_in: ['counter', 'Bytes of request bodies'],
  web_gateway_bytes_out: ['counter', 'Bytes of answer bodies']
}

/** The numbers of a `stats` object, those of nested objects by their path. Lists are left out. */
export function* measuresOf(
  component: string,
  stats: object,
  labels: Record<string, string> = {}
): Iterable<Measure> {
  for (const [key, value] of Object.entries(stats)) {
    const path = `${component}_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`
    if (typeof value === 'number') {
      const [type, help] = MEANINGS[path] ?? ['gauge', path.replaceAll('_', ' ')]
      yield { name: `hyperseaport_${path}`, help, type, labels, value }
    } else if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      yield* measuresOf(path, value, labels)
    }
  }
}

/** How far the copies of the registry's logs are. */
export function* measuresOfLogs(
  logs: Iterable<{ logKey: string; applied: number; offered: number; live: boolean }>
): Iterable<Measure> {
  for (const { logKey, applied, offered, live } of logs) {
    const labels = { log: logKey.slice(0, 8) }
    const gauge = { type: 'gauge', labels } as const
    yield {
      ...gauge,
      name: 'hyperseaport_log_applied_blocks',
      help: 'Blocks of a log that are in the directory',
      value: applied
    }
    yield {
      ...gauge,
      name: 'hyperseaport_log_offered_blocks',
      help: 'Blocks of a log that others have',
      value: offered
    }
    yield {
      ...gauge,
      name: 'hyperseaport_log_live',
      help: 'Whether the registrar of a log is connected',
      value: Number(live)
    }
  }
}

/** The numbers in OpenMetrics' text format, with those of the process. */
export class Metrics {
  readonly #measures: Measures
  #process: Registry | null = null

  constructor(measures: Measures) {
    this.#measures = measures
  }

  async render(): Promise<{ type: string; text: string }> {
    // Only who is asked for metrics loads the library: each command would start the slower for it.
    const { Counter, collectDefaultMetrics, Gauge, Registry } = await import('prom-client')
    const type = Registry.OPENMETRICS_CONTENT_TYPE
    const make = (): Registry => {
      const registry = new Registry()
      // Typed for Prometheus' own format, which the library's functions take.
      ;(registry as unknown as Registry<typeof type>).setContentType(type)
      return registry
    }
    if (this.#process === null) {
      this.#process = make()
      collectDefaultMetrics({ register: this.#process })
    }
    const own = make()
    const known = new Map<string, Counter | Gauge>()
    for (const { name, help, type, labels = {}, value } of this.#measures()) {
      const config = { name, help, labelNames: Object.keys(labels), registers: [own] }
      const metric =
        known.get(name) ?? (type === 'counter' ? new Counter(config) : new Gauge(config))
      known.set(name, metric)
      metric.inc(labels, value)
    }
    return { type, text: await Registry.merge([own, this.#process]).metrics() }
  }
}

export interface MetricsServerOptions {
  measures: Measures
  /** 0 for a free one. */
  port: number
  host?: string
}

const LOOPBACK = '127.0.0.1'

/** A port with `/metrics` and nothing else. */
export class MetricsServer extends ReadyResource {
  readonly #server: Server
  readonly #host: string
  #port: number

  constructor({ measures, port, host = LOOPBACK }: MetricsServerOptions) {
    super()
    const metrics = new Metrics(measures)
    this.#port = port
    this.#host = host
    this.#server = createServer(async (request, response) => {
      if (request.url?.split('?', 1)[0] !== '/metrics') return response.writeHead(404).end()
      try {
        const { type, text } = await metrics.render()
        response.writeHead(200, { 'Content-Type': type }).end(text)
      } catch (error) {
        response.writeHead(500).end()
        this.emit('notice', SeaportError.CLOSED(`the metrics failed (${(error as Error).message})`))
      }
      return response
    })
  }

  /** The port it listens on. */
  get port(): number {
    return this.#port
  }

  /** @throws PORT_IN_USE, LISTEN_FAILED */
  setup(): Promise<void> {
    return this.ready()
  }

  destroy(): Promise<void> {
    return this.close()
  }

  override async _open() {
    try {
      this.#server.listen(this.#port, this.#host)
      await once(this.#server, 'listening')
    } catch (cause) {
      throw listenError(cause, `port ${this.#port} on ${this.#host}`)
    }
    this.#port = (this.#server.address() as AddressInfo).port
  }

  override async _close() {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
