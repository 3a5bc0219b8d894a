import { inTime } from '../../watchdog.js'
import type { Clock } from './clock.js'
import type { Line } from './line.js'
import type { Program } from './program.js'
import type { ServiceProgram } from './service.js'
import type { Watcher } from './watcher.js'

/** For so long a directory may be wrong, in ms. */
const NOTICE_MS = 10_000
/**
 * How long those may take to find each other again who were apart, before that time begins: 15 s in
 * all, as after a partition. A registrar that was restarted waits 10 s for the owners of what it has on
 * disk, and shows it meanwhile.
 */
const RETURN_MS = 5000

/** A moment from which something is as it should be, and how much longer it may take for that to show. */
interface Since {
  at: number
  from: number
}

type Wrong = 'missing' | 'ghost'

export interface JudgeOptions {
  clock: Clock
  line: Line
  registrars: readonly Program[]
  services: readonly ServiceProgram[]
  watchers: readonly Watcher[]
}

/**
 * Holds what watchers show against what is so:
 *
 * - *missing*: a service that is up, and was acknowledged in this life, is not shown by a watcher, or as
 *   it was in an earlier life, for more than 10 s in which both could reach one registrar, which was up.
 * - *ghost*: a service that is down or frozen is shown as live for more than 10 s.
 *
 * The 10 s begin when it went wrong, and not before those concerned had 5 s since the last of them came
 * back, or they came into reach of each other. Whom they cannot reach at all, they cannot hear of; a
 * watcher that is frozen shows nothing. On a machine that is too busy to start a process all of that takes longer.
 */
export class Judge {
  /** The longest that each kind of wrong lasted, in ms, since what caused it, and what it was. */
  readonly worst: Record<Wrong, { ms: number; what: string }> = {
    missing: { ms: 0, what: 'nothing' },
    ghost: { ms: 0, what: 'nothing' }
  }
  /** How often a service was held against what a watcher shows, and how often there was a rule for it. */
  readonly looks = { all: 0, bound: 0 }
  readonly #options: JudgeOptions
  /** When it went wrong, by watcher, service and what is wrong. */
  readonly #began = new Map<string, number>()

  constructor(options: JudgeOptions) {
    this.#options = options
  }

  /** @returns what is wrong, in words */
  look(): string[] {
    const { watchers, services } = this.#options
    const faults: string[] = []
    for (const watcher of watchers) faults.push(...watcher.read(services))
    for (const service of services) service.read()
    for (const watcher of watchers) {
      if (watcher.state !== 'up') continue
      for (const service of services) faults.push(...this.#compare(watcher, service))
    }
    return faults
  }

  #compare(watcher: Watcher, service: ServiceProgram): string[] {
    const sight = watcher.sightOf(service)
    const isShown = sight !== undefined && sight.life === service.lives
    const isDead = service.state === 'down' || service.state === 'frozen'
    const vouched = service.state === 'up' ? this.#vouchedFor(watcher, service) : null
    const buried = isDead ? this.#buried(watcher, service) : null
    this.looks.all++
    if ([vouched, buried].some((since) => since && this.#now - since.from > NOTICE_MS)) {
      this.looks.bound++
    }
    return [
      this.#measure('missing', watcher, service, isShown ? null : vouched),
      this.#measure('ghost', watcher, service, sight?.isLive ? buried : null)
    ].flatMap((fault) => fault ?? [])
  }

  /** @param since when it should have been known, null if nothing is wrong */
  #measure(wrong: Wrong, watcher: Watcher, service: ServiceProgram, since: Since | null) {
    const id = `${wrong} ${watcher.name} ${service.name}`
    if (since === null) {
      this.#began.delete(id)
      return null
    }
    const began = this.#began.get(id) ?? this.#now
    this.#began.set(id, began)
    const ms = this.#now - Math.max(began, since.at)
    const what = `${watcher} ${wrong === 'missing' ? 'does not show' : 'takes for live'} ${service}`
    if (ms > this.worst[wrong].ms) this.worst[wrong] = { ms, what }
    const lasts = this.#now - Math.max(began, since.from)
    if (inTime(lasts, NOTICE_MS)) return null
    // Told once, and again if it goes on for as long.
    this.#began.set(id, this.#now)
    return `${what}, in its life ${service.lives}; wrong for ${Math.round(lasts / 1000)} s by now`
  }

  /** Since when there is a registrar that knows of a service, and that a watcher can reach. */
  #vouchedFor(watcher: Watcher, service: ServiceProgram): Since | null {
    const { acknowledgedAt: at } = service
    if (at === null) return null
    const told = at > service.since ? { at, from: at } : soon(service)
    const chains = this.#options.registrars.flatMap((registrar) => {
      const lines = [this.#line(registrar, watcher), this.#line(registrar, service)]
      if (registrar.state !== 'up' || lines.includes(null)) return []
      const whole = lines.filter((line) => line !== null)
      return latest(told, soon(registrar), soon(watcher), ...whole)
    })
    return chains.sort((a, b) => a.from - b.from)[0] ?? null
  }

  /** Since when a watcher may not show a service that is dead as live. */
  #buried(watcher: Watcher, service: ServiceProgram): Since {
    const { registrars, line } = this.#options
    const death = { at: service.since, from: service.since }
    return latest(death, soon(watcher), soon(line), ...registrars.map(soon))
  }

  /** Since when two sites can reach each other; null if they cannot. */
  #line(one: Program, other: Program): Since | null {
    const { line } = this.#options
    if (one.site === other.site) return { at: 0, from: 0 }
    return line.state === 'up' ? soon(line) : null
  }

  get #now(): number {
    return this.#options.clock.now
  }
}

/** Who changed has some time to find the others. */
function soon({ since }: { since: number }): Since {
  return { at: since, from: since + RETURN_MS }
}

function latest(...sinces: Since[]): Since {
  return {
    at: Math.max(...sinces.map(({ at }) => at)),
    from: Math.max(...sinces.map(({ from }) => from))
  }
}
