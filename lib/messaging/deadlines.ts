import { Bag, type Place } from '../core/bag.js'
import { inherited } from './call-context.js'

/** Something that ends at its time. */
export interface Timed {
  /** By `performance.now()`. */
  readonly deadline: number
  /** Its time is over: it is never called early. */
  onlate(): void
}

/** What `stop` takes. */
export interface Waiting {
  readonly period: number
  readonly place: Place<Timed>
}

/** Whoever is late is told up to this much later, in ms. */
const PERIOD_MS = 8
/** The longest time that Node's timers take. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * Calls back whoever is late, with one timer for all. Nearly every deadline is stopped before its time, and a timer of
 * Node's for each cost more than all that came of it. Those whose time is over in the same period stand together.
 */
export class Deadlines {
  readonly #periods = new Map<number, Bag<Timed>>()
  #timer: NodeJS.Timeout | null = null
  /** For which the timer is set. */
  #next = Infinity
  #size = 0

  /** From now on it is called back when its time is over. */
  start(timed: Timed): Waiting {
    const period = Math.ceil(timed.deadline / PERIOD_MS)
    let bag = this.#periods.get(period)
    if (!bag) {
      bag = new Bag()
      this.#periods.set(period, bag)
    }
    const place = bag.add(timed)
    if (++this.#size === 1) this.#timer?.ref()
    if (period < this.#next) this.#setTimer(period)
    return { period, place }
  }

  stop({ period, place }: Waiting) {
    const bag = this.#periods.get(period)
    if (!bag?.delete(place)) return
    // The timer stays: it will find nobody. But nothing is to wait for it.
    if (--this.#size === 0) this.#timer?.unref()
    if (bag.size === 0) this.#periods.delete(period)
  }

  #setTimer(period: number) {
    if (this.#timer) clearTimeout(this.#timer)
    this.#next = period
    const wait = Math.min(
      Math.max(1, Math.ceil(period * PERIOD_MS - performance.now())),
      MAX_TIMER_MS
    )
    // It goes for all, and has no part in the command whose handler set it.
    this.#timer = inherited.exit(() => setTimeout(this.#ontimer, wait))
    if (this.#size === 0) this.#timer.unref()
  }

  readonly #ontimer = () => {
    this.#timer = null
    this.#next = Infinity
    const now = performance.now()
    const late = [...this.#periods].filter(([period]) => period * PERIOD_MS <= now)
    for (const [period, bag] of late.sort(([a], [b]) => a - b)) {
      this.#periods.delete(period)
      this.#size -= bag.size
      for (const timed of bag.values()) timed.onlate()
    }
    const next = Math.min(...this.#periods.keys())
    if (next < this.#next) this.#setTimer(next)
  }
}

/** Of this process. */
export const DEADLINES = new Deadlines()
