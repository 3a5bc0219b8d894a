import { SeaportError } from './errors.js'
import { ReadyResource } from './holepunch.js'

/**
 * What `Registry`, `Service`, `Consumer`, `Web` and `Admin` have in common: `setup()` and `destroy()`, each
 * idempotent, and `await using`. Whoever waits inside `start` does so with `waitFor`, so that `destroy()`
 * during `setup()` ends both.
 */
export abstract class Lifecycle extends ReadyResource {
  readonly #abort = new AbortController()
  #hurry: ((timeout: number) => void) | null = null

  /** Aborted by `destroy()`. */
  protected get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Runs once, on the first `setup()`. If it fails, what it has taken until then is given back by `stop`. */
  protected abstract start(): Promise<void>

  /** Gives back all that `start` and the constructor have taken, the latest first. Runs once. */
  protected abstract stop(): Promise<void>

  override async _open() {
    try {
      await this.start()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  override async _close() {
    await this.stop()
  }

  /** Gives back all that it holds. Never rejects; may be called at any time, and more than once. */
  destroy(): Promise<void> {
    this.#abort.abort(SeaportError.CLOSED('destroyed'))
    return this.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy()
  }

  /**
   * Waits for a promise until a timeout or `destroy()`.
   *
   * @param timeout in ms, Infinity for none
   * @throws what `late` makes, or CLOSED
   */
  protected waitFor<T>(promise: Promise<T>, timeout: number, late: () => SeaportError): Promise<T> {
    return new Promise((resolve, reject) => {
      let deadline = Infinity
      let timer: NodeJS.Timeout | undefined
      const hurry = (timeout: number) => {
        if (performance.now() + timeout >= deadline) return
        deadline = performance.now() + timeout
        clearTimeout(timer)
        timer = setTimeout(() => settle(() => reject(late())), timeout)
      }
      const onabort = () => settle(() => reject(this.signal.reason))
      const settle = (end: () => void) => {
        clearTimeout(timer)
        if (this.#hurry === hurry) this.#hurry = null
        this.signal.removeEventListener('abort', onabort)
        end()
      }
      if (this.signal.aborted) return onabort()
      this.signal.addEventListener('abort', onabort)
      this.#hurry = hurry
      hurry(timeout)
      promise.then(
        (value) => settle(() => resolve(value)),
        (error) => settle(() => reject(error))
      )
    })
  }

  /** Leaves whoever waits in `waitFor` no more than this, in ms. */
  protected hurry(timeout: number) {
    this.#hurry?.(timeout)
  }
}

/** A class that may be called with or without `new`. */
export interface Factory<A extends unknown[], T> {
  (...args: A): T
  new (...args: A): T
}

export function factory<A extends unknown[], T>(Class: new (...args: A) => T): Factory<A, T> {
  return function make(...args: A) {
    return new Class(...args)
  } as unknown as Factory<A, T>
}
