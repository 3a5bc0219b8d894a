/** Waits before a task that is not done is run again, in ms; the last one repeats. */
const BACKOFFS_MS = [2000, 8000, 30_000, 120_000, 600_000]

interface Run {
  isRunning: boolean
  /** Whether it was woken while it ran, so that it runs once more. */
  isStale: boolean
  failures: number
  timer: NodeJS.Timeout | undefined
}

/** A task for each of several keys, which is run again until it is done: one run for a key at a time. */
export class KeyedRetry {
  readonly #task: (key: string) => Promise<boolean>
  readonly #backoffs: readonly number[]
  readonly #runs = new Map<string, Run>()
  #isClosed = false

  /**
   * @param task resolves with whether there is nothing left to do for the key. If it rejects there is.
   * @param backoffs how long to wait before each further run, in ms
   */
  constructor(task: (key: string) => Promise<boolean>, backoffs: readonly number[] = BACKOFFS_MS) {
    this.#task = task
    this.#backoffs = backoffs
  }

  /** How many keys have something to do. */
  get size(): number {
    return this.#runs.size
  }

  /**
   * Runs the task for a key. While it runs, it is run once more afterwards.
   *
   * @param delay how long to wait before, in ms
   */
  wake(key: string, delay = 0) {
    if (this.#isClosed) return
    const run = this.#runs.get(key) ?? {
      isRunning: false,
      isStale: false,
      failures: 0,
      timer: undefined
    }
    this.#runs.set(key, run)
    run.isStale = run.isRunning
    if (!run.isRunning) this.#runLater(key, run, delay)
  }

  /** Runs nothing any more. A task that runs is not waited for. */
  close() {
    this.#isClosed = true
    for (const { timer } of this.#runs.values()) clearTimeout(timer)
    this.#runs.clear()
  }

  #runLater(key: string, run: Run, delay: number) {
    clearTimeout(run.timer)
    if (delay === 0) return void this.#run(key, run)
    run.timer = setTimeout(() => void this.#run(key, run), delay)
    run.timer.unref()
  }

  async #run(key: string, run: Run) {
    run.isRunning = true
    run.isStale = false
    const isDone = await this.#task(key).catch(() => false)
    run.isRunning = false
    if (this.#isClosed) return
    if (run.isStale) return this.#runLater(key, run, 0)
    if (isDone) return void this.#runs.delete(key)
    const backoff = this.#backoffs[Math.min(run.failures++, this.#backoffs.length - 1)] ?? 0
    this.#runLater(key, run, backoff)
  }
}
