/** What the gateway says over /-/events, and what is made of it here. */

/** An instance as the gateway shows it: by its key, or by an id to who may not reach everything. */
type InstanceView = Omit<Instance, 'key'> & ({ servicePublicKey: string } | { id: string })

export interface Instance {
  role: string
  version: string
  /** What leads to it here, at `/instance/<key>/`: its public key, or an id. */
  key: string
  tags: string[]
  status: string
  /** What is wrong, where it fails; for who may reach everything. */
  reason?: string
  live: boolean
  /** What streams to it may be for: an older gateway does not say. */
  speaks?: readonly string[]
  seq: number
}

export interface Log {
  logKey: string
  registrarKey: string
  applied: number
  offered: number
  live: boolean
}

export interface App {
  app: string
  version: string
  state: string
  wanted: number | 'all'
  hostnames: string[]
  instances: { key: string; host: string; slot: number; version: string; status: string }[]
}

export interface Host {
  key: string
  name: string
  state: 'ready' | 'draining' | 'stale'
  labels: string[]
}

/** Requests, of them failed, bytes in and out since the start; p50 and p99 of late, in ms. */
type FlowNumbers = [number, number, number, number, number, number]

interface Tick {
  now: number
  active: number | null
  total: FlowNumbers | null
  roles: Record<string, FlowNumbers>
  flows: Record<string, FlowNumbers>
  paths: Record<string, { kind: string; rtt: number | null } | null>
  /** Service keys by the log that vouches for them now, where that is new. This and the next three are for operators. */
  holders?: Record<string, string[]>
  /** Apps and the machines that run them, where something of it has changed. */
  hosted?: { apps: App[]; hosts: Host[] }
  logs?: Log[]
  peers?: number
}

interface Snapshot extends Tick {
  registry?: string
  viewer: string
  instances: InstanceView[]
  /** The counters of the last seconds, by role; '' is the total. */
  history: { now: number; flows: Record<string, FlowNumbers> }[]
}

/** What happened in one second, each per second. */
export interface Sample {
  at: number
  requests: number
  errors: number
  bytes: number
  p50: number
  p99: number
}

export interface Happening {
  at: number
  change: 'up' | 'update' | 'down'
  instance: Instance
}

/** Numbers come each second. */
const SILENCE_MS = 5000
const HISTORY = 120
const HAPPENINGS = 40
const NOTHING: FlowNumbers = [0, 0, 0, 0, 0, 0]

/** All that the pages show. Calls `onchange` at most once a frame. */
export class Feed {
  isConnected = false
  /** The registry's public key, empty for who may not reach everything. */
  registry = ''
  viewer = ''
  peers = 0
  active: number | null = null
  logs: Log[] = []
  apps: App[] = []
  hosts: Host[] = []
  paths: Tick['paths'] = {}
  readonly instances = new Map<string, Instance>()
  /** The log of each instance, by service key. */
  readonly logOf = new Map<string, string>()
  /** By role, and by service key; what is asked for under '' is the total. */
  readonly samples = new Map<string, Sample[]>()
  readonly happenings: Happening[] = []

  readonly #onchange: () => void
  #last: { now: number; flows: Map<string, FlowNumbers> } | null = null
  #isDue = false

  constructor(onchange: () => void) {
    this.#onchange = onchange
  }

  /** Listens, and begins anew when the gateway has said nothing for a while: it may hang, or have had no room for us. */
  open() {
    const source = new EventSource('/-/events')
    let heardAt = Date.now()
    const watchdog = setInterval(() => {
      // A clock that was set back is as good a reason to begin anew as a silence.
      if (Math.abs(Date.now() - heardAt) < SILENCE_MS) return
      clearInterval(watchdog)
      source.close()
      this.isConnected = false
      this.#schedule()
      this.open()
    }, SILENCE_MS / 5)
    for (const event of ['snapshot', 'change', 'tick']) {
      source.addEventListener(event, () => {
        heardAt = Date.now()
        this.isConnected = true
      })
    }
    source.addEventListener('snapshot', (event) => this.#onsnapshot(JSON.parse(event.data)))
    source.addEventListener('change', (event) => this.#onhappening(JSON.parse(event.data)))
    source.addEventListener('tick', (event) => this.#ontick(JSON.parse(event.data)))
    source.onerror = () => {
      this.isConnected = false
      this.#schedule()
    }
  }

  /** The last second of a role, of a service key, or of all. */
  now(key: string): Sample {
    return (
      this.samples.get(key)?.at(-1) ?? { at: 0, requests: 0, errors: 0, bytes: 0, p50: 0, p99: 0 }
    )
  }

  /** The registrar that vouches for an instance, or did. */
  registrarOf(key: string): Log | undefined {
    return this.logs.find(({ logKey }) => logKey === this.logOf.get(key))
  }

  #onsnapshot({ registry = '', viewer, instances, history, ...tick }: Snapshot) {
    this.isConnected = true
    this.registry = registry
    this.viewer = viewer
    this.instances.clear()
    this.logOf.clear()
    this.apps = []
    this.hosts = []
    for (const instance of instances.map(read)) this.instances.set(instance.key, instance)
    // The gateway may be another one now, with counters of its own.
    this.#last = null
    this.samples.clear()
    for (const { now, flows } of history) this.#advance(now, new Map(Object.entries(flows)))
    this.#ontick(tick)
  }

  #onhappening({
    change,
    instance: view
  }: {
    change: Happening['change']
    instance: InstanceView
  }) {
    const instance = read(view)
    if (change === 'down') {
      this.instances.delete(instance.key)
      this.samples.delete(instance.key)
    } else this.instances.set(instance.key, instance)
    this.happenings.unshift({ at: Date.now(), change, instance })
    this.happenings.length = Math.min(this.happenings.length, HAPPENINGS)
    this.#schedule()
  }

  #ontick({ now, active, total, roles, flows, paths, ...inside }: Tick) {
    const { holders = {}, logs = [], peers = 0, hosted = {} } = inside
    Object.assign(this, { active, paths, logs, peers, ...hosted })
    for (const [log, keys] of Object.entries(holders)) {
      for (const key of keys) this.logOf.set(key, log)
    }
    const numbers = new Map([...Object.entries(roles), ...Object.entries(flows)])
    numbers.set('', total ?? sum(Object.values(roles)))
    this.#advance(now, numbers)
    this.#schedule()
  }

  #advance(now: number, numbers: Map<string, FlowNumbers>) {
    if (this.#last) {
      const seconds = Math.max(0.001, (now - this.#last.now) / 1000)
      for (const [key, flow] of numbers) {
        this.#add(key, sampleOf(now, seconds, this.#last.flows.get(key) ?? NOTHING, flow))
      }
    }
    this.#last = { now, flows: numbers }
  }

  #add(key: string, sample: Sample) {
    const samples = this.samples.get(key) ?? []
    samples.push(sample)
    if (samples.length > HISTORY) samples.shift()
    this.samples.set(key, samples)
  }

  #schedule() {
    if (this.#isDue) return
    this.#isDue = true
    requestAnimationFrame(() => {
      this.#isDue = false
      this.#onchange()
    })
  }
}

function read(view: InstanceView): Instance {
  return { ...view, key: 'id' in view ? view.id : view.servicePublicKey }
}

function sampleOf(at: number, seconds: number, before: FlowNumbers, flow: FlowNumbers): Sample {
  const [requests, errors, bytesIn, bytesOut, p50, p99] = flow
  const rate = (now: number, then: number) => Math.max(0, now - then) / seconds
  return {
    at,
    requests: rate(requests, before[0]),
    errors: rate(errors, before[1]),
    bytes: rate(bytesIn + bytesOut, before[2] + before[3]),
    // Of a second without requests there is no latency to tell.
    p50: requests > before[0] ? p50 : 0,
    p99: requests > before[0] ? p99 : 0
  }
}

function sum(flows: FlowNumbers[]): FlowNumbers {
  const total: FlowNumbers = [0, 0, 0, 0, 0, 0]
  for (const [requests, errors, bytesIn, bytesOut, p50, p99] of flows) {
    total[0] += requests
    total[1] += errors
    total[2] += bytesIn
    total[3] += bytesOut
    total[4] = Math.max(total[4], p50)
    total[5] = Math.max(total[5], p99)
  }
  return total
}
