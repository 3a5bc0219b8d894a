/** What an operation asks to learn that it is to end early. Any `AbortSignal` is one. */
export interface Signal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * An AbortController and its signal in one, for where there is one for each connection: Node's are event
 * targets, and making and watching them took a tenth of the time that it takes to dial.
 */
export class Abort implements Signal {
  #isAborted = false
  #reason: unknown
  readonly #listeners: (() => void)[] = []

  get aborted(): boolean {
    return this.#isAborted
  }

  get reason(): unknown {
    return this.#reason
  }

  /** A listener is called once, as `abort` comes only once. */
  addEventListener(_type: 'abort', listener: () => void) {
    this.#listeners.push(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void) {
    const index = this.#listeners.indexOf(listener)
    if (index >= 0) this.#listeners.splice(index, 1)
  }

  abort(reason: unknown) {
    if (this.#isAborted) return
    this.#isAborted = true
    this.#reason = reason
    for (const listener of this.#listeners.splice(0)) listener()
  }
}

/** Stops waiting, whatever the others who wait for the same do. */
export function unlessAborted<T>(promise: Promise<T>, signal: Signal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const onabort = () => reject(signal.reason)
    if (signal.aborted) return onabort()
    signal.addEventListener('abort', onabort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onabort))
  })
}
