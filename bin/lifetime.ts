import { once } from 'node:events'
import { SeaportError } from '../lib/identity.js'

interface Destroyable {
  destroy(): Promise<void>
}

/** How long a command runs: until it is done or told to stop. Then what it opened is closed. */
export class Lifetime {
  /** What SIGHUP means instead of a stop: to read the configuration again. Never throws. */
  reread: (() => void) | null = null

  readonly #opened: Destroyable[] = []
  readonly #stop = new AbortController()
  #ending: Promise<void> | null = null

  /** Aborted by `stop`, with CLOSED. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  get stopped(): boolean {
    return this.#stop.signal.aborted
  }

  /**
   * Hands over something to close at the end. To be called before the thing is set up, so that a stop
   * cuts the setup short.
   *
   * @throws CLOSED when it is too late to open anything
   */
  own<T extends Destroyable>(thing: T): T {
    if (this.#ending) throw SeaportError.CLOSED('stopped while starting')
    this.#opened.push(thing)
    return thing
  }

  async untilStopped(): Promise<void> {
    if (!this.stopped) await once(this.#stop.signal, 'abort')
  }

  /** Rejects with CLOSED when it is stopped. That may come when nobody waits any more. */
  cut(): Promise<never> {
    const cut = this.untilStopped().then((): never => {
      throw this.signal.reason
    })
    cut.catch(() => {})
    return cut
  }

  /** Wakes those in `untilStopped` and closes everything. */
  async stop(): Promise<void> {
    this.#stop.abort(SeaportError.CLOSED('stopped'))
    await this.end()
  }

  /** Closes what was opened, the last first. Everyone awaits the same promise. */
  end(): Promise<void> {
    this.#ending ??= this.#closeAll()
    return this.#ending
  }

  async #closeAll() {
    for (const thing of this.#opened.reverse()) await thing.destroy()
  }
}
