import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

export interface VerifierOptions<T> {
  /** The module of the thread: what `pack` returns comes in, and a list of as many booleans goes out. */
  thread: URL
  /** Makes one message for the thread of some items. */
  pack: (items: readonly T[]) => unknown
  /** Verifies one item in this thread. */
  verify: (item: T) => boolean
  cores?: number
  /** How long the thread may have nothing to do before it ends, in ms. */
  idleMs?: number
}

interface Waiting<T> {
  item: T
  settle: (holds: boolean) => void
}

/**
 * Up to so many items in one turn are verified in this thread: another one costs memory, and a message each
 * way.
 */
const CROWD = 4
/** So many items go to the thread in one message. They can be written while the next ones are verified. */
const GROUP = 8
/** A thread that has had nothing to do for so long ends: it holds 16 MiB, and V8 collects its heap again and again. */
const IDLE_MS = 5000

/**
 * Verifies signatures, the greatest part of what it costs to take what others have signed: those of a crowd
 * in a thread of its own, if the machine has more than one core. The first crowd starts it, and does not
 * wait for it. It ends when no crowd comes for a while.
 */
export class Verifier<T> {
  readonly #options: Pick<VerifierOptions<T>, 'thread' | 'pack' | 'verify'>
  readonly #isAlone: boolean
  readonly #idleMs: number
  #idle: NodeJS.Timeout | null = null
  #worker: Worker | null = null
  #isUp = false
  /**
   * Items that go to the thread at the end of this turn of the event loop, or as soon as they are a group.
   */
  #queue: Waiting<T>[] = []
  /** Groups that the thread has not answered yet, in the order in which they were sent. */
  readonly #sent: Waiting<T>[][] = []
  /** How many items came in this turn of the event loop. */
  #arrived = 0
  #closed = false

  constructor({
    cores = availableParallelism(),
    idleMs = IDLE_MS,
    ...options
  }: VerifierOptions<T>) {
    this.#options = options
    this.#isAlone = cores < 2
    this.#idleMs = idleMs
  }

  /** Whether it has a thread that answers. */
  get isThreaded(): boolean {
    return this.#isUp
  }

  /** Resolves with whether the signature of an item holds. */
  async verify(item: T): Promise<boolean> {
    if (this.#arrived++ === 0) setImmediate(() => this.#endTurn())
    const isCrowd = this.#arrived > CROWD || this.#sent.length > 0
    if (this.#isAlone || this.#closed || !isCrowd) return this.#options.verify(item)
    this.#worker ??= this.#start()
    if (!this.#isUp) return this.#options.verify(item)
    return new Promise((settle) => {
      if (this.#queue.push({ item, settle }) >= GROUP) this.#send()
    })
  }

  /** Resolves when the thread that the first crowd started is up. */
  async started() {
    if (this.#worker && !this.#isUp) await once(this.#worker, 'online')
  }

  async close() {
    this.#closed = true
    await this.#end()
  }

  async #end() {
    clearTimeout(this.#idle ?? undefined)
    const worker = this.#worker
    this.#worker = null
    this.#isUp = false
    // Before anything is awaited: the next thread's answers must not meet what this one was sent.
    this.#settleHere()
    await worker?.terminate()
  }

  #endTurn() {
    this.#arrived = 0
    this.#send()
  }

  #send() {
    const waiting = this.#queue.splice(0)
    if (waiting.length === 0) return
    this.#sent.push(waiting)
    if (this.#closed || !this.#worker) return this.#settleHere()
    this.#worker.postMessage(this.#options.pack(waiting.map(({ item }) => item)))
  }

  #start(): Worker {
    const worker = new Worker(this.#options.thread, { execArgv: [] })
    worker.unref()
    worker.on('online', () => {
      if (this.#worker !== worker) return
      this.#isUp = true
      this.#idle = setTimeout(() => {
        if (this.#sent.length === 0) this.#end().catch(() => {})
      }, this.#idleMs).unref()
    })
    worker.on('message', (holds: boolean[]) => {
      if (this.#worker !== worker) return
      this.#idle?.refresh()
      for (const [i, { settle }] of (this.#sent.shift() ?? []).entries()) settle(holds[i] === true)
    })
    worker.on('error', () => {
      if (this.#worker === worker) this.#end().catch(() => {})
    })
    return worker
  }

  /** Verifies in this thread what the other one did not answer, so that everybody who waits is answered. */
  #settleHere() {
    for (const { item, settle } of this.#sent.splice(0).flat()) settle(this.#options.verify(item))
  }
}
