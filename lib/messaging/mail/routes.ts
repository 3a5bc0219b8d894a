import type { SeaportError } from '../../core/errors.js'

export interface RoutesOptions {
  /**
   * Delivers one letter. Resolves with whether it has a final receipt.
   *
   * @throws SeaportError if nothing can be delivered there now
   */
  bring: (id: string) => Promise<boolean>
  /** Whether a target has anybody who takes letters, as far as is known. */
  isThere: (target: string) => boolean
  /**
   * Called when a target could not be reached, with its letters. It must not throw.
   *
   * @param misses how often in a row that was so although somebody is there
   */
  onfailed: (ids: readonly string[], reason: SeaportError, misses: number) => void
  /** Waits before it is tried again, in ms. The last one repeats. */
  backoffs?: readonly number[] | undefined
  random?: (() => number) | undefined
}

/** The letters to one key or role, in order. */
interface Route {
  ids: Set<string>
  /** How many rounds in a row brought no letter to its end. */
  failures: number
  /** How many tries in a row failed although somebody was there. */
  misses: number
  timer: NodeJS.Timeout | null
  isRunning: boolean
  /** Whether `run` was called while a round was under way, so that another one follows at once. */
  isStale: boolean
}

const BACKOFFS_MS = [2000, 4000, 8000, 16_000, 32_000, 60_000, 300_000]
/** Each wait is longer by up to this part, so that routes which failed together are not tried together. */
const JITTER = 0.1

/** Delivers letters to each target one after the other, and again until each has a final receipt. */
export class Routes {
  readonly #options: RoutesOptions
  readonly #backoffs: readonly number[]
  readonly #random: () => number
  readonly #routes = new Map<string, Route>()
  #isClosed = false

  constructor(options: RoutesOptions) {
    this.#options = options
    this.#backoffs = options.backoffs ?? BACKOFFS_MS
    this.#random = options.random ?? Math.random
  }

  /** The targets that have letters. */
  targets(): string[] {
    return [...this.#routes.keys()]
  }

  add(target: string, id: string) {
    const route = this.#routes.get(target) ?? {
      ids: new Set(),
      failures: 0,
      misses: 0,
      timer: null,
      isRunning: false,
      isStale: false
    }
    this.#routes.set(target, route)
    route.ids.add(id)
  }

  remove(target: string, id: string) {
    this.#routes.get(target)?.ids.delete(id)
  }

  /** Begins a round for one target now. Never throws. */
  run(target: string) {
    const route = this.#routes.get(target)
    if (!route || this.#isClosed) return
    route.isStale = route.isRunning
    if (route.isRunning) return
    route.isRunning = true
    if (route.timer) clearTimeout(route.timer)
    void this.#runOnce(target, route).then((hasMoved) => {
      route.isRunning = false
      if (this.#isClosed) return
      if (route.ids.size === 0) return this.#routes.delete(target)
      route.failures = hasMoved ? 0 : route.failures + 1
      if (route.isStale) return this.run(target)
      const step = Math.min(Math.max(route.failures - 1, 0), this.#backoffs.length - 1)
      const wait = (this.#backoffs[step] ?? 0) * (1 + JITTER * this.#random())
      route.timer = setTimeout(() => this.run(target), wait)
    })
  }

  close() {
    this.#isClosed = true
    for (const { timer } of this.#routes.values()) if (timer) clearTimeout(timer)
  }

  /** Delivers letters in order until one fails. Resolves with whether any came to its end. Never rejects. */
  async #runOnce(target: string, route: Route): Promise<boolean> {
    const { bring, isThere, onfailed } = this.#options
    let hasMoved = false
    for (const id of route.ids) {
      if (this.#isClosed) break
      const wasThere = isThere(target)
      try {
        const isOver = await bring(id)
        hasMoved ||= isOver
        route.misses = 0
      } catch (error) {
        route.misses = wasThere && isThere(target) ? route.misses + 1 : 0
        onfailed([...route.ids], error as SeaportError, route.misses)
        break
      }
    }
    return hasMoved
  }
}
