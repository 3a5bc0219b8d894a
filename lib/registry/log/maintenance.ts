import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { MIN_TAIL, maxTail, type Snapshot } from '../trust/snapshot.js'
import type { Log } from './log.js'
import type { Snapshots } from './snapshots.js'

export interface MaintenanceOptions {
  log: Log
  snapshots: Snapshots
  /** The registry's own key pair. */
  keyPair: KeyPair
  /** Gives the disk back what was cleared. */
  compact: () => Promise<unknown>
  /** Blocks after a snapshot before the next one, at least. */
  minTail?: number
}

interface MaintenanceEvents {
  /** There is a new snapshot. */
  snapshot: [Snapshot]
  notice: [SeaportError]
}

/**
 * Blocks after a snapshot before the next one, at least, and for each value that it has, if somebody comes who
 * has to read them all: fetching a block takes as long as twenty values of a snapshot.
 */
const MIN_TAIL_FOR_NEWCOMERS = 1024
const TAIL_PER_VALUE_FOR_NEWCOMERS = 1 / 8
/**
 * A snapshot is at least this old before the next one is made for newcomers, so that they have time to read it.
 */
const MIN_AGE_MS = 10_000

/**
 * Keeps a log short while it is written: makes snapshots of it, and clears what they stand for. The
 * blocks after the snapshot before the newest one stay, for those who are reading them.
 */
export class Maintenance extends EventEmitter<MaintenanceEvents> {
  readonly #options: Required<MaintenanceOptions>
  #work: Promise<void> | null = null
  #writtenAt = Number.NEGATIVE_INFINITY
  #closed = false
  /** How many blocks had been cleared when the disk was last given them back. */
  #compacted = 0

  constructor(options: MaintenanceOptions) {
    super()
    this.#options = { minTail: MIN_TAIL, ...options }
    options.log.on('written', () => {
      if (this.#tail > maxTail(options.log.size, this.#options.minTail)) this.#renew()
    })
  }

  /** Makes a snapshot for a newcomer that has so many blocks of the log, if that spares it much. */
  welcome(length: number) {
    const { log } = this.#options
    const tail = Math.min(this.#tail, log.length - length)
    const limit = Math.max(MIN_TAIL_FOR_NEWCOMERS, log.size * TAIL_PER_VALUE_FOR_NEWCOMERS)
    if (tail > limit && performance.now() - this.#writtenAt > MIN_AGE_MS) this.#renew()
  }

  /** Starts nothing more, and resolves when what is under way is done. */
  async close() {
    this.#closed = true
    await this.#work
  }

  get #held(): Snapshot | null {
    const { snapshots, log } = this.#options
    return snapshots.held(log.key)
  }

  /** Blocks after the newest snapshot. */
  get #tail(): number {
    return this.#options.log.length - (this.#held?.length ?? 0)
  }

  #renew() {
    if (this.#closed) return
    this.#work ??= this.#write()
      .catch((cause) => {
        this.emit('notice', failed(cause))
      })
      .finally(() => {
        this.#work = null
      })
  }

  async #write() {
    const { log, snapshots, keyPair, compact, minTail } = this.#options
    const before = this.#held
    const { length, values } = await log.settled()
    const snapshot = await snapshots.write(keyPair, log.key, length, values)
    await snapshots.hold(snapshot)
    this.#writtenAt = performance.now()
    this.emit('snapshot', snapshot)
    if (!before) return
    await log.clearBefore(before.length, () => this.#closed)
    if (log.stats.cleared - this.#compacted < minTail || this.#closed) return
    this.#compacted = log.stats.cleared
    await compact()
  }
}

function failed(cause: unknown): SeaportError {
  return SeaportError.STORAGE_FAILED(
    `a snapshot of the log cannot be written (${(cause as Error)?.message})`,
    cause
  )
}
