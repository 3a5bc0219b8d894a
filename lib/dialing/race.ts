import { Abort, type Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'

/** Why an attempt was ended: another one was connected first. */
export const OVERTAKEN = SeaportError.CLOSED('another instance answered first')

/** What is opened: it can be given back. */
interface Opened {
  destroy(): unknown
}

export interface RaceOptions<T, S extends Opened> {
  /** In the order in which they are tried. */
  candidates: readonly T[]
  /** Opens a stream. The signal ends it when the race is over: what was opened so far is reset. */
  attempt: (candidate: T, signal: Signal) => Promise<S>
  /** When the next one is tried too, while those before have not answered, in ms. */
  hedgeAfter: number
  /** Ends the race. */
  signal: Signal | undefined
  /** No further attempt begins after so many ms, except the first. */
  timeout: number
  onfailed: (candidate: T, error: SeaportError) => void
}

/**
 * One dial: candidates are tried in turn, the next when one has failed or leaves us waiting. The first
 * that is connected wins and the others are reset, before anything was sent to any of them. None is
 * tried twice.
 */
export class Race<T, S extends Opened> {
  readonly #options: RaceOptions<T, S>
  /** Ends the attempts that still run; what it says to the one that won comes too late. */
  readonly #over = new Abort()
  readonly #deadline: number
  #tried = 0
  #running = 0
  #hedge: NodeJS.Timeout | null = null
  #resolve: (winner: S | null) => void = () => {}
  #reject: (reason: unknown) => void = () => {}

  constructor(options: RaceOptions<T, S>) {
    this.#options = options
    this.#deadline = performance.now() + options.timeout
  }

  /**
   * Resolves with the winner, or null if all have failed.
   *
   * @throws the signal's reason
   */
  run(): Promise<S | null> {
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
      this.#hedgeLater()
    } else if (this.#running === 0) {
      this.#end()
      this.#resolve(null)
    }
  }

  #try(candidate: T) {
    this.#running++
    this.#options.attempt(candidate, this.#over).then(
      (stream) => this.#onopened(stream),
      (error) => this.#onfailed(candidate, error)
    )
  }

  #onopened(stream: S) {
    this.#running--
    if (this.#over.aborted) {
      stream.destroy()
      return
    }
    this.#end()
    this.#resolve(stream)
  }

  #onfailed(candidate: T, error: SeaportError) {
    this.#running--
    if (this.#over.aborted) return
    this.#options.onfailed(candidate, error)
    this.#next()
  }

  #hedgeLater() {
    if (this.#over.aborted || this.#tried >= this.#options.candidates.length) return
    if (this.#hedge) this.#hedge.refresh()
    else this.#hedge = setTimeout(() => this.#next(), this.#options.hedgeAfter)
  }

  readonly #onabort = () => {
    const reason = this.#options.signal?.reason
    this.#end(reason)
    this.#reject(reason)
  }

  #end(reason: unknown = OVERTAKEN) {
    if (this.#hedge) clearTimeout(this.#hedge)
    this.#options.signal?.removeEventListener('abort', this.#onabort)
    this.#over.abort(reason)
  }
}
