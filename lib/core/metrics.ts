import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { Registry } from 'prom-client'
import { SeaportError } from './errors.js'
import { expose, type Family, formatFor, type Sample } from './exposition.js'
import type { Histogram } from './histogram.js'
import { ReadyResource } from './holepunch.js'
import { hostnameOf, isOwnable } from './hostname.js'
import { LOOPBACK, listen } from './listen.js'

/** One number, as it is now; or how long things took. */
export type Measure = {
  /** As in `hyperseaport_registry_leases`; a counter's without its `_total`. */
  name: string
  help: string
  labels?: Record<string, string>
} & ({ type: 'counter' | 'gauge'; value: number } | { type: 'histogram'; value: Histogram })

/** Reads the numbers, for one scrape. */
export type Measures = () => Iterable<Measure>

type Meanings = Record<string, [type: 'counter' | 'gauge', help: string]>

/** What a number in a `stats` object means, by its component and path. What is not here is a gauge. */
const MEANINGS: Meanings = {
  registry_leases: ['gauge', 'Services whose lease this registrar holds'],
  registry_granted: ['counter', 'Lease requests that were granted'],
  registry_denied: ['counter', 'Lease requests that were denied'],
  registry_lost: ['counter', 'Leases that were lost'],
  registry_stale: ['gauge', 'Instances that are kept although their leases vanished'],
  registry_peers: ['gauge', 'Connections to other participants'],
  registry_instances: ['gauge', 'Instances in the directory'],
  ...forwardingOf('registry_forwarding'),
  registry_relay_pairs: ['gauge', 'Pairs that the relay passes on between'],
  registry_relay_paired: ['counter', 'Pairs that the relay has passed on between'],
  registry_relay_refused: [
    'counter',
    'Connections that the relay did not take, as it had pairs enough'
  ],
  registry_relay_ended: ['counter', 'Pairs that the relay ended, as it passed on too much'],
  registry_relay_bytes: ['counter', 'Bytes that the relay has passed on'],
  service_registrars: ['gauge', 'Registrars that hold the lease'],
  service_links: ['gauge', 'Links from consumers'],
  service_direct: ['gauge', 'Links from consumers on the direct path'],
  service_accepted: ['counter', 'Streams that were joined with the backend'],
  service_refused: ['counter', 'Streams that were refused'],
  service_reset: ['counter', 'Streams that were cut before their end'],
  service_displaced: ['counter', 'Idle links that gave way, as there were too many'],
  service_health_checks: ['counter', 'Times that the backend was looked at'],
  service_health_failures: ['counter', 'Times that the backend was not well'],
  service_mail_outbox_sent: ['counter', 'Letters that were written'],
  service_mail_outbox_delivered: ['counter', 'Letters whose receiver has signed that they came'],
  service_mail_outbox_refused: ['counter', 'Letters that their receiver refused'],
  service_mail_outbox_expired: ['counter', 'Letters that were not delivered in their time'],
  service_mail_outbox_recalled: ['counter', 'Letters that were taken back'],
  service_mail_outbox_attempts: ['counter', 'Times that a letter was sent'],
  service_mail_outbox_failed: ['counter', 'Times that no way to a receiver was found'],
  service_mail_outbox_waiting_letters: ['gauge', 'Letters without a final receipt'],
  service_mail_outbox_waiting_bytes: ['gauge', 'Bytes of letters without a final receipt'],
  service_mail_mailbox_kept: ['counter', 'Letters that were taken to be kept for others'],
  service_mail_mailbox_given: ['counter', 'Letters whose receiver has signed for them'],
  service_mail_mailbox_letters: ['gauge', 'Letters that are kept for others'],
  service_mail_mailbox_bytes: ['gauge', 'Bytes of them'],
  service_mail_mailbox_recalled: ['counter', 'Kept letters that their writers took back'],
  service_mail_mailbox_expired: ['counter', 'Kept letters whose time was over'],
  service_mail_mailbox_refused: ['counter', 'Letters that were not kept, as there was too much'],
  service_mail_mailbox_dropped: ['counter', 'Kept letters that gave way to those of others'],
  service_mail_mailbox_moved: ['counter', 'Kept letters that other mailboxes took over'],
  service_mail_inbox_taken: ['counter', 'Letters that came'],
  service_mail_inbox_repeated: ['counter', 'Letters that had come before'],
  service_mail_inbox_refused: ['counter', 'Letters that were refused with a code'],
  service_mail_inbox_handled: ['counter', 'Letters whose handler was done'],
  service_mail_inbox_failed: ['counter', 'Times that a handler threw'],
  service_mail_inbox_dropped: ['counter', 'What was no letter, or not signed'],
  service_mail_inbox_waiting_letters: ['gauge', 'Letters in the inbox'],
  service_mail_inbox_waiting_bytes: ['gauge', 'Bytes of letters in the inbox'],
  service_mail_inbox_seen: ['gauge', 'Letters that are remembered, so as to be handled once'],
  ...forwardingOf('service_mail_forwarding'),
  service_clients_gateways: ['gauge', 'Gateways that bring clients'],
  service_clients_sessions: ['gauge', 'Sessions of clients, those that are away included'],
  service_clients_connected: ['counter', 'Pages that were admitted here'],
  service_clients_refused: ['counter', 'Pages that were refused here'],
  service_clients_messages: ['counter', 'Messages of clients'],
  service_clients_sent: ['counter', 'Messages to clients: broadcasts, directs and presence'],
  service_clients_kept: ['gauge', 'Directs that are kept for people whose pages are all away'],
  service_clients_kept_bytes: ['gauge', 'Bytes of directs that are kept'],
  service_clients_kept_expired: ['counter', 'Kept directs whose time was over'],
  service_events_emitted: ['counter', 'Events that were emitted'],
  service_events_subscribers: ['gauge', 'Subscriptions to events'],
  service_events_dropped: ['counter', 'Events that a subscriber missed, as it did not read'],
  service_state_written: ['counter', 'Writes to the shared state'],
  service_state_failed: ['counter', 'Writes to the shared state that were refused'],
  service_state_entries: ['gauge', 'Entries of the shared state'],
  service_command_starts: ['counter', 'Starts of the supervised command'],
  service_command_exits: ['counter', 'Ends of the supervised command'],
  proxy_instances: ['gauge', 'Instances that match'],
  proxy_registrars: ['gauge', 'Registrars that are connected'],
  proxy_behind: [
    'gauge',
    'Blocks of the logs of live registrars that are not in the directory yet'
  ],
  proxy_peers: ['gauge', 'Connections to other participants'],
  proxy_links: ['gauge', 'Links to services'],
  proxy_links_direct: ['gauge', 'Links to services on the direct path'],
  proxy_links_made: ['counter', 'Links that were made'],
  proxy_links_lost: ['counter', 'Links that were lost'],
  proxy_proxy_connections: ['gauge', 'Connections to the local port'],
  proxy_proxy_connected: ['counter', 'Connections that were joined with an instance'],
  proxy_proxy_refused: ['counter', 'Connections that found no instance'],
  proxy_proxy_reset: ['counter', 'Connections that were cut before their end'],
  proxy_dialer_dialed: ['counter', 'Streams that were connected'],
  proxy_dialer_overtaken: ['counter', 'Attempts that another instance answered first'],
  proxy_dialer_failed_attempts: ['counter', 'Attempts at an instance that failed'],
  proxy_dialer_failed: ['counter', 'Dials that found no instance'],
  proxy_commands_sent: ['counter', 'Commands that were sent'],
  proxy_commands_failed: ['counter', 'Commands that ended with an error'],
  web_registrars: ['gauge', 'Registrars that are connected'],
  web_behind: ['gauge', 'Blocks of the logs of live registrars that are not in the directory yet'],
  web_peers: ['gauge', 'Connections to other participants'],
  web_links: ['gauge', 'Links to services'],
  web_links_direct: ['gauge', 'Links to services on the direct path'],
  web_links_made: ['counter', 'Links that were made'],
  web_links_lost: ['counter', 'Links that were lost'],
  web_log_dropped: ['counter', 'Lines of the access log that were dropped, as nobody read them'],
  web_gateway_active: ['gauge', 'Requests under way'],
  web_gateway_connections: ['gauge', 'Connections from clients'],
  web_gateway_streams_idle: ['gauge', 'Streams to instances that are kept for the next request'],
  web_gateway_streams_reused: ['counter', 'Requests that went over a kept stream'],
  web_gateway_streams_opened: ['counter', 'Streams to instances that were opened'],
  web_gateway_retries: ['counter', 'Requests that were sent to another instance'],
  web_gateway_retries_denied: ['counter', 'Retries that the budget did not allow'],
  web_gateway_requests: ['counter', 'Requests for services'],
  web_gateway_errors: ['counter', 'Requests for services that were answered with 5xx'],
  web_gateway_channels_sessions: ['gauge', 'Pages that are on a channel'],
  web_gateway_channels_refused: ['counter', 'Pages that were not let onto a channel'],
  web_gateway_channels_unread: ['counter', 'Pages that were cut, as they did not read'],
  web_gateway_channels_silent: ['counter', 'Pages that were cut, as they were silent'],
  web_gateway_bytes_in: ['counter', 'Bytes of request bodies'],
  web_gateway_bytes_out: ['counter', 'Bytes of answer bodies']
}

/** What the numbers of letters mean that a member passes on. */
function forwardingOf(path: string): Meanings {
  return {
    [`${path}_sent`]: ['counter', 'Letters of our own that were given to others to pass on'],
    [`${path}_passed`]: ['counter', 'Letters of others that were passed on'],
    [`${path}_no_way`]: ['counter', 'Letters to whose receiver no way was found'],
    [`${path}_seeks`]: ['counter', 'Times that neighbours were asked for a way'],
    [`${path}_receipts`]: ['counter', 'Receipts of others that were passed on'],
    [`${path}_limited`]: ['counter', 'Letters, receipts and questions beyond what one may send'],
    [`${path}_dropped`]: ['counter', 'What was forged, expired, or no letter']
  }
}

/** The numbers of a `stats` object, those of nested objects by their path. Lists are left out. */
export function* measuresOf(
  component: string,
  stats: object,
  labels: Record<string, string> = {}
): Iterable<Measure> {
  for (const [key, value] of Object.entries(stats)) {
    const name = key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    // What counts the thing that its object is named after is not named twice.
    const path = component.endsWith(`_${name}`) ? component : `${component}_${name}`
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

/** As they are listed; `stale` is what a registrar makes of them. */
const STATUSES = ['passing', 'failing', 'draining', 'stale']

/** How many instances the directory has of each status; of each status there is, so that a graph goes to 0. */
export function* measuresOfInstances(instances: Iterable<{ status: string }>): Iterable<Measure> {
  const counts = new Map(STATUSES.map((status) => [status, 0]))
  for (const { status } of instances) counts.set(status, (counts.get(status) ?? 0) + 1)
  for (const [status, value] of counts) {
    const help = 'Instances in the directory, by status'
    yield { name: 'hyperseaport_instances', help, type: 'gauge', labels: { status }, value }
  }
}

/** The numbers in Prometheus' text formats, with those of the process. */
export class Metrics {
  readonly #measures: Measures
  #process: Registry | null = null

  constructor(measures: Measures) {
    this.#measures = measures
  }

  /** @param accept what the scraper takes, as in its `Accept` */
  async render(accept?: string): Promise<{ type: string; text: string }> {
    const format = formatFor(accept)
    const families = [buildInfo(), ...familiesOf(this.#measures()), ...(await this.#ofProcess())]
    return { type: format.contentType, text: expose(families, format) }
  }

  async #ofProcess(): Promise<Family[]> {
    if (this.#process === null) {
      // Only who is asked for metrics loads the library: each command would start the slower for it.
      const { collectDefaultMetrics, Registry } = await import('prom-client')
      this.#process = new Registry()
      collectDefaultMetrics({ register: this.#process })
    }
    const metrics = (await this.#process.getMetricsAsJSON()) as unknown as ProcessMetric[]
    // Three of its gauges are named as counters are; what they add up is there by type as well.
    const rightly = metrics.filter(
      ({ name, type }) => type === 'counter' || !name.endsWith('_total')
    )
    return rightly.map(({ name, help, type, values }) => ({
      name: type === 'counter' ? name.replace(/_total$/, '') : name,
      help,
      type,
      samples: values.map(({ metricName = name, labels, value }) => {
        const suffix = metricName.slice(name.length) as Sample['suffix']
        return { suffix, labels, value }
      })
    }))
  }
}

/** What prom-client collects. */
interface ProcessMetric extends Omit<Family, 'samples'> {
  values: { metricName?: string; labels: Sample['labels']; value: number }[]
}

function buildInfo(): Family {
  const { version } = createRequire(import.meta.url)('hyperseaport/package.json')
  const labels = { version, node: process.versions.node }
  const samples: Sample[] = [{ suffix: '', labels, value: 1 }]
  return { name: 'hyperseaport_build_info', help: 'Versions that run', type: 'gauge', samples }
}

function familiesOf(measures: Iterable<Measure>): Iterable<Family> {
  const families = new Map<string, Family>()
  const seen = new Set<string>()
  for (const measure of measures) {
    const { name, help, type } = measure
    const family = families.get(name) ?? { name, help, type, samples: [] }
    families.set(name, family)
    // A registrar with a gateway knows the same logs twice.
    const id = `${name} ${JSON.stringify(measure.labels ?? {})}`
    if (!seen.has(id)) family.samples.push(...samplesOf(measure))
    seen.add(id)
  }
  return families.values()
}

function samplesOf({ labels = {}, ...measure }: Measure): Sample[] {
  if (measure.type !== 'histogram') return [{ suffix: '', labels, value: measure.value }]
  const { count, sum } = measure.value
  const buckets = measure.value.buckets().map(([bound, value]): Sample => {
    return { suffix: '_bucket', labels: { ...labels, le: bound }, value }
  })
  return [
    ...buckets,
    { suffix: '_sum', labels, value: sum },
    { suffix: '_count', labels, value: count }
  ]
}

export interface MetricsServerOptions {
  measures: Measures
  /** 0 for a free one. */
  port: number
  host?: string
}

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
      // A stranger's page may have its own name lead here (DNS rebinding).
      if (isOwnable(hostnameOf(request.headers.host ?? ''))) return response.writeHead(404).end()
      if (request.url?.split('?', 1)[0] !== '/metrics') return response.writeHead(404).end()
      try {
        const { type, text } = await metrics.render(request.headers.accept)
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
    this.#port = await listen(this.#server, { port: this.#port, host: this.#host })
  }

  override async _close() {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
