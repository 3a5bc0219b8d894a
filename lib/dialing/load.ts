import type { Measurement } from './balancer.js'

export interface LoadOptions {
  /** In ms. */
  now?: (() => number) | undefined
}

/** After this long, a measurement counts e (2.7) times less, in ms. */
const DECAY_MS = 5000

/**
 * How many streams an instance carries for us, and how quickly it opens them. The latency is an average weighted by
 * age. It fades while nothing is measured, for otherwise one slow answer would keep an instance from ever being asked
 * again (as in Finagle's Peak EWMA).
 */
export class Load implements Measurement {
  inFlight = 0
  readonly #now: () => number
  #latency: number | null = null
  #measuredAt = 0

  constructor({ now = () => performance.now() }: LoadOptions = {}) {
    this.#now = now
  }

  get latency(): number | null {
    return this.#latency === null ? null : this.#latency * this.#age()
  }

  /** Adds a measurement, in ms. One that is worse than the average counts in full at once. */
  measured(latency: number) {
    const weight = this.#age()
    const before = this.#latency
    this.#latency =
      before === null || latency > before ? latency : before * weight + latency * (1 - weight)
    this.#measuredAt = this.#now()
  }

  /** The weight that the last measurement still has, from 0 to 1. */
  #age(): number {
    return Math.exp((this.#measuredAt - this.#now()) / DECAY_MS)
  }
}
