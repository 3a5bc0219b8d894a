/** What concerns one thing is done in the order in which it came, whatever else is done meanwhile. */
export class Turns {
  readonly #turns = new Map<string, Promise<void>>()
  readonly #onerror: (error: unknown) => void

  constructor(onerror: (error: unknown) => void) {
    this.#onerror = onerror
  }

  /** @param first what the first one waits for */
  take(thing: string, first: Promise<void>, act: () => Promise<void>) {
    const turn = (this.#turns.get(thing) ?? first)
      .then(act)
      .catch(this.#onerror)
      .then(() => {
        if (this.#turns.get(thing) === turn) this.#turns.delete(thing)
      })
    this.#turns.set(thing, turn)
  }

  /** Resolves when all that was begun is done. */
  async over() {
    await Promise.all(this.#turns.values())
  }
}
