import { SerialQueue } from './serial-queue.js'

/** A serial queue for each key: tasks of one key run one after the other, and tasks of different keys side by side. */
export class KeyedQueue {
  readonly #queues = new Map<string, SerialQueue>()

  /** How many keys have a task that runs or waits. */
  get size(): number {
    return this.#queues.size
  }

  /** Whether a task of this key runs or waits. */
  has(key: string): boolean {
    return this.#queues.has(key)
  }

  /** Settles as the task does. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? new SerialQueue()
    this.#queues.set(key, queue)
    try {
      return await queue.run(task)
    } finally {
      if (queue.isIdle && this.#queues.get(key) === queue) this.#queues.delete(key)
    }
  }

  /** Resolves when all tasks that were given until now are over. */
  async idle() {
    await Promise.all([...this.#queues.values()].map((queue) => queue.idle()))
  }
}
