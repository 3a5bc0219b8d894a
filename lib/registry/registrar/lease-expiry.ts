import { EventEmitter } from 'node:events'
import type { Log } from '../log/log.js'
import type { Directory } from '../replica/directory.js'
import {
  gone,
  isGone,
  isPresent,
  isStale,
  type LogEntry,
  recordOf,
  type ServiceRecord,
  stale
} from '../trust/record.js'
import { GracePeriods } from './grace-periods.js'
import { type Census, Outage } from './outage.js'

export interface LeaseExpiryOptions {
  /** The registrar's own log; it may begin another. */
  log: () => Log
  logKey: () => string
  directory: Directory
  /** Runs a task in the queue of one key. */
  inTurn: (key: string, act: () => Promise<void>) => void
  /** Whether a connected participant holds the lease. */
  isHeld: (key: string) => boolean
  /** The leases that are held, and those whose owners are silent. */
  census: () => Census
  /** How long a connection that was closed properly may take to come back, in ms. */
  returnGrace: number
  /** How long instances are kept that vanished with many others, in ms. */
  staleGrace: number
}

interface LeaseExpiryEvents {
  gone: [record: ServiceRecord]
  stale: [record: ServiceRecord]
}

/**
 * Removes records whose lease was lost. The owner has a grace period to come back; then *gone* is written in the
 * record's place. If so many leases vanish at once that our own network is the likely cause, *stale* is written
 * instead, and the records are kept for a while.
 */
export class LeaseExpiry extends EventEmitter<LeaseExpiryEvents> {
  readonly stats = { lost: 0 }

  readonly #options: LeaseExpiryOptions
  readonly #outage = new Outage()
  /** Owners that the log has from the last run, and that have not come back yet. */
  readonly #absent = new Set<string>()
  readonly #gracePeriods = new GracePeriods((key) => this.#inTurn(key, () => this.#lose(key)))
  readonly #stale = new GracePeriods((key) => this.#inTurn(key, () => this.#giveUp(key)))
  #restartTimer: NodeJS.Timeout | null = null

  constructor(options: LeaseExpiryOptions) {
    super()
    this.#options = options
  }

  /** How many records are kept as stale. */
  get stale(): number {
    return this.#stale.size
  }

  /**
   * Takes over the log of the last run: owners have `restartGrace` ms to come back before their records are
   * removed.
   */
  resume(restartGrace: number) {
    for (const entry of this.#log.entries()) {
      const { key } = recordOf(entry)
      if (isPresent(entry)) this.#absent.add(key)
      if (isStale(entry)) this.#stale.give(key, this.#options.staleGrace)
    }
    this.#restartTimer = setTimeout(() => {
      for (const key of this.#absent) this.#gracePeriods.give(key, 0)
      this.#absent.clear()
    }, restartGrace)
  }

  /**
   * Starts the removal of a record whose lease was lost. An owner that fell silent has no grace period.
   */
  begin(key: string, silent: boolean) {
    this.#gracePeriods.give(key, silent ? 0 : this.#options.returnGrace)
  }

  /**
   * Cancels the pending removal of a record. `hasRecord` says that a newer entry takes its place, which also
   * ends staleness.
   */
  end(key: string, hasRecord: boolean) {
    this.#absent.delete(key)
    this.#gracePeriods.end(key)
    this.#outage.end(key)
    if (hasRecord) this.#stale.end(key)
  }

  /** Removes a record at once, because its owner may not serve any more. */
  cut(key: string) {
    this.#inTurn(key, () => this.#giveUp(key))
  }

  /** The instances that are still listed although nobody holds their lease. */
  keys(): string[] {
    return [...this.#absent, ...this.#gracePeriods.keys(), ...this.#stale.keys()]
  }

  /** Copies *gone* from another registrar's log, unless the owner holds a lease here. */
  copyGone(key: string) {
    const own = this.#log.get(key)
    if (!own || isGone(own) || this.#options.isHeld(key)) return
    this.#inTurn(key, async () => {
      const { directory, logKey } = this.#options
      const known = directory.goneElsewhere(key, logKey()) ?? directory.entry(key)
      if (known && isGone(known)) await this.#putGone(key, known)
    })
  }

  /**
   * Looks through what is waited for when another registrar connects: it may have been told that an owner left.
   */
  review() {
    const { directory, logKey } = this.#options
    for (const key of this.keys()) {
      const gone = directory.goneElsewhere(key, logKey())
      if (gone) this.#inTurn(key, () => this.#putGone(key, gone))
    }
  }

  /** Removes what is listed although nobody holds its lease or is waited for, because that could not be written before. */
  catchUp() {
    const waiting = new Set(this.keys())
    for (const entry of this.#log.entries()) {
      const { key } = recordOf(entry)
      if (!isPresent(entry) || waiting.has(key) || this.#options.isHeld(key)) continue
      this.#gracePeriods.give(key, 0)
    }
  }

  /** Stops all timers. */
  close() {
    if (this.#restartTimer) clearTimeout(this.#restartTimer)
    this.#gracePeriods.close()
    this.#stale.close()
  }

  get #log(): Log {
    return this.#options.log()
  }

  #inTurn(key: string, act: () => Promise<void>) {
    this.#options.inTurn(key, act)
  }

  async #lose(key: string) {
    const entry = this.#log.get(key)
    if (!entry || this.#options.isHeld(key)) return
    if (isStale(entry) && !this.#stale.has(key)) return this.#giveUp(key)
    if (!isPresent(entry)) return
    this.stats.lost++
    const suspects = this.#outage.suspects(key, this.#census())
    if (suspects.length === 0) return this.#giveUp(key)
    for (const suspect of suspects) this.#inTurn(suspect, () => this.#keep(suspect))
  }

  #census(): Census {
    const { held, doubtful } = this.#options.census()
    const away = this.#gracePeriods.size
    return { held: held + this.#absent.size + away, doubtful: doubtful + away }
  }

  /**
   * Marks a record as stale. Those that were removed just before the outage was noticed are restored by it.
   */
  async #keep(key: string) {
    const entry = this.#log.get(key)
    if (!entry || isStale(entry) || this.#options.isHeld(key)) return
    const record = recordOf(entry)
    if (record.status === 'withdrawn') return
    this.#stale.give(key, this.#options.staleGrace)
    await this.#log.put(stale(record))
    this.emit('stale', record)
  }

  async #giveUp(key: string) {
    const entry = this.#log.get(key)
    if (!entry || isGone(entry) || this.#options.isHeld(key)) return
    this.#absent.delete(key)
    this.#gracePeriods.end(key)
    this.#stale.end(key)
    const record = recordOf(entry)
    await this.#log.put(gone(record))
    this.emit('gone', record)
  }

  async #putGone(key: string, known: LogEntry) {
    const own = this.#log.get(key)
    if (!own || isGone(own) || recordOf(own).seq > recordOf(known).seq) return
    if (this.#options.isHeld(key)) return
    this.end(key, true)
    await this.#log.put(known)
  }
}
