import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { type ServiceRecord, verifyRecord } from '../trust/record.js'

interface Waiting {
  record: ServiceRecord
  json: string
  settle: (holds: boolean) => void
}

/**
 * Up to so many records in one turn are verified in this thread: another one costs memory, and a message each
 * way.
 */
const CROWD = 4
/** So many records go to the thread in one message. They can be written while the next ones are verified. */
const GROUP = 8
/** A thread that has had nothing to do for so long ends: it holds 16 MiB, and V8 collects its heap again and again. */
const IDLE_MS = 5000

/**
 * Verifies the signatures of records, the greatest part of what a registration costs: those of a crowd
 * in a thread of its own, if the machine has more than one core. The first crowd starts it, and does not
 * wait for it. It ends when no crowd comes for a while.
 */
export class Verifier {
  readonly #isAlone: boolean
  readonly #idleMs: number
  #idle: NodeJS.Timeout | null = null
  #worker: Worker | null = null
  #isUp = false
  /**
   * Records that go to the thread at the end of this turn of the event loop, or as soon as they are a group.
   */
  #queue: Waiting[] = []
  /** Groups that the thread has not answered yet, in the order in which they were sent. */
  readonly #sent: Waiting[][] = []
  /** How many records came in this turn of the event loop. */
  #arrived = 0
  #closed = false

  constructor({ cores = availableParallelism(), idleMs = IDLE_MS } = {}) {
    this.#isAlone = cores < 2
    this.#idleMs = idleMs
  }

  /** Whether it has a thread that answers. */
  get isThreaded(): boolean {
    return this.#isUp
  }

  /**
   * Whether the record's own key signed it.
   *
   * @param json what the record was read from
   */
  async verify(record: ServiceRecord, json: string): Promise<boolean> {
    if (this.#arrived++ === 0) setImmediate(() => this.#endTurn())
    const isCrowd = this.#arrived > CROWD || this.#sent.length > 0
    if (this.#isAlone || this.#closed || !isCrowd) return verifyRecord(record)
    this.#worker ??= this.#start()
    if (!this.#isUp) return verifyRecord(record)
    return new Promise((settle) => {
      if (this.#queue.push({ record, json, settle }) >= GROUP) this.#send()
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
    await worker?.terminate()
    this.#settleHere()
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
    this.#worker.postMessage(waiting.map(({ json }) => json))
  }

  #start(): Worker {
    const worker = new Worker(new URL('./verifier-thread.js', import.meta.url), { execArgv: [] })
    worker.unref()
    worker.on('online', () => {
      if (this.#worker !== worker) return
      this.#isUp = true
      this.#idle = setTimeout(() => {
        if (this.#sent.length === 0) this.#end().catch(() => {})
      }, this.#idleMs).unref()
    })
    worker.on('message', (holds: boolean[]) => {
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
    for (const { record, settle } of this.#sent.splice(0).flat()) settle(verifyRecord(record))
  }
}
