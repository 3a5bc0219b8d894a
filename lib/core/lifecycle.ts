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

  /**
   * What `setup()` does, in all of them.
   *
   * @throws CLOSED after `destroy()`
   */
  protected async begin() {
    if (this.signal.aborted) throw SeaportError.CLOSED('it was destroyed, make a new one')
    await this.ready()
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

  /**
   * Waits for a promise until `destroy()`.
   *
   * @throws CLOSED
   */
  protected unlessDestroyed<T>(promise: Promise<T>): Promise<T> {
    return this.waitFor(promise, Infinity, () => SeaportError.CLOSED('too late'))
  }

  /** Leaves whoever waits in `waitFor` no more than this, in ms. */
  protected hurry(timeout: number) {
    this.#hurry?.(timeout)
  }
}

/** What `setup()` may be told. */
export interface SetupOptions {
  /** How long it waits, in ms, in place of what the constructor was told; Infinity to wait on. The first call counts. */
  timeout?: number | undefined
}

/** A class that may be called with or without `new`. */
export interface Factory<A extends unknown[], T> {
  (...args: A): T
  new (...args: A): T
}

export function factory<A extends unknown[], T>(Class: new (...args: A) => T): Factory<A, T> {
  function make(...args: A) {
    return new Class(...args)
  }
  // So that `instanceof` knows what was made.
  make.prototype = Class.prototype
  return make as unknown as Factory<A, T>
}
