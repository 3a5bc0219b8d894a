/** What concerns one thing is done in the order in which it came, whatever else is done meanwhile. */
export class SerialQueue {
  readonly #queue = new Map<string, Promise<void>>()
  readonly #onerror: (error: unknown) => void

  constructor(onerror: (error: unknown) => void) {
    this.#onerror = onerror
  }

  /** @param first what the first one waits for */
  take(thing: string, first: Promise<void>, act: () => Promise<void>) {
    const turn = (this.#queue.get(thing) ?? first)
      .then(act)
      .catch(this.#onerror)
      .then(() => {
        if (this.#queue.get(thing) === turn) this.#queue.delete(thing)
      })
    this.#queue.set(thing, turn)
  }

  /** Resolves when all that was begun is done. */
  async over() {
    await Promise.all(this.#queue.values())
  }
}
