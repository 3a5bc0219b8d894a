/**
 * Runs one task at a time, in the order in which they came. A task that fails does not keep the next one from running:
 * whoever gave it gets the error.
 */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve()
  #pending = 0

  /** Whether no task runs or waits. */
  get isIdle(): boolean {
    return this.#pending === 0
  }

  /** Settles as the task does. */
  run<T>(task: () => Promise<T>): Promise<T> {
    this.#pending++
    const done = this.#last.then(task).finally(() => this.#pending--)
    this.#last = done.catch(() => {})
    return done
  }

  /** Resolves when all tasks that were given until now are over. */
  async idle() {
    await this.#last
  }
}
