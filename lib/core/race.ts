import { Abort, type Signal } from './abort.js'
import { SeaportError } from './errors.js'

/** Why an attempt was ended: another one has won. */
export const OVERTAKEN = SeaportError.CLOSED('another one was quicker')

export interface RaceOptions<T, W> {
  /** In the order in which they are tried. */
  candidates: readonly T[]
  /** Resolves with what may win. The signal ends it when the race is over. */
  attempt: (candidate: T, signal: Signal) => Promise<W>
  /** When the next one is tried too, while those before have not answered, in ms. */
  stagger: number
  /** Ends the race. */
  signal?: Signal | undefined
  /** No further attempt begins after so many ms, except the first. Default: there is no limit. */
  timeout?: number
  onfailed: (candidate: T, error: SeaportError) => void
  /** An attempt succeeded after the race was over. Default: nothing is to be given back. */
  onlate?: (late: W) => void
}

/**
 * Candidates are tried in turn, the next one when one has failed or leaves us waiting. The first that succeeds
 * wins and the others are ended ("Happy Eyeballs", RFC 8305). None is tried twice.
 */
export class Race<T, W> {
  readonly #options: RaceOptions<T, W>
  /** Ends the attempts that still run; what it says to the one that won comes too late. */
  readonly #over = new Abort()
  readonly #deadline: number
  #tried = 0
  #running = 0
  #stagger: NodeJS.Timeout | null = null
  #resolve: (winner: W | null) => void = () => {}
  #reject: (reason: unknown) => void = () => {}

  constructor(options: RaceOptions<T, W>) {
    this.#options = options
    this.#deadline = performance.now() + (options.timeout ?? Infinity)
  }

  /**
   * Resolves with the winner, or null if all have failed.
   *
   * @throws the signal's reason
   */
  run(): Promise<W | null> {
    const { signal } = this.#options
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      if (signal?.aborted) return reject(signal.reason)
      signal?.addEventListener('abort', this.#onabort, { once: true })
      this.#next()
    })
  }

  /** Tries another one, if there is one and there is time. */
  #next() {
    const { candidates } = this.#options
    const mayTry = this.#tried === 0 || performance.now() < this.#deadline
    if (mayTry && this.#tried < candidates.length) {
      this.#try(candidates[this.#tried++] as T)
      this.#nextLater()
    } else if (this.#running === 0) {
      this.#end()
      this.#resolve(null)
    }
  }

  #try(candidate: T) {
    this.#running++
    this.#options.attempt(candidate, this.#over).then(
      (winner) => this.#onsucceeded(winner),
      (error) => this.#onfailed(candidate, error)
    )
  }

  #onsucceeded(winner: W) {
    this.#running--
    if (this.#over.aborted) return this.#options.onlate?.(winner)
    this.#end()
    this.#resolve(winner)
  }

  #onfailed(candidate: T, error: SeaportError) {
    this.#running--
    if (this.#over.aborted) return
    this.#options.onfailed(candidate, error)
    this.#next()
  }

  #nextLater() {
    if (this.#over.aborted || this.#tried >= this.#options.candidates.length) return
    if (this.#stagger) this.#stagger.refresh()
    else this.#stagger = setTimeout(() => this.#next(), this.#options.stagger)
  }

  readonly #onabort = () => {
    const reason = this.#options.signal?.reason
    this.#end(reason)
    this.#reject(reason)
  }

  #end(reason: unknown = OVERTAKEN) {
    if (this.#stagger) clearTimeout(this.#stagger)
    this.#options.signal?.removeEventListener('abort', this.#onabort)
    this.#over.abort(reason)
  }
}
