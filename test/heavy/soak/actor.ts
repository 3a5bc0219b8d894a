import { setTimeout } from 'node:timers/promises'
import type { Clock } from './clock.js'

/** `changing` is neither this nor that: it starts, or is about to end. */
export type State = 'up' | 'frozen' | 'down' | 'changing'

/** What may happen to somebody. */
export interface Deed {
  from: State
  to: State
  /** How likely it is, beside the others from the same state. */
  weight: number
  act: () => void | Promise<void>
}

export interface ActorOptions {
  name: string
  clock: Clock
  random: () => number
  /** How long it stays as it is, on average, in ms. */
  stays: { readonly [state in State]?: number }
}

/** The longest stay, as a multiple of the average. */
const MAX_STAY = 3

/** Somebody, or something, to whom things happen at random, and since when it is as it is. */
export abstract class Actor {
  readonly name: string
  state: State = 'down'
  since: number
  /** How often each deed was done. */
  readonly done: Record<string, number> = {}
  protected readonly clock: Clock
  protected abstract readonly deeds: { readonly [name: string]: Deed }
  readonly #random: () => number
  readonly #stays: ActorOptions['stays']

  constructor({ name, clock, random, stays }: ActorOptions) {
    this.name = name
    this.clock = clock
    this.since = clock.now
    this.#random = random
    this.#stays = stays
  }

  /** Lives on until the signal. What a deed throws ends it. */
  async live(signal: AbortSignal) {
    for (;;) {
      await setTimeout(this.#stay(), null, { signal }).catch(() => {})
      if (signal.aborted) return
      const possible = Object.entries(this.deeds).flatMap(([name, { from, weight }]) =>
        from === this.state ? new Array<string>(weight).fill(name) : []
      )
      await this.do(possible[Math.floor(this.#random() * possible.length)] ?? '')
    }
  }

  /** Does what can be done to it now, and nothing else. */
  async do(name: string) {
    const deed = this.deeds[name]
    if (deed?.from !== this.state) return
    this.#become('changing')
    await deed.act()
    this.#become(deed.to)
    this.done[name] = (this.done[name] ?? 0) + 1
  }

  /** From wherever it is. */
  async bringUp() {
    for (const [name, { from, to }] of Object.entries(this.deeds)) {
      if (from === this.state && to === 'up') await this.do(name)
    }
  }

  toString(): string {
    return `${this.name} ${this.state} for ${Math.round((this.clock.now - this.since) / 1000)} s`
  }

  /** Exponential: most stays are short, some are long. */
  #stay(): number {
    return Math.min(-Math.log(1 - this.#random()), MAX_STAY) * (this.#stays[this.state] ?? 0)
  }

  #become(state: State) {
    this.state = state
    this.since = this.clock.now
  }
}
