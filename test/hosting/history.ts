import type { Change } from '../../lib/hosting/placement.js'
import type { AppView, HostView, InstanceView } from '../../lib/hosting/placement-view.js'
import { Placer, type PlacerTimings } from '../../lib/hosting/placer.js'
import { SingleRule } from '../../lib/hosting/single-rule.js'
import { randomFrom } from '../random.js'
import { aHost, anApp, Fleet } from './fleet.js'

/** Of the simulated clock, in ms. */
const STEP = 50
const MAX_DELAY = 800
const SYNC = [200, 2000] as const
const DETECTION = [500, 3000] as const
const START = [300, 3000] as const
const DRAIN = [100, 2000] as const

/** What one host says of itself, as it goes to the others. */
interface Notice {
  host: HostView
  instances: InstanceView[]
}

/** A machine: what it runs, and what it knows of the others. */
class Machine {
  readonly view: HostView
  readonly placer: Placer
  isUp = true
  syncedAt: number
  instances: (InstanceView & { due: number })[] = []
  readonly known = new Map<string, Notice>()
  /** What is on its way here, in the order in which it arrives, by who sent it. */
  readonly inbox: { at: number; from: string; notice: Notice | null }[] = []
  lookAt: number
  readonly rule = new SingleRule()
  /** Registrars that it has a lease of, and what becomes of that, later. */
  readonly leases = new Set(REGISTRARS)
  /** When each registrar was last heard of; absent while it is. */
  readonly silentSince = new Map<string, number>()
  readonly leaseNews: { at: number; key: string; isHeld: boolean }[] = []

  constructor(view: HostView, syncedAt: number, timings: Partial<PlacerTimings>) {
    this.view = view
    this.syncedAt = syncedAt
    this.lookAt = syncedAt
    this.placer = new Placer({ host: view.host, timings })
  }
}

const REGISTRARS = ['one', 'two', 'three']

export interface HistoryOptions {
  timings?: Partial<PlacerTimings>
  /** Whether two of an app must never run at once. */
  isSingle?: boolean
}

export interface Breach {
  at: number
  what: string
}

/**
 * One history of some machines that place apps by themselves: they crash, come back, drain and are cut off from each
 * other, and each sees of the others what reaches it, late. It checks what hosting promises.
 */
export class History {
  readonly breaches: Breach[] = []
  readonly log: string[] = []
  readonly #random: () => number
  readonly #timings: Partial<PlacerTimings>
  readonly #machines = new Map<string, Machine>()
  readonly #apps: AppView[]
  readonly #isSingle: boolean
  /** Which side of a partition each machine is on, and each registrar. */
  #sides = new Map<string, number>()
  #registrarSides = [0, 0, 0]
  #now = 0
  /** Whether all that has happened is that the machines were started. */
  #isBeginning = false
  /** Since when nothing has been done to the machines. */
  #calmSince = 0
  /** Since when there have been too few that pass, by app, and why that may be. */
  readonly #shortSince = new Map<string, number>()

  constructor(seed: number, { timings = {}, isSingle = false }: HistoryOptions = {}) {
    this.#random = randomFrom(seed)
    this.#timings = timings
    this.#isSingle = isSingle
    const machines = 2 + this.#upTo(5)
    for (let i = 0; i < machines; i++) this.#boot(aHost({ host: this.#key() }))
    this.#apps = Array.from({ length: 1 + this.#upTo(2) }, (_, i) =>
      anApp({ app: `app-${i}`, instances: isSingle ? 1 : 1 + this.#upTo(machines), isSingle })
    )
  }

  /** Lives through some events with times between them that are short or long, and then to rest. */
  run(events = 6): this {
    this.#isBeginning = true
    this.#pass(this.#isSingle ? 45_000 : 25_000)
    this.#isBeginning = false
    this.#checkRest()
    for (let i = 0; i < events; i++) {
      this.#happen()
      const isLong = this.#random() < 0.5
      this.#pass(
        isLong ? (this.#isSingle ? 90_000 : 45_000) : this.#upTo(this.#isSingle ? 40_000 : 6000)
      )
      if (isLong && this.#isWhole) this.#checkRest()
    }
    this.#heal()
    // Better hosts take over one instance at a time, each after ten quiet seconds.
    this.#pass(
      40_000 + 20_000 * this.#apps.reduce((sum, { instances }) => sum + Number(instances), 0)
    )
    this.#checkRest()
    this.#checkPlaces()
    return this
  }

  #happen() {
    const up = [...this.#machines.values()].filter(({ isUp }) => isUp)
    const down = [...this.#machines.values()].filter(({ isUp }) => !isUp)
    const one = up[this.#upTo(up.length)]
    const lot = this.#random()
    this.#calmSince = this.#now
    if (lot < 0.25 && up.length > 1 && one) this.#crash(one)
    else if (lot < 0.45 && down[0]) this.#boot(down[0].view)
    else if (lot < 0.6 && one) this.#drain(one)
    else if (lot < 0.7) this.#boot(aHost({ host: this.#key() }))
    else if (lot < 0.8) this.#change()
    else if (lot < 0.9) this.#part()
    else this.#heal()
  }

  #crash(machine: Machine) {
    this.#tell('crash', machine)
    machine.isUp = false
    machine.instances = []
    this.#lose(machine, this.#listenersOf(machine))
  }

  #boot(view: HostView) {
    const machine = new Machine(view, this.#now + this.#between(SYNC), this.#timings)
    this.#tell('boot', machine)
    this.#machines.set(view.host, machine)
    const side = this.#upTo(this.#isWhole ? 1 : 2)
    this.#sides.set(view.host, side)
    for (const other of this.#listenersOf(machine)) this.#send(other, machine)
    machine.leases.clear()
    this.#changeLeases(machine)
    this.#publish(machine)
  }

  #drain(machine: Machine) {
    const isDraining = !machine.view.isDraining
    this.#tell(isDraining ? 'drain' : 'undrain', machine)
    Object.assign(machine.view, { isDraining })
    this.#publish(machine)
  }

  /** Another number of instances, or another release. Statements reach all at once here: they are not what is tested. */
  #change() {
    const app = this.#apps[this.#upTo(this.#apps.length)] as AppView
    const release = this.#random() < 0.5 ? `r${this.#now}` : app.release
    const instances = this.#isSingle ? 1 : 1 + this.#upTo(this.#machines.size)
    this.log.push(`${this.#now} ${app.app} is ${release} × ${instances}`)
    Object.assign(app, { release, instances })
    for (const machine of this.#machines.values()) machine.lookAt = this.#now
  }

  #part() {
    if (!this.#isWhole) return
    for (const host of this.#machines.keys()) this.#sides.set(host, this.#upTo(2))
    this.#registrarSides = this.#random() < 0.5 ? [0, 0, 0] : [0, this.#upTo(2), 1]
    this.log.push(
      `${this.#now} parted: ${[...this.#sides].map(([h, s]) => h.slice(0, 4) + s)}, ${this.#registrarSides}`
    )
    for (const machine of this.#machines.values()) {
      const others = this.#up.filter((other) => !this.#areTogether(machine, other))
      this.#lose(machine, others)
      this.#changeLeases(machine)
      machine.lookAt = this.#now
    }
  }

  #heal() {
    if (this.#isWhole) return
    this.#calmSince = this.#now
    this.log.push(`${this.#now} healed`)
    const before = new Map(this.#sides)
    for (const host of this.#sides.keys()) this.#sides.set(host, 0)
    this.#registrarSides = [0, 0, 0]
    for (const machine of this.#up) {
      for (const other of this.#up) {
        if (before.get(machine.view.host) !== before.get(other.view.host))
          this.#send(machine, other)
      }
      // The logs of the registrars have no record of those that have crashed, whoever had heard of it.
      for (const gone of this.#machines.values()) {
        if (!gone.isUp) this.#deliver(machine, gone, null, this.#now + this.#upTo(MAX_DELAY))
      }
      this.#changeLeases(machine)
      machine.lookAt = this.#now
    }
  }

  /** What it hears of its own leases. */
  #changeLeases(machine: Machine) {
    const side = this.#sides.get(machine.view.host)
    for (const [i, key] of REGISTRARS.entries()) {
      const isHeld = this.#registrarSides[i] === side
      if (isHeld) machine.silentSince.delete(key)
      else if (!machine.silentSince.has(key)) machine.silentSince.set(key, this.#now)
      machine.leaseNews.push({ at: this.#now + this.#between(DETECTION), key, isHeld })
    }
  }

  /** Registrars that can see others but not this one take its lease away. */
  #lose(machine: Machine, others: Machine[]) {
    const detected = this.#now + this.#between(DETECTION)
    for (const other of others) this.#deliver(other, machine, null, detected)
  }

  #publish(machine: Machine) {
    for (const other of this.#listenersOf(machine)) this.#send(machine, other)
    this.#send(machine, machine, 0)
  }

  #send(machine: Machine, to: Machine, delay = this.#upTo(MAX_DELAY)) {
    const host = { ...machine.view }
    const instances = machine.instances.map(({ due: _, ...instance }) => instance)
    this.#deliver(to, machine, { host, instances }, this.#now + delay)
  }

  /** Not before what was sent earlier. */
  #deliver({ inbox }: Machine, { view }: Machine, notice: Notice | null, at: number) {
    const last = inbox.findLast(({ from }) => from === view.host)
    inbox.push({ at: Math.max(at, last?.at ?? 0), from: view.host, notice })
  }

  #pass(time: number) {
    for (const end = this.#now + time; this.#now < end; this.#now += STEP) {
      for (const machine of this.#up) this.#live(machine)
      this.#checkNow()
    }
  }

  #live(machine: Machine) {
    let hasNews = machine.lookAt <= this.#now
    for (let i = 0; i < machine.inbox.length; ) {
      const { at, from, notice } = machine.inbox[i] as (typeof machine.inbox)[number]
      if (at > this.#now) i++
      else {
        machine.inbox.splice(i, 1)
        // Who is cut off from all registrars hears of nobody's end.
        if (notice) machine.known.set(from, notice)
        else if (this.#hasRegistrar(machine)) machine.known.delete(from)
        hasNews = true
      }
    }
    while ((machine.leaseNews[0]?.at ?? Number.POSITIVE_INFINITY) <= this.#now) {
      const { key, isHeld } = machine.leaseNews.shift() as (typeof machine.leaseNews)[number]
      if (isHeld) machine.leases.add(key)
      else machine.leases.delete(key)
      hasNews = true
    }
    for (const instance of [...machine.instances]) {
      if (instance.due > this.#now) continue
      if (instance.state === 'starting') instance.state = 'passing'
      else if (instance.state === 'ending') {
        machine.instances.splice(machine.instances.indexOf(instance), 1)
      } else continue
      instance.due = Number.POSITIVE_INFINITY
      this.#publish(machine)
    }
    if (hasNews) this.#look(machine)
  }

  #look(machine: Machine) {
    const ruling = machine.rule.look(REGISTRARS, this.#leasesOf(machine), this.#now)
    if (this.#isSingle && ruling.mustStop) {
      for (const one of machine.instances) {
        if (one.state !== 'ending') this.#act(machine, { ...one, action: 'stop', why: 'leaving' })
      }
      this.#publish(machine)
    }
    const { changes, again } = machine.placer.look(
      {
        hosts: [...machine.known.values()].map(({ host }) => host),
        instances: [...machine.known.values()].flatMap(({ instances }) => instances),
        apps: this.#apps.map((app) => ({ ...app })),
        isSynced: this.#now >= machine.syncedAt,
        hasRegistrar: this.#hasRegistrar(machine),
        mayStartSingle: ruling.mayStart
      },
      this.#now
    )
    const waits = [again, ruling.again].filter((wait) => wait !== null)
    const due = this.#now + Math.min(Number.POSITIVE_INFINITY, ...waits)
    machine.lookAt = machine.syncedAt > this.#now ? machine.syncedAt : due
    for (const change of changes) this.#act(machine, change)
    if (changes.length > 0) this.#publish(machine)
  }

  #leasesOf({ leases, silentSince }: Machine) {
    return { held: leases, heardAt: (key: string) => silentSince.get(key) ?? this.#now }
  }

  #act(machine: Machine, { action, app, host, slot, release, why }: Change) {
    this.log.push(`${this.#now} ${host.slice(0, 4)} ${action} ${app}/${slot} ${release} (${why})`)
    if (action === 'start') {
      const due = this.#now + this.#between(START)
      machine.instances.push({ app, host, slot, release, state: 'starting', due })
      return
    }
    const instance = machine.instances.find((one) => one.app === app && one.slot === slot)
    if (instance)
      Object.assign(instance, { state: 'ending', due: this.#now + this.#between(DRAIN) })
  }

  // What is promised.

  #checkNow() {
    for (const app of this.#apps) {
      if (this.#isSingle) {
        const alive = this.#up.flatMap(({ instances }) => instances)
        const count = alive.filter((one) => one.app === app.app).length
        if (count > 1) this.#breach(`${count} of the single ${app.app}`)
        continue
      }
      const wanted = Number(app.instances)
      for (const side of new Set(this.#registrarSides)) {
        const running = this.#runningOf(app).filter(({ host }) => this.#sides.get(host) === side)
        const calm = this.#now - this.#calmSince
        if (this.#isBeginning && running.length > wanted) {
          this.#breach(`${running.length} of ${wanted} of ${app.app} at the beginning`)
        }
        if (calm > 5000 && running.length > wanted + 1) {
          this.#breach(`${running.length} of ${wanted} of ${app.app} after ${calm} ms of calm`)
        }
      }
      this.#checkShort(app, wanted)
    }
  }

  /** While all can see each other, there are too few for at most 15 s. */
  #checkShort(app: AppView, wanted: number) {
    const passing = this.#runningOf(app).filter(({ state }) => state === 'passing')
    const since = this.#shortSince.get(app.app)
    if (passing.length >= wanted || !this.#isWhole || !this.#canHave()) {
      this.#shortSince.delete(app.app)
    } else if (since === undefined) this.#shortSince.set(app.app, this.#now)
    else if (!this.#isSingle && this.#now - Math.max(since, this.#calmSince) > 15_000) {
      this.#breach(`${passing.length} of ${wanted} of ${app.app} for 15 s`)
    }
  }

  #checkRest() {
    if (!this.#canHave()) return
    for (const app of this.#apps) {
      const running = this.#runningOf(app)
      const isRight = running.every(({ release }) => release === app.release)
      if (running.length !== app.instances || !isRight) {
        this.#breach(`${running.length} of ${app.instances} of ${app.app} at rest`)
      }
    }
  }

  /** They are where a fleet that knew all from the beginning would have put them. */
  #checkPlaces() {
    // A single instance stays where it is.
    if (!this.#canHave() || this.#isSingle) return
    const fleet = new Fleet()
    fleet.add(...this.#up.map(({ view }) => view))
    fleet.want(...this.#apps)
    fleet.settle()
    const placed = this.#up.flatMap(({ instances }) => instances)
    const places = placed.map(({ app, host, release }) => `${app} ${release} ${host}`).sort()
    if (places.join('\n') !== fleet.placement)
      this.#breach('in other places than from the beginning')
  }

  /** Whether anybody may have an instance. */
  #canHave(): boolean {
    return this.#up.some(({ view }) => !view.isDraining)
  }

  #runningOf({ app }: AppView): InstanceView[] {
    return this.#up
      .flatMap(({ instances }) => instances)
      .filter((one) => one.app === app && one.state !== 'ending')
  }

  #breach(what: string) {
    this.breaches.push({ at: this.#now, what })
    this.#shortSince.clear()
  }

  #tell(what: string, { view }: Machine) {
    this.log.push(`${this.#now} ${view.host.slice(0, 4)} ${what}`)
  }

  get #up(): Machine[] {
    return [...this.#machines.values()].filter(({ isUp }) => isUp)
  }

  get #isWhole(): boolean {
    return new Set([...this.#sides.values(), ...this.#registrarSides]).size === 1
  }

  #hasRegistrar({ view }: Machine): boolean {
    return this.#registrarSides.includes(this.#sides.get(view.host) ?? 0)
  }

  #areTogether(one: Machine, other: Machine): boolean {
    return this.#sides.get(one.view.host) === this.#sides.get(other.view.host)
  }

  #listenersOf(machine: Machine): Machine[] {
    return this.#up.filter((other) => other !== machine && this.#areTogether(machine, other))
  }

  #key(): string {
    return Array.from({ length: 16 }, () => Math.floor(this.#random() * 16).toString(16)).join('')
  }

  #between([least, most]: readonly [number, number]): number {
    return least + this.#upTo(most - least)
  }

  /** A whole number from 0, below this. */
  #upTo(most: number): number {
    return Math.floor(this.#random() * most)
  }
}
