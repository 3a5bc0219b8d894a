const TICK_MS = 500

/**
 * Time as this process lived through it, in ms. While it stood still, for want of a CPU, it heard nothing
 * of what the others told, and none of them is blamed for that time.
 */
export class Clock {
  #lost = 0
  #tickedAt = performance.now()

  get now(): number {
    return performance.now() - this.#lost
  }

  /** Before the first tick. */
  start() {
    this.#tickedAt = performance.now()
  }

  /** To be called each `TICK_MS`: what a tick takes longer is lost. */
  tick() {
    const late = performance.now() - this.#tickedAt - TICK_MS
    if (late > TICK_MS) this.#lost += late
    this.#tickedAt = performance.now()
  }

  /** How long this process stood still, all in all. */
  get lost(): number {
    return this.#lost
  }

  static readonly TICK_MS = TICK_MS
}
