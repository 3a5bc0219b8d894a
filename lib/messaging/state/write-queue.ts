import { SeaportError } from '../../core/errors.js'
import type { SerialQueue } from '../../core/serial-queue.js'
import { messageOf } from '../../core/thrown.js'
import { checkDepth, encodeBody } from '../body.js'
import type { Ledger } from './ledger.js'
import { type Head, MAX_VALUE_BYTES, type SignedEntry } from './statements.js'

export interface WriteOptions {
  /** Writes only if the entry has this revision, or does not exist for 0. Otherwise it fails with CONFLICT. */
  if?: number | undefined
}

export interface WriteQueueOptions {
  /** The queue in which everything that uses the ledger takes turns. */
  turns: SerialQueue
  /** @throws STORAGE_FAILED, STORAGE_LOCKED */
  open: () => Promise<Ledger>
  /** Called when a change is on the disk. */
  onwritten: (entry: SignedEntry, head: Head) => void
}

interface Write {
  name: string
  /** The value as JSON; null deletes the name. */
  json: string | null
  if: number | undefined
  resolve: (rev: number) => void
  reject: (error: SeaportError) => void
}

const MAX_WAITING = 10_000
const MAX_WAITING_BYTES = 16 * 1024 * 1024
const MAX_BATCH = 256
/** How deep a value may be. Wrapped in its entry and its change, it is then no deeper than any body may be. */
const MAX_DEPTH = 240

/** Queues the writes of a state. Those that come while the disk is busy are written together. */
export class WriteQueue {
  readonly stats = { written: 0, failed: 0 }
  readonly #options: WriteQueueOptions
  #waiting: Write[] = []
  #waitingBytes = 0
  #isScheduled = false
  #isPaused = false
  /** Whether writes wait until the service has found the state that it goes on with. */
  #isHeld = false
  /** Why writes are refused; null if they are not. */
  #over: SeaportError | null = SeaportError.CLOSED('the service has no key yet: set it up first')

  constructor(options: WriteQueueOptions) {
    this.#options = options
  }

  /** Begins to write. */
  begin() {
    this.#over = null
    this.#isPaused = false
    this.#schedule()
  }

  /** Lets writes wait until `release`. */
  hold() {
    this.#isHeld = true
  }

  release() {
    this.#isHeld = false
    this.#schedule()
  }

  /** Lets writes wait from now on. */
  pause() {
    this.#isPaused = true
  }

  /** Refuses writes from now on, and fails those that wait. */
  end(reason: SeaportError) {
    this.#over = reason
    this.#waitingBytes = 0
    for (const { reject } of this.#waiting.splice(0)) reject(reason.withExecuted('no'))
  }

  /**
   * Writes a value as JSON, or deletes a name. Resolves with the revision when it is on the disk.
   *
   * @throws as `State.set` does
   */
  add(name: string, json: string | null, { if: rev }: WriteOptions): Promise<number> {
    if (rev !== undefined && !(Number.isSafeInteger(rev) && rev >= 0)) {
      throw SeaportError.USAGE(`if is a revision, or 0 for none, not ${rev}`).withExecuted('no')
    }
    const denial = this.#denial()
    if (denial) return Promise.reject(denial.withExecuted('no'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ name, json, if: rev, resolve, reject })
      this.#waitingBytes += json?.length ?? 0
      this.#schedule()
    })
  }

  #denial(): SeaportError | null {
    if (this.#over) return this.#over
    const hasRoom = this.#waiting.length < MAX_WAITING && this.#waitingBytes < MAX_WAITING_BYTES
    if (hasRoom) return null
    return SeaportError.BUSY(`${this.#waiting.length} changes of the state wait already`)
  }

  #schedule() {
    if (this.#isScheduled || this.#isPaused || this.#isHeld || this.#waiting.length === 0) return
    this.#isScheduled = true
    void this.#options.turns.run(async () => {
      this.#isScheduled = false
      if (this.#isPaused) return
      const batch = this.#waiting.splice(0, MAX_BATCH)
      for (const { json } of batch) this.#waitingBytes -= json?.length ?? 0
      await this.#writeBatch(batch)
      this.#schedule()
    })
  }

  /** Never rejects. */
  async #writeBatch(writes: readonly Write[]) {
    const done: { write: Write; entry: SignedEntry; head: Head }[] = []
    try {
      const ledger = await this.#options.open()
      for (const write of writes) {
        try {
          done.push({ write, ...ledger.prepare(write) })
        } catch (error) {
          this.stats.failed++
          write.reject((error as SeaportError).withExecuted('no'))
        }
      }
      await ledger.commit()
    } catch (error) {
      const reason = (error as SeaportError).withExecuted('no')
      for (const { reject } of done.length > 0 ? done.map(({ write }) => write) : writes) {
        this.stats.failed++
        reject(reason)
      }
      return
    }
    for (const { write, entry, head } of done) {
      this.stats.written++
      write.resolve(entry.rev)
      this.#options.onwritten(entry, head)
    }
  }
}

/** @throws BAD_INPUT, TOO_LARGE */
export function jsonOf(name: string, value: unknown): string {
  let json: string
  try {
    const { kind, bytes } = encodeBody(value)
    if (kind !== 'json') throw new TypeError(kind === 'none' ? 'nothing' : 'bytes')
    checkDepth(bytes, MAX_DEPTH)
    json = bytes.toString()
  } catch (error) {
    const text = `the value of ${name} is no JSON: ${messageOf(error)}`
    throw SeaportError.BAD_INPUT(text, error).withExecuted('no')
  }
  const size = Buffer.byteLength(json)
  if (size <= MAX_VALUE_BYTES) return json
  throw SeaportError.TOO_LARGE(
    `the value of ${name} has ${size} bytes, at most ${MAX_VALUE_BYTES} are allowed`
  ).withExecuted('no')
}
