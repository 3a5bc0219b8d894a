import { SeaportError } from './errors.js'
import { ReadyResource } from './holepunch.js'

/**
 * What `Registry`, `Service` and `Consumer` have in common: `setup()` and `destroy()`, each idempotent,
 * and `await using`. Whoever waits inside `_open` races it with `aborted`, so that `destroy()` during
 * `setup()` ends both.
 */
export abstract class Lifecycle extends ReadyResource {
  readonly #abort = new AbortController()
  #hurry: ((timeout: number) => void) | null = null

  /** Aborted by `destroy()`. */
  protected get signal(): AbortSignal {
    return this.#abort.signal
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
