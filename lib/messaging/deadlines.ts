import { Bag, type Place } from '../core/bag.js'
import { MAX_TIMER_MS } from '../core/timer.js'
import { inherited } from './call-context.js'

/** Something that ends at a deadline. */
export interface Timed {
  /** When its time is over, by `performance.now()`. */
  readonly deadline: number
  /** Called when the deadline has passed, never early. */
  onlate(): void
}

/** The handle that `stop` takes. */
export interface Waiting {
  readonly period: number
  readonly place: Place<Timed>
}

/** `onlate` is called up to this much after the deadline, in ms. */
const PERIOD_MS = 8

/**
 * Watches many deadlines with one timer. Nearly every deadline is stopped before its time, so a timer of Node's for
 * each would cost more than all its use. Deadlines in the same period are kept together.
 */
export class Deadlines {
  readonly #periods = new Map<number, Bag<Timed>>()
  #timer: NodeJS.Timeout | null = null
  /** The time that the timer is set for. */
  #next = Infinity
  #size = 0

  /** Begins to watch a deadline. */
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
    // The timer stays and will find nothing to do, but it must not keep the process alive.
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
    // The timer serves all commands, so it must not inherit the context of the handler that happens to set it.
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

/** The deadlines of this process. */
export const DEADLINES = new Deadlines()
