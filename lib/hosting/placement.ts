import { misfitOf, refusalOf } from './eligibility.js'
import type { AppView, HostView, InstanceView, PlacementView } from './placement-view.js'
import type { Ranks } from './ranks.js'
import { Room } from './room.js'

/**
 * The version of the placement rules. Each release names it, and hosts with another version do not decide about that
 * release.
 */
export const PLACEMENT_VERSION = 1

/**
 * One change that a host has to make. It starts an instance that is missing, that replaces one which has to leave its
 * host or its release (`leaving`), or that has a better place here (`better`). It stops an instance that is too many
 * (`surplus`), that has to leave, or whose app is gone (`removed`).
 */
export interface Change {
  action: 'start' | 'stop'
  why: 'missing' | 'leaving' | 'better' | 'surplus' | 'removed'
  app: string
  host: string
  slot: number
  release: string
}

export interface Placement {
  changes: Change[]
  /** How many instances of an app are wanted and have no place; apps with none are not listed. */
  unplaced: Map<string, number>
}

/** An app's instances as its placement sorts them. */
interface Holding {
  app: AppView
  wanted: number
  /** Instances of the right release on hosts that may have them, the best place first. */
  staying: Placed[]
  /** The other instances, those that are to end first at the end. */
  leaving: InstanceView[]
  /**
   * Instances that end at once: those on hosts where the release failed, and for an app on all hosts those on hosts
   * that may not have it.
   */
  unfit: InstanceView[]
  /** How many instances drain. */
  ending: number
}

/** A place, with its instance or free, and how good it is. All hosts are used once before any is used twice. */
interface Placed {
  host: string
  /** How many of the app the host has before this one. */
  depth: number
  /** The host's rank for the app. */
  order: number
  instance: InstanceView | null
}

/**
 * Decides what all hosts do next. There is no scheduler and no election: each host computes this from what it knows,
 * and does its own part. The result depends only on the arguments, and not on their order.
 *
 * An instance stays where it may be, unless a better place is free and nothing else is to be done. So when a host
 * leaves, only its own instances move. The order of places comes from rendezvous hashing, so if memory suffices, hosts
 * that see the same come to the same placement whatever was before. Each move goes to a better place, so the moves come
 * to an end.
 */
export function place(view: PlacementView, ranks: Ranks): Placement {
  const hosts = new Map(view.hosts.map((host) => [host.host, host]))
  const apps = [...view.apps].sort((a, b) => (a.app < b.app ? -1 : 1))
  const instances = byApp(view.instances.filter(({ host }) => hosts.has(host)))
  const room = new Room(view.hosts, view.instances, apps)
  const changes: Change[] = []
  const unplaced = new Map<string, number>()
  const calm: Holding[] = []
  for (const app of apps) {
    const present = instances.get(app.app) ?? []
    const decision = new Decision(hosts, ranks, room, holdingOf(app, present, hosts, ranks))
    const { starts, missing } = decision.starts()
    const stops = decision.stops()
    if (missing > 0) unplaced.set(app.app, missing)
    if (starts.length + stops.length === 0 && decision.isAtRest) calm.push(decision.holding)
    changes.push(...starts, ...stops)
  }
  // Moves to better places come last, with the memory that nothing else needs.
  for (const holding of calm) changes.push(...new Decision(hosts, ranks, room, holding).moves())
  const known = new Set(apps.map(({ app }) => app))
  for (const [app, present] of instances) {
    if (!known.has(app))
      changes.push(...present.filter(isRunning).map((one) => stop(one, 'removed')))
  }
  return { changes, unplaced }
}

/** Why hosts have no place for an app, for people to read. Hosts that have one are not listed. */
export function refusals(view: PlacementView, app: AppView): Map<string, string> {
  const room = new Room(view.hosts, view.instances, view.apps)
  const found = new Map<string, string>()
  for (const host of view.hosts) {
    const refusal = refusalOf(host, app) ?? room.refusalOf(host.host, app)
    if (refusal) found.set(host.host, refusal)
  }
  return found
}

/** The decision about one app. */
class Decision {
  readonly holding: Holding
  readonly #hosts: ReadonlyMap<string, HostView>
  readonly #ranks: Ranks
  readonly #room: Room

  constructor(hosts: ReadonlyMap<string, HostView>, ranks: Ranks, room: Room, holding: Holding) {
    this.holding = holding
    this.#hosts = hosts
    this.#ranks = ranks
    this.#room = room
  }

  /** Whether there are as many as wanted, each in a place of its own, and all pass. */
  get isAtRest(): boolean {
    const { staying, leaving, wanted, ending } = this.holding
    const hasOnlyThem = leaving.length + ending === 0 && staying.length === wanted
    return hasOnlyThem && staying.every(({ instance }) => this.#passes(instance))
  }

  /** Starts what is missing, and as many replacements of instances that have to leave as the surge allows. */
  starts(): { starts: Change[]; missing: number } {
    const { app, wanted, staying, leaving, unfit, ending } = this.holding
    if (app.isSingle && ending + unfit.length > 0) return { starts: [], missing: 0 }
    const held = staying.length + leaving.length
    const missing = Math.max(0, wanted - held)
    const surge = leaving.length > 0 && !app.isSingle ? (app.surge ?? 1) : 0
    // An instance that drains still runs, so it counts towards the surge. What is missing does not wait for it.
    const replaced = Math.max(missing, wanted + surge - held - ending)
    const places = this.#freePlaces(Math.min(wanted - staying.length, replaced))
    const starts = places.map((at, i) => this.#start(at, i < missing ? 'missing' : 'leaving'))
    return { starts, missing: Math.max(0, missing - places.length) }
  }

  /** Stops what is too many, the worst first, if as many as wanted pass without it. */
  stops(): Change[] {
    const { app, wanted, staying, leaving, unfit } = this.holding
    const all = [...staying.map(instanceOf), ...leaving]
    const stops = unfit.map((one) => stop(one, 'leaving'))
    // A single instance has to end before its successor starts. It is stopped only if there is a place for that one.
    if (app.isSingle && leaving.length > 0 && staying.length === 0 && wanted > 0) {
      const hasOther = this.#freePlaces(1, { isDry: true }).length > 0
      return hasOther ? [...stops, ...leaving.map((one) => stop(one, 'leaving'))] : stops
    }
    let passing = all.filter((one) => this.#passes(one)).length
    for (const one of all.slice(wanted).reverse()) {
      const others = passing - (this.#passes(one) ? 1 : 0)
      if (others < wanted) continue
      passing = others
      stops.push(stop(one, leaving.includes(one) ? 'leaving' : 'surplus'))
    }
    return stops
  }

  /** Starts an instance in a better place than the worst one that is used. */
  moves(): Change[] {
    const { app, staying } = this.holding
    const worst = staying.at(-1)
    if (!worst || app.isSingle || app.instances === 'all') return []
    return this.#freePlaces(1, { better: worst }).map((at) => this.#start(at, 'better'))
  }

  /** Takes the best free places. */
  #freePlaces(
    count: number,
    { isDry = false, better }: { isDry?: boolean; better?: Placed } = {}
  ): Placed[] {
    const { app, staying } = this.holding
    const found: Placed[] = []
    if (count <= 0) return found
    const taken = countsOf(staying)
    const depths = app.instances === 'all' ? 1 : Number.POSITIVE_INFINITY
    let candidates = this.#ranks.of(app.app).map(({ host }, order) => ({ host, order }))
    for (let depth = 0; depth < depths && candidates.length > 0; depth++) {
      const next = []
      for (const { host, order } of candidates) {
        const here = { host, depth, order, instance: null }
        if (better && byPlace(here, better) >= 0) return found
        if (depth === 0 && !this.#isOpen(host)) continue
        const isTaken = (taken.get(host) ?? 0) > depth
        if (!isTaken && !this.#room.has(host, app.memory)) continue
        next.push({ host, order })
        if (isTaken) continue
        if (!isDry) this.#room.take(host, app.memory)
        if (found.push(here) === count) return found
      }
      candidates = next
    }
    return found
  }

  #isOpen(host: string): boolean {
    const view = this.#hosts.get(host)
    return view !== undefined && refusalOf(view, this.holding.app) === null
  }

  /** Whether an instance counts as passing. One on a stale host may be gone, so it does not. */
  #passes(instance: InstanceView | null): boolean {
    return instance?.state === 'passing' && this.#hosts.get(instance.host)?.isStale === false
  }

  #start({ host }: Placed, why: Change['why']): Change {
    const { app } = this.holding
    const slot = this.#room.freeSlot(host, app.app)
    return { action: 'start', why, app: app.app, host, slot, release: app.release }
  }
}

function holdingOf(
  app: AppView,
  present: readonly InstanceView[],
  hosts: ReadonlyMap<string, HostView>,
  ranks: Ranks
): Holding {
  const isAll = app.instances === 'all'
  const ranked = ranks.of(app.app)
  const orderOf = (host: string) => ranked.findIndex((one) => one.host === host)
  const depths = new Map<string, number>()
  const [staying, leaving, unfit]: [Placed[], InstanceView[], InstanceView[]] = [[], [], []]
  let ending = 0
  for (const instance of [...present].sort(bySlot)) {
    const { host } = instance
    const depth = depths.get(host) ?? 0
    const isMisfit = misfitOf(hosts.get(host) as HostView, app) !== null
    const hasFailed = instance.release === app.release && app.failedOn?.has(host)
    if (instance.state === 'ending') ending++
    else if (hasFailed) unfit.push(instance)
    else if (isAll && isMisfit) unfit.push(instance)
    else if (isMisfit || instance.release !== app.release || (isAll && depth > 0)) {
      leaving.push(instance)
    } else {
      depths.set(host, depth + 1)
      staying.push({ host, depth, order: orderOf(host), instance })
    }
  }
  staying.sort(byPlace)
  // An instance whose successor runs on the same host goes first, so that the host has its memory back.
  const isReplaced = ({ host }: InstanceView) => (depths.has(host) ? 1 : 0)
  leaving.sort(
    (a, b) => isReplaced(a) - isReplaced(b) || orderOf(a.host) - orderOf(b.host) || a.slot - b.slot
  )
  const wanted = isAll ? hostsFor(app, present, hosts) : (app.instances as number)
  return { app, wanted, staying, leaving, unfit, ending }
}

/** How many hosts may have an app that is to run on all. */
function hostsFor(
  app: AppView,
  present: readonly InstanceView[],
  hosts: ReadonlyMap<string, HostView>
): number {
  const having = new Set(present.map(({ host }) => host))
  return [...hosts.values()].filter((host) =>
    having.has(host.host) && !app.failedOn?.has(host.host)
      ? misfitOf(host, app) === null
      : refusalOf(host, app) === null
  ).length
}

function byApp(instances: readonly InstanceView[]): Map<string, InstanceView[]> {
  const apps = new Map<string, InstanceView[]>()
  for (const instance of instances) {
    const others = apps.get(instance.app)
    if (others) others.push(instance)
    else apps.set(instance.app, [instance])
  }
  return apps
}

function countsOf(staying: readonly Placed[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { host } of staying) counts.set(host, (counts.get(host) ?? 0) + 1)
  return counts
}

function bySlot(a: InstanceView, b: InstanceView): number {
  return a.host === b.host ? a.slot - b.slot : a.host < b.host ? -1 : 1
}

function byPlace(a: Placed, b: Placed): number {
  return a.depth - b.depth || a.order - b.order
}

function isRunning({ state }: InstanceView): boolean {
  return state !== 'ending'
}

function instanceOf({ instance }: Placed): InstanceView {
  return instance as InstanceView
}

function stop({ app, host, slot, release }: InstanceView, why: Change['why']): Change {
  return { action: 'stop', why, app, host, slot, release }
}
