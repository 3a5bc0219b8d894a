import type { Replica } from '../registry/replica/replica.js'
import type { HostedInstance } from './hosted-instance.js'
import { countedRegistrars, type HeldLeases, SingleRule } from './single-rule.js'

export interface SingleWatchOptions {
  replica: Replica
  /** Keys of the registrars that hold a lease of the host. */
  holders: () => readonly string[]
  /** For how long what is single runs on without leases, in ms. */
  grace?: number | undefined
}

/** The part of the grace that a program has to end by itself. Others wait for more than that. */
const ENDING = 1 / 10
const GRACE_MS = 20_000

/** Ends instances of which two must never run at once, as soon as others may start them. */
export class SingleWatch {
  readonly #options: SingleWatchOptions
  readonly #grace: number
  readonly #ofHost: SingleRule
  readonly #rules = new WeakMap<HostedInstance, SingleRule>()
  readonly #cut = new WeakSet<HostedInstance>()
  #waitsFor: string | null = null
  #mayStart = false

  constructor(options: SingleWatchOptions) {
    const { grace = GRACE_MS } = options
    this.#options = options
    this.#grace = grace
    this.#ofHost = new SingleRule({ grace })
  }

  /** Whether single instances may be started here, as the last look has found. */
  get mayStart(): boolean {
    return this.#mayStart
  }

  /** Why none may be started here; null if they may. */
  get waitsFor(): string | null {
    return this.#waitsFor
  }

  /**
   * Ends those that must not run on. An instance needs leases of its own beside those of the host, because others start
   * what they do not see.
   *
   * @returns those that were ended, and when to look again at the latest, in ms
   */
  look(instances: Iterable<HostedInstance>): { ended: HostedInstance[]; again: number | null } {
    const { replica, holders } = this.#options
    const now = performance.now()
    const held = new Set(holders())
    const heardAt = (key: string) => replica.heardSince(key)
    const { now: today } = replica.statements.dates
    const counted = countedRegistrars(replica.knownRegistrars, held, today)
    const ruling = this.#ofHost.look(counted, { held, heardAt }, now)
    this.#mayStart = ruling.mayStart
    this.#waitsFor = ruling.waitsFor
    const ended: HostedInstance[] = []
    let { again } = ruling
    for (const one of instances) {
      if (!one.occupancy.single) continue
      const both = new Set(one.holders.filter((key) => held.has(key)))
      const { mustStop, again: left } = this.#look(one, counted, { held: both, heardAt }, now)
      if (left !== null) again = Math.min(left, again ?? left)
      if (mustStop && this.#end(one)) ended.push(one)
    }
    return { ended, again }
  }

  #look(one: HostedInstance, counted: readonly string[], leases: HeldLeases, now: number) {
    const rule = this.#rules.get(one) ?? new SingleRule({ grace: this.#grace, since: now })
    this.#rules.set(one, rule)
    return rule.look(counted, leases, now)
  }

  /** Returns whether it is ended for the first time. */
  #end(one: HostedInstance): boolean {
    if (this.#cut.has(one)) return false
    this.#cut.add(one)
    // Its owner waits for it, too, and tells what goes wrong.
    one.stop(this.#grace * ENDING).catch(() => {})
    return true
  }
}
