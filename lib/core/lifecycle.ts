import { SeaportError } from './errors.js'
import { startTimer } from './timer.js'

/** What a lifecycle does at its two ends. Each runs once. */
export interface LifecycleSteps {
  /** On the first `begin`. If it fails, what it has taken until then is given back by `stop`. */
  start(): Promise<void>
  /** Gives back all that `start` and the constructor have taken, the latest first. */
  stop(): Promise<void>
}

/**
 * How `setup()` and `destroy()` of `Registry`, `Service`, `Consumer`, `Web`, `Admin` and `BootstrapNode` work: each
 * is idempotent, and whoever calls one again gets the same promise. Those classes hold a lifecycle and do not extend it,
 * so that callers see none of its members. Whoever waits inside `start` does so with `waitFor` or `unlessDestroyed`, so
 * that `destroy()` during `setup()` ends both.
 */
export class Lifecycle {
  readonly #steps: LifecycleSteps
  readonly #abort = new AbortController()
  #beginning: Promise<void> | null = null
  #ending: Promise<void> | null = null
  #stopping: Promise<void> | null = null
  #hurry: ((timeout: number) => void) | null = null

  constructor(steps: LifecycleSteps) {
    this.#steps = steps
  }

  /** Aborted by `end`. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /**
   * What `setup()` does.
   *
   * @throws CLOSED after `end`, and what `start` throws
   */
  async begin(): Promise<void> {
    if (this.signal.aborted) throw SeaportError.CLOSED('it was destroyed, make a new one')
    this.#beginning ??= this.#start()
    await this.#beginning
  }

  /** What `destroy()` does. May be called at any time, and more than once. */
  end(): Promise<void> {
    this.#abort.abort(SeaportError.CLOSED('destroyed'))
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #start() {
    try {
      await this.#steps.start()
      this.signal.throwIfAborted()
    } catch (error) {
      await this.#stop()
      throw error
    }
  }

  async #end() {
    // Whoever called `begin` is told why it failed.
    await this.#beginning?.catch(() => {})
    await this.#stop()
  }

  #stop(): Promise<void> {
    this.#stopping ??= this.#steps.stop()
    return this.#stopping
  }

  /**
   * Waits for a promise until a timeout or `end`.
   *
   * @param timeout in ms, Infinity for none
   * @throws what `late` makes, or CLOSED
   */
  waitFor<T>(promise: Promise<T>, timeout: number, late: () => SeaportError): Promise<T> {
    return new Promise((resolve, reject) => {
      let deadline = Infinity
      let timer: NodeJS.Timeout | undefined
      const hurry = (timeout: number) => {
        if (performance.now() + timeout >= deadline) return
        deadline = performance.now() + timeout
        clearTimeout(timer)
        timer = startTimer(() => settle(() => reject(late())), timeout)
      }
      const onabort = () => settle(() => reject(this.signal.reason))
      const settle = (end: () => void) => {
        clearTimeout(timer)
        if (this.#hurry === hurry) this.#hurry = null
        this.signal.removeEventListener('abort', onabort)
        end()
      }
      promise.then(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error))
      )
      if (this.signal.aborted) return onabort()
      this.signal.addEventListener('abort', onabort)
      this.#hurry = hurry
      hurry(timeout)
    })
  }

  /**
   * Waits for a promise until `end`.
   *
   * @throws CLOSED
   */
  unlessDestroyed<T>(promise: Promise<T>): Promise<T> {
    return this.waitFor(promise, Infinity, () => SeaportError.CLOSED('too late'))
  }

  /** Leaves whoever waits in `waitFor` no more than this, in ms. */
  hurry(timeout: number) {
    this.#hurry?.(timeout)
  }
}

/** What `setup()` may be told. */
export interface SetupOptions {
  /** How long it waits, in ms, in place of what the constructor was told; Infinity to wait on. The first call counts. */
  timeout?: number | undefined
}
