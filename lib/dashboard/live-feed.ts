import type { ServerResponse } from 'node:http'
import type { AccessList, Principal } from '../gateway/access.js'
import type { InstanceViews } from '../gateway/instance-views.js'
import type { Flow, Traffic } from '../gateway/traffic.js'
import type { Directory, DirectoryChange, Instance } from '../registry/replica/directory.js'
import type { LogView } from '../registry/replica/known-logs.js'
import type { Hosted } from './hosted.js'

export interface LiveFeedOptions {
  registryPublicKey: string
  directory: Directory
  views: InstanceViews
  traffic: Traffic
  logs: () => LogView[]
  /** Apps, and the machines that run them. */
  hosted: () => Hosted
  /** Connections to other participants. */
  peers: () => number
  /** How the link to an instance goes, if there is one. */
  pathOf: (key: string) => { kind: string; rtt: number | null } | null
  /** How often numbers are sent, in ms. */
  interval?: number
}

/** Requests, of them failed, bytes in and out since the start; p50 and p99 of late, in ms. */
type FlowNumbers = [number, number, number, number, number, number]

/** The counters as they were, by role; '' is the total. */
interface Moment {
  now: number
  flows: Map<string, FlowNumbers>
}

interface Watcher {
  response: ServerResponse
  principal: Principal
  /** The address that it counts for. */
  client: string
  /** The log that each instance stands in, as the watcher was told last. */
  logOf: Map<string, string>
  /** Apps and hosts, as JSON, as the watcher was told last. */
  hosted: string
}

export const FEED_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no'
}

const INTERVAL_MS = 1000
/** What a watcher may leave unread, in bytes: one that takes nothing is cut, and comes back by itself. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024
const MAX_WATCHERS = 256
/** Of them, those who may not reach everything, or did not say who they are: the rest is kept for operators. */
const MAX_GUESTS = 192
/** Of guests, those of one client address. */
const MAX_GUESTS_OF_ADDRESS = 32
const RETRY_AFTER_S = 5
/** The last samples, which a page draws its charts of as soon as it is opened. */
const HISTORY = 121
/** How often state of roles and instances that have gone is removed, in ticks. */
const TIDY_TICKS = 30

/**
 * What the dashboard shows, as server-sent events: `snapshot` once, `change` for each instance that comes,
 * changes or goes, and `tick` with the numbers. Nobody is told of what they may not reach.
 */
export class LiveFeed {
  readonly #options: LiveFeedOptions
  readonly #watchers = new Set<Watcher>()
  readonly #history: Moment[] = []
  #ticks = 0
  #ticker: NodeJS.Timeout | null = null
  #stopWatching: () => void = () => {}

  constructor(options: LiveFeedOptions) {
    this.#options = options
  }

  /** Tells a client all there is, and all that happens from now on, until it leaves. */
  attach(response: ServerResponse, principal: Principal, client: string) {
    if (!this.#hasRoomFor(principal, client)) {
      response.writeHead(503, { 'Retry-After': `${RETRY_AFTER_S}` }).end()
      return
    }
    response.writeHead(200, FEED_HEADERS)
    const watcher = { response, principal, client, logOf: new Map(), hosted: '' }
    this.#watchers.add(watcher)
    response.on('close', () => this.#detach(watcher))
    response.on('error', () => {})
    this.#send(watcher, 'snapshot', this.#snapshot(watcher))
    if (this.#watchers.size > 1) return
    this.#stopWatching = this.#options.directory.watch((change, instance) =>
      this.#onchange(change, instance)
    )
  }

  /** Ends the streams of those whose rights have changed. Their pages come back, and see what they may now. */
  recheck(access: Pick<AccessList, 'isCurrent'>) {
    for (const { response, principal } of this.#watchers) {
      if (!access.isCurrent(principal)) response.end()
    }
  }

  /** Begins to take samples. */
  open() {
    const { interval = INTERVAL_MS } = this.#options
    this.#ticker = setInterval(() => this.#tick(), interval)
  }

  close() {
    for (const { response } of this.#watchers) response.end()
    this.#stopWatching()
    if (this.#ticker) clearInterval(this.#ticker)
  }

  #hasRoomFor(principal: Principal, client: string): boolean {
    if (this.#watchers.size >= MAX_WATCHERS) return false
    if (!isGuest(principal)) return true
    const guests = [...this.#watchers].filter(({ principal }) => isGuest(principal))
    const neighbours = guests.filter((guest) => guest.client === client)
    return guests.length < MAX_GUESTS && neighbours.length < MAX_GUESTS_OF_ADDRESS
  }

  #detach(watcher: Watcher) {
    this.#watchers.delete(watcher)
    if (this.#watchers.size === 0) this.#stopWatching()
  }

  #onchange(change: DirectoryChange, instance: Instance) {
    for (const watcher of this.#watchers) {
      const { principal } = watcher
      if (!principal.mayReach(instance.role, instance.version)) continue
      const shown = this.#options.views.of(instance, principal)
      this.#send(watcher, 'change', { change, instance: shown })
    }
  }

  #tick() {
    const { traffic } = this.#options
    if (++this.#ticks % TIDY_TICKS === 0) this.#tidy()
    const flows = new Map([['', numbersOf(traffic.total)]])
    for (const [role, flow] of traffic.roles) flows.set(role, numbersOf(flow))
    this.#history.push({ now: Date.now(), flows })
    if (this.#history.length > HISTORY) this.#history.shift()
    if (this.#watchers.size === 0) return
    const instances = this.#options.directory.list()
    for (const watcher of this.#watchers) {
      this.#send(watcher, 'tick', {
        ...this.#numbers(watcher.principal),
        ...this.#inside(instances, watcher)
      })
    }
  }

  #tidy() {
    const { directory, traffic } = this.#options
    const instances = directory.list()
    const keys = new Set(instances.map(({ servicePublicKey }) => servicePublicKey))
    traffic.retain(new Set(instances.map(({ role }) => role)), keys)
  }

  #snapshot(watcher: Watcher) {
    const { registryPublicKey, directory, views } = this.#options
    const { principal } = watcher
    const instances = directory.list()
    return {
      // Whoever knows the registry's public key may join it, so guests are not shown it.
      ...(principal.mayReachAll && { registry: registryPublicKey }),
      viewer: principal.name,
      instances: visible(instances, principal).map((instance) => views.of(instance, principal)),
      history: this.#history.map(({ now, flows }) => ({
        now,
        flows: Object.fromEntries(
          [...flows].filter(([role]) =>
            role === '' ? principal.mayReachAll : principal.mayReachRole(role)
          )
        )
      })),
      ...this.#numbers(principal),
      ...this.#inside(instances, watcher)
    }
  }

  /** How the registry is made: logs, registrars, hosts and peers are for those who may reach all that there is. */
  #inside(instances: Instance[], watcher: Watcher) {
    if (!watcher.principal.mayReachAll) return {}
    const { directory, logs, peers } = this.#options
    return {
      holders: holdersOf(instances, watcher, directory),
      logs: logs(),
      peers: peers(),
      ...this.#hostedFor(watcher)
    }
  }

  /** Apps and hosts, unless the watcher knows all of it. */
  #hostedFor(watcher: Watcher): { hosted?: Hosted } {
    const hosted = this.#options.hosted()
    const text = JSON.stringify(hosted)
    if (text === watcher.hosted) return {}
    watcher.hosted = text
    return { hosted }
  }

  #numbers(principal: Principal) {
    const { directory, traffic, views, pathOf } = this.#options
    const isVisible = (key: string) => {
      const instance = directory.get(key)
      return instance !== null && principal.mayReach(instance.role, instance.version)
    }
    const nameOf = (key: string) => views.nameOf(key, principal)
    const keys = [...traffic.instances.keys()].filter(isVisible)
    return {
      now: Date.now(),
      active: principal.mayReachAll ? traffic.active : null,
      total: principal.mayReachAll ? numbersOf(traffic.total) : null,
      roles: collect([...traffic.roles.keys()].filter(principal.mayReachRole), traffic.roles),
      flows: collect(keys, traffic.instances, nameOf),
      paths: Object.fromEntries(keys.map((key) => [nameOf(key), pathOf(key)]))
    }
  }

  #send({ response }: Watcher, event: string, data: unknown) {
    if (response.writableLength > MAX_UNREAD_BYTES) {
      response.destroy()
      return
    }
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }
}

function collect(
  keys: string[],
  flows: ReadonlyMap<string, Flow>,
  nameOf = (key: string) => key
): Record<string, FlowNumbers> {
  return Object.fromEntries(keys.map((key) => [nameOf(key), numbersOf(flows.get(key) as Flow)]))
}

/** Whether it is a guest: there may be any number of them, so theirs are bounded. */
function isGuest({ isAnonymous, mayReachAll }: Principal): boolean {
  return isAnonymous || !mayReachAll
}

function numbersOf(flow: Flow): FlowNumbers {
  const { requests, errors, bytesIn, bytesOut } = flow
  return [requests, errors, bytesIn, bytesOut, flow.percentile(0.5), flow.percentile(0.99)]
}

function visible(instances: Instance[], principal: Principal): Instance[] {
  return instances.filter(({ role, version }) => principal.mayReach(role, version))
}

/** Instances by the log that vouches for them, as far as the watcher was not told so. */
function holdersOf(
  instances: Instance[],
  watcher: Watcher,
  directory: Directory
): Record<string, string[]> {
  const news: Record<string, string[]> = {}
  const logOf = new Map<string, string>()
  for (const { servicePublicKey: key } of instances) {
    const log = directory.logOf(key)
    if (log === null) continue
    logOf.set(key, log)
    if (watcher.logOf.get(key) === log) continue
    news[log] ??= []
    news[log].push(key)
  }
  watcher.logOf = logOf
  return news
}
