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
  /** Does what concerns one key in its turn. */
  inTurn: (key: string, act: () => Promise<void>) => void
  /** Whether somebody holds the lease. */
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
 * What becomes of records whose lease nobody holds: their owners have a moment to come back, then
 * *gone* is written. Where too many vanish at once to be chance, they are kept as *stale* for a while.
 */
export class LeaseExpiry extends EventEmitter<LeaseExpiryEvents> {
  readonly stats = { lost: 0 }

  readonly #options: LeaseExpiryOptions
  readonly #outage = new Outage()
  /** Not heard of since a restart. */
  readonly #absent = new Set<string>()
  readonly #gracePeriods = new GracePeriods((key) => this.#inTurn(key, () => this.#lose(key)))
  readonly #stale = new GracePeriods((key) => this.#inTurn(key, () => this.#giveUp(key)))
  #rollCall: NodeJS.Timeout | null = null

  constructor(options: LeaseExpiryOptions) {
    super()
    this.#options = options
  }

  /** How many are kept as stale. */
  get stale(): number {
    return this.#stale.size
  }

  /** After a restart the log is kept; the owners come back by themselves, or their records go. */
  resume(restartGrace: number) {
    for (const entry of this.#log.entries()) {
      const { key } = recordOf(entry)
      if (isPresent(entry)) this.#absent.add(key)
      if (isStale(entry)) this.#stale.give(key, this.#options.staleGrace)
    }
    this.#rollCall = setTimeout(() => {
      for (const key of this.#absent) this.#gracePeriods.give(key, 0)
      this.#absent.clear()
    }, restartGrace)
  }

  /** Its owner left without a word. */
  begin(key: string, silent: boolean) {
    this.#gracePeriods.give(key, silent ? 0 : this.#options.returnGrace)
  }

  /** Nobody waits for it any more: its owner is back, or news of it. Without a record, it is as stale as it was. */
  end(key: string, hasRecord: boolean) {
    this.#absent.delete(key)
    this.#gracePeriods.end(key)
    this.#outage.end(key)
    if (hasRecord) this.#stale.end(key)
  }

  /** Its owner may not serve any more: nobody waits for it. */
  cut(key: string) {
    this.#inTurn(key, () => this.#giveUp(key))
  }

  /** The instances that nobody holds the lease of, and that are still there. */
  keys(): string[] {
    return [...this.#absent, ...this.#gracePeriods.keys(), ...this.#stale.keys()]
  }

  /** What another registrar knows to be gone is gone here too, unless its owner holds a lease here. */
  copyGone(key: string) {
    const own = this.#log.get(key)
    if (!own || isGone(own) || this.#options.isHeld(key)) return
    this.#inTurn(key, async () => {
      const { directory, logKey } = this.#options
      const known = directory.goneElsewhere(key, logKey()) ?? directory.entry(key)
      if (known && isGone(known)) await this.#putGone(key, known)
    })
  }

  /** A registrar that was up meanwhile knows better whether an owner will come back. */
  review() {
    const { directory, logKey } = this.#options
    for (const key of this.keys()) {
      const gone = directory.goneElsewhere(key, logKey())
      if (gone) this.#inTurn(key, () => this.#putGone(key, gone))
    }
  }

  /** Waits for nobody any more. */
  close() {
    if (this.#rollCall) clearTimeout(this.#rollCall)
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

  /** Those that were lost just before anybody knew better are taken back, too. */
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
