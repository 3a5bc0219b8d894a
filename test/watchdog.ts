import { pbkdf2Sync } from 'node:crypto'

/** What the piece of work takes on a quiet machine of today. */
const PIECE_MS = 22
const PIECE_ITERATIONS = 60_000
/** A machine that takes a little longer is no reason to be patient: another model, or a moment's work beside us. */
const TOLERATED = 1.5
/** What waits for several processes, one after the other, waits for its turn in each. */
const TURNS = 2
const MAX_PATIENCE = 40

/**
 * How many times as long as on a quiet machine things take just now: 1, or more where a fixed piece of work
 * takes clearly longer than it should.
 */
export function slowness(): number {
  const since = performance.now()
  pbkdf2Sync('a fixed piece', 'of work', PIECE_ITERATIONS, 32, 'sha512')
  const times = (performance.now() - since) / PIECE_MS
  return times < TOLERATED ? 1 : Math.min(times * TURNS, MAX_PATIENCE)
}

/**
 * Whether something took no longer than it does on a quiet machine, or than that grows to while this machine is slow.
 * For what is promised in time: all else waits for an event.
 */
export function inTime(took: number, ms: number): boolean {
  return took < ms || took < ms * slowness()
}

/**
 * A signal that is aborted when something has not come in the time that it takes on a quiet machine, and not in
 * what that grows to while this machine is slow. It measures only when the time is over, so it costs nothing
 * where all is well.
 */
export class Watchdog {
  readonly #controller = new AbortController()
  readonly #since = performance.now()
  readonly #ms: number
  #timer: NodeJS.Timeout

  constructor(ms: number) {
    this.#ms = ms
    this.#timer = setTimeout(() => this.#bark(), ms)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  stop() {
    clearTimeout(this.#timer)
  }

  #bark() {
    const left = this.#ms * slowness() - (performance.now() - this.#since)
    if (left > 0) this.#timer = setTimeout(() => this.#bark(), left)
    else this.#controller.abort()
  }
}
