import type { SeaportError } from '../../core/errors.js'

export interface RoutesOptions {
  /**
   * Delivers one letter. `remove` is called when it has its final receipt, which may be later.
   *
   * @throws SeaportError if nothing can be delivered there now
   */
  bring: (id: string) => Promise<void>
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
  /** Those that are to be delivered in this round. The others were, and wait for their receipts. */
  due: Set<string>
  /** How many times all were delivered again, after a wait, since one last came to its end. */
  failures: number
  /** How many tries in a row failed although somebody was there. */
  misses: number
  timer: NodeJS.Timeout | null
  isRunning: boolean
  /** Whether all became due while a round was under way, so that another one follows at once if that fails. */
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

  /** Takes a letter, and delivers it now. Never throws. */
  add(target: string, id: string) {
    const route = this.#routes.get(target) ?? {
      ids: new Set(),
      due: new Set(),
      failures: 0,
      misses: 0,
      timer: null,
      isRunning: false,
      isStale: false
    }
    this.#routes.set(target, route)
    route.ids.add(id)
    route.due.add(id)
    this.#run(target, route)
  }

  /** Forgets a letter that has come to its end. */
  remove(target: string, id: string) {
    const route = this.#routes.get(target)
    if (!route?.ids.delete(id)) return
    route.due.delete(id)
    route.failures = 0
  }

  /** Delivers all letters to one target again now. Never throws. */
  retry(target: string) {
    const route = this.#routes.get(target)
    if (!route || this.#isClosed) return
    if (route.timer) clearTimeout(route.timer)
    route.timer = null
    route.due = new Set(route.ids)
    route.isStale = route.isRunning
    this.#run(target, route)
  }

  close() {
    this.#isClosed = true
    for (const { timer } of this.#routes.values()) if (timer) clearTimeout(timer)
  }

  /** Begins a round, unless one is under way: that takes what has become due meanwhile. */
  #run(target: string, route: Route) {
    if (route.isRunning || this.#isClosed) return
    route.isRunning = true
    void this.#deliver(target, route).then(() => {
      route.isRunning = false
      if (this.#isClosed) return
      if (route.ids.size === 0) return this.#end(target, route)
      if (route.isStale) {
        route.isStale = false
        return this.#run(target, route)
      }
      route.timer ??= setTimeout(() => {
        route.failures++
        this.retry(target)
      }, this.#waitAfter(route))
    })
  }

  #waitAfter({ failures }: Route): number {
    const step = Math.min(failures, this.#backoffs.length - 1)
    return (this.#backoffs[step] ?? 0) * (1 + JITTER * this.#random())
  }

  #end(target: string, { timer }: Route) {
    if (timer) clearTimeout(timer)
    this.#routes.delete(target)
  }

  /** Delivers the letters that are due, in order, until one fails. Never rejects. */
  async #deliver(target: string, route: Route) {
    const { bring, isThere, onfailed } = this.#options
    for (;;) {
      const [id] = route.due
      if (id === undefined || this.#isClosed) break
      route.due.delete(id)
      const wasThere = isThere(target)
      try {
        await bring(id)
        route.misses = 0
      } catch (error) {
        if (route.ids.has(id)) route.due = new Set([id, ...route.due])
        route.misses = wasThere && isThere(target) ? route.misses + 1 : 0
        return onfailed([...route.ids], error as SeaportError, route.misses)
      }
    }
    route.isStale = false
  }
}
