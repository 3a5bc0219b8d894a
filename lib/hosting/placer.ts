import { type Change, type Placement, place } from './placement.js'
import type { HostView, InstanceView, PlacementView } from './placement-view.js'
import { Ranks } from './ranks.js'

/** What a host knows now. `instances` includes those that are being started, as far as their hosts say so. */
export interface PlacerView extends PlacementView {
  /** Whether our copy of the directory is whole. */
  isSynced: boolean
  /** Whether a registrar is alive for us: without one nobody can tell who is gone. */
  hasRegistrar: boolean
  /** Whether this host may start what is single, as its `SingleRule` says. Default: it may not. */
  mayStartSingle?: boolean
}

/** In ms. */
export interface PlacerTimings {
  /** For how long the set of hosts must have been the same before the first decision. */
  sameOthers: number
  /**
   * For how long a host is waited for after a live registrar has lost its lease, and for how long if it had a single
   * instance.
   */
  lost: number
  lostSingle: number
  /** For how long nothing may have changed before a better host takes over. */
  quiet: number
  /** How long an app that keeps failing here is declined, by how often it failed. */
  declines: readonly number[]
}

export interface PlacerOptions {
  /** Our own key, hex. */
  host: string
  timings?: Partial<PlacerTimings>
}

/** What a host is to do now. */
export interface Decision {
  /** Our own part. */
  changes: Change[]
  /** The decisions for all hosts, for `app status`; null while nothing is decided. */
  placement: Placement | null
  /** Why nothing is decided, as people read it. */
  waitsFor: string | null
  /** When to look again at the latest, in ms from now, if nothing changes before; null for never. */
  again: number | null
}

const TIMINGS: PlacerTimings = {
  sameOthers: 3000,
  lost: 2000,
  lostSingle: 30_000,
  quiet: 10_000,
  declines: [30_000, 60_000, 120_000, 240_000, 480_000, 600_000]
}

/** A host that is not listed any more, and since when. */
interface Ghost {
  view: HostView
  instances: InstanceView[]
  since: number
}

/**
 * Decides when a host acts on what `place` decides for all hosts. It waits until the host knows enough, and for other
 * hosts that may only be late. It has no timer: its user calls `look` when something has changed, and at the time that
 * the last look has named.
 */
export class Placer {
  readonly #host: string
  readonly #timings: PlacerTimings
  readonly #ghosts = new Map<string, Ghost>()
  /**
   * Since when each of these is the same: `hosts` is which hosts are alive, `fleet` is how all that are listed
   * are, `app NAME` is what is wanted of an app, and `instances NAME` is where it runs.
   */
  readonly #seen = new Map<string, { mark: string; since: number }>()
  readonly #failures = new Map<string, { count: number; until: number }>()
  #ranks: Ranks | undefined
  #last: PlacerView | null = null
  /** Whether the same hosts were seen for long enough, since we are synced and there is a registrar. */
  #isSettled = false
  /** Since when we are synced, there is a registrar, and our leases allow what is single; null if that is not so. */
  #informedAt: number | null = null

  constructor({ host, timings = {} }: PlacerOptions) {
    this.#host = host
    this.#timings = { ...TIMINGS, ...timings }
  }

  /** Apps that this host declines now. Its record has to name them, so that others place them elsewhere. */
  declines(now: number): Set<string> {
    return new Set([...this.#failures].flatMap(([app, { until }]) => (until > now ? [app] : [])))
  }

  /**
   * Called when an instance was stopped because it keeps failing, and had been started here as a replacement or for a
   * better place.
   */
  failed(app: string, now: number) {
    const count = (this.#failures.get(app)?.count ?? 0) + 1
    const { declines } = this.#timings
    const wait = declines[Math.min(count, declines.length) - 1] ?? 0
    this.#failures.set(app, { count, until: now + wait })
  }

  /** Called when an instance that was started here passes. */
  passed(app: string) {
    this.#failures.delete(app)
  }

  /** Why nothing that must never run twice may be started here yet; null if that has waited long enough. */
  whyNoSingle(now: number): string | null {
    const left = (this.#informedAt ?? now) + this.#timings.lostSingle - now
    return left > 0 ? `another host may still run it, for ${Math.ceil(left / 1000)} s` : null
  }

  /** How long until the same hosts were seen for long enough, in ms; 0 or less if they were. */
  unrest(now: number): number {
    return this.#left('fleet', this.#timings.sameOthers, now)
  }

  /** @param now in ms, of a clock that only goes forward */
  look(view: PlacerView, now: number): Decision {
    const waitsFor = this.#waitsFor(view, now)
    this.#follow(view, now)
    if (waitsFor !== null) {
      const again = this.#seen.has('hosts')
        ? this.#left('hosts', this.#timings.sameOthers, now)
        : null
      return { changes: [], placement: null, waitsFor, again }
    }
    const { hosts, instances } = this.#withGhosts(view, now)
    this.#ranks = new Ranks(
      hosts.map(({ host }) => host),
      this.#ranks
    )
    this.#ranks.keep(new Set(view.apps.map(({ app }) => app)))
    const placement = place({ hosts, apps: view.apps, instances }, this.#ranks)
    const mine = placement.changes.filter(({ host }) => host === this.#host)
    const singles = singlesOf(view)
    const changes = mine.filter(({ action, why, app }) => {
      if (action === 'start' && singles.has(app) && !this.#mayStartSingle(app, now)) return false
      return why !== 'better' || this.#isQuiet(app, this.#timings.quiet, now)
    })
    return {
      changes,
      placement,
      waitsFor: null,
      again: this.#again(mine.length > changes.length, now)
    }
  }

  /** Why nothing may be decided yet; null if it may. */
  #waitsFor(view: PlacerView, now: number): string | null {
    const wait = (why: string) => {
      this.#isSettled = false
      this.#informedAt = null
      this.#seen.delete('hosts')
      return why
    }
    if (!view.isSynced) return wait('its copy of the registry is not whole yet')
    if (!view.hasRegistrar) return wait('no registrar is alive, so nothing is moved')
    if (!view.hosts.some(({ host }) => host === this.#host)) {
      return wait('no registrar lists this host')
    }
    this.#informedAt = view.mayStartSingle ? (this.#informedAt ?? now) : null
    const alive = view.hosts.filter(({ isStale }) => !isStale).map(({ host }) => host)
    this.#mark('hosts', alive.sort().join(), now)
    if (!this.#isSettled && this.#left('hosts', this.#timings.sameOthers, now) > 0) {
      return 'it has not seen the same hosts for long enough yet'
    }
    this.#isSettled = true
    return null
  }

  /** Notes which hosts have gone since the last look, and what has changed. */
  #follow(view: PlacerView, now: number) {
    const known = new Set(view.hosts.map(({ host }) => host))
    for (const former of this.#last?.hosts ?? []) {
      if (known.has(former.host)) continue
      const instances = this.#last?.instances.filter(({ host }) => host === former.host) ?? []
      this.#ghosts.set(former.host, { view: former, instances, since: now })
    }
    for (const [host, { since }] of this.#ghosts) {
      if (known.has(host) || now - since >= this.#timings.lostSingle) this.#ghosts.delete(host)
    }
    this.#last = view
    this.#mark('fleet', JSON.stringify(view.hosts.map(markOf).sort()), now)
    for (const app of view.apps) this.#mark(`app ${app.app}`, JSON.stringify(app), now)
    const places = new Map<string, string[]>()
    for (const { app, host, slot, release, state } of view.instances) {
      places.set(app, [...(places.get(app) ?? []), `${host} ${slot} ${release} ${state}`])
    }
    for (const { app } of view.apps) {
      this.#mark(`instances ${app}`, (places.get(app) ?? []).sort().join(), now)
    }
    const names = new Set(view.apps.flatMap(({ app }) => [`app ${app}`, `instances ${app}`]))
    for (const name of this.#seen.keys()) {
      if (name.includes(' ') && !names.has(name)) this.#seen.delete(name)
    }
  }

  /** The view together with the hosts that are waited for although they are not listed any more. */
  #withGhosts(view: PlacerView, now: number): PlacementView {
    const hosts = view.hosts.map((host) =>
      host.host === this.#host
        ? { ...host, declines: new Set([...host.declines, ...this.declines(now)]) }
        : host
    )
    const instances = [...view.instances]
    const singles = singlesOf(view)
    for (const { view: ghost, instances: former, since } of this.#ghosts.values()) {
      const isLost = now - since >= this.#timings.lost
      hosts.push({ ...ghost, isStale: true })
      instances.push(...former.filter(({ app }) => !isLost || singles.has(app)))
    }
    return { hosts, apps: view.apps, instances }
  }

  /**
   * Whether this host may start a single instance. Two hosts that see different things may each find that it is theirs.
   * So a host that has just come to know the others, or to hold leases, waits as long as for a lost host, which it may
   * not have heard of, and every host waits for news that may be on its way.
   */
  #mayStartSingle(app: string, now: number): boolean {
    const { sameOthers, lostSingle } = this.#timings
    const isInformed = this.#informedAt !== null && now - this.#informedAt >= lostSingle
    return isInformed && this.#isQuiet(app, sameOthers, now)
  }

  #isQuiet(app: string, time: number, now: number): boolean {
    const names = ['fleet', `app ${app}`, `instances ${app}`]
    return names.every((name) => this.#left(name, time, now) <= 0)
  }

  /** After what time a decision may be different although nothing has changed, in ms; null for never. */
  #again(isHeldBack: boolean, now: number): number | null {
    const { quiet, lost, lostSingle, sameOthers } = this.#timings
    const ends = [...this.#ghosts.values()].flatMap(({ since }) => [
      since + lost,
      since + lostSingle
    ])
    for (const { until } of this.#failures.values()) ends.push(until)
    // Changes that are held back become due when the latest news is old enough.
    if (isHeldBack) {
      for (const { since } of this.#seen.values()) ends.push(since + sameOthers, since + quiet)
      ends.push((this.#informedAt ?? now) + lostSingle)
    }
    const left = ends.map((end) => end - now).filter((time) => time > 0)
    return left.length > 0 ? Math.min(...left) : null
  }

  #mark(name: string, mark: string, now: number) {
    if (this.#seen.get(name)?.mark !== mark) this.#seen.set(name, { mark, since: now })
  }

  /** How long until something has been the same for a time, in ms. */
  #left(name: string, time: number, now: number): number {
    return (this.#seen.get(name)?.since ?? now) + time - now
  }
}

function singlesOf({ apps }: PlacementView): Set<string> {
  return new Set(apps.flatMap(({ app, isSingle }) => (isSingle ? [app] : [])))
}

function markOf({ host, isDraining, isStale, labels, declines, memory }: HostView): string {
  return [host, isDraining, isStale, [...labels].sort(), [...declines].sort(), memory].join()
}
