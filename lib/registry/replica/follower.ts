import { SeaportError } from '../../core/errors.js'
import { ReadyResource } from '../../core/holepunch.js'
import { toHex } from '../../core/keys.js'
import { type HistoryOptions, LOCAL, readHistory } from '../log/history.js'
import { closeWholly, type Hypercore } from '../log/hypercore.js'
import { type LogValue, parseLogValue, sortOut } from '../log/log-value.js'
import { prune } from '../log/prune.js'
import type { ReadOptions, Snapshots } from '../log/snapshots.js'
import type { LogEntry } from '../trust/record.js'
import { MIN_TAIL, maxTail, type Snapshot } from '../trust/snapshot.js'
import type { Statement } from '../trust/statement.js'
import type { StatementKinds } from '../trust/statement-kinds.js'
import { SnapshotCandidates } from './snapshot-candidates.js'

export interface FollowerOptions {
  /** Opens the log. With `overwrite`, what is on disk is deleted first. */
  open: (options: { overwrite: boolean }) => Hypercore
  /** Who followed the log in a store that has failed; what it was offered counts. */
  before?: Follower | null
  /** The registry's public key. */
  registry: Buffer
  snapshots: Snapshots
  kinds: StatementKinds
  /** Blocks that an earlier run has read, and that are on disk. */
  applied?: number
  onentries: (entries: [key: string, entry: LogEntry][]) => void
  /** The log has entries of these instances, and of no others. */
  onretain: (keys: ReadonlySet<string>) => void
  /** Statements are never taken out of a log: a later one takes their place. */
  onstatement: (statement: Statement) => void
  /** How long to wait while no block of a snapshot comes, in ms. */
  stall?: number
  /** Blocks after the snapshot that we hold before a newer one is fetched, at least. */
  minTail?: number
  /** How long replicas wait at most until they fetch it, so that not all want it at once, in ms. */
  spread?: number
}

/** Further behind than this, reading all that is there now is cheaper than reading what happened. */
const MAX_HISTORY = 2000
/** A snapshot of which no block comes in this time will not come. */
const STALL_MS = 5000
/** A block that does not come in this time was cleared, or nobody who has it is connected. */
const HISTORY_TIMEOUT_MS = 1500
const RETRY_MS = 1000
const SPREAD_MS = 10_000

/**
 * Reads one log into the directory, and all that is appended to it: a snapshot first, then block after block.
 * Keeps a snapshot and all blocks after it, so that a newcomer finds all that is needed here. Emits
 * `applied` when it got further, `held` when there is another snapshot, `tidied` when it cleared the disk of
 * something, `notice` (a SeaportError) when it cannot go on.
 */
export class Follower extends ReadyResource {
  /** How many blocks of the log are in the directory. */
  applied = 0
  /** How many blocks connected peers have. Of blocks beyond that, perhaps nobody has all. */
  offered = 0

  #core: Hypercore
  readonly #options: Required<FollowerOptions>
  readonly #candidates: SnapshotCandidates
  #download: { destroy(): void } | null = null
  /** Whether a step is under way. It is true at first, while what is on disk is read. */
  #running = true
  #retry: NodeJS.Timeout | null = null
  #fetch: NodeJS.Timeout | null = null
  #fetching: Promise<void> | null = null
  #isTaking = false
  /** The first block that we may have on disk. */
  #first = Infinity
  /** What was read anew of a log that the directory knows further; null if it does not. */
  #older: Map<string, LogEntry> | null = null
  /** How many blocks of such a log the directory knows. */
  readonly #known: number
  /** Whether blocks after those that we have did not come, so that only a snapshot helps. */
  #isHistoryGone = false

  constructor(options: FollowerOptions) {
    super()
    const { before = null } = options
    this.#core = options.open({ overwrite: false })
    this.#candidates = before ? before.#candidates : new SnapshotCandidates()
    this.offered = before?.offered ?? 0
    this.#known = before ? Math.max(before.applied, before.#older ? before.#known : 0) : 0
    if (this.#known > 0) this.#older = new Map()
    this.#options = {
      before,
      applied: 0,
      stall: STALL_MS,
      minTail: MIN_TAIL,
      spread: SPREAD_MS,
      ...options
    }
  }

  override async _open() {
    await this.#listen()
    await this.#recall().catch(() => {})
    this.#running = false
    void this.#run()
  }

  override async _close() {
    if (this.#retry) clearTimeout(this.#retry)
    if (this.#fetch) clearTimeout(this.#fetch)
    this.#download?.destroy()
    await this.core.close()
    await this.#fetching
  }

  /** Closes, and takes what was copied off the disk. */
  async discard() {
    await this.ready()
    this.#download?.destroy()
    await this.core.clear(0, this.core.length)
    await this.close()
  }

  get core(): Hypercore {
    return this.#core
  }

  /** Hex. */
  get logKey(): string {
    return toHex(this.core.key)
  }

  /** The snapshot that we can give to others. */
  get held(): Snapshot | null {
    return this.#options.snapshots.held(this.logKey)
  }

  /** A peer has so many blocks, of those that were proven to be written, and this snapshot if there is one. */
  offer(length: number, snapshot: Snapshot | null) {
    this.offered = Math.max(this.offered, length)
    if (snapshot && this.#candidates.add(snapshot)) void this.#run()
  }

  async #listen() {
    this.core.on('append', () => void this.#run())
    this.core.on('truncate', () => this.#startOver())
    this.core.on('conflict', () => {
      const text = 'a registrar wrote two different logs under one key, ignored from now on'
      this.emit('notice', SeaportError.BAD_MESSAGE(text))
    })
    await this.core.ready()
  }

  #startOver() {
    this.#older = null
    this.applied = 0
    void this.#run()
  }

  async #recall() {
    const { held } = this
    const known = Math.min(this.#options.applied, this.core.length)
    if (known > 0) this.#first = held?.length ?? 0
    if (held) await this.#readSnapshot(held, LOCAL)
    if (known > this.applied) await this.#readHistory(known, LOCAL)
  }

  /** Takes steps until there is nothing to do. Only one call runs at a time; it sees what comes meanwhile. */
  async #run() {
    if (this.#running) return
    this.#running = true
    try {
      while (!this.closing && (await this.#advance()));
      this.#fetchSoon()
    } catch {
      if (!this.closing) this.#tryAgain()
    } finally {
      this.#running = false
    }
  }

  #tryAgain() {
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      void this.#run()
    }, RETRY_MS)
  }

  /** Returns whether there was something to do. */
  async #advance(): Promise<boolean> {
    const snapshot = this.#candidates.best(this.applied)
    if (snapshot && this.#isBetter(snapshot)) await this.#takeSnapshot(snapshot)
    else if (this.core.length > this.applied) await this.#takeHistory()
    else {
      if (snapshot) this.#expectMore()
      return false
    }
    if (!this.closing) this.emit('applied', this.applied)
    return true
  }

  /**
   * Whether to read a snapshot rather than the blocks before its length. Of the two, the one that failed gives
   * way.
   */
  #isBetter(snapshot: Snapshot): boolean {
    if (this.#isHistoryGone || this.#candidates.hasFailed(snapshot)) return this.#isHistoryGone
    return this.applied === 0 || snapshot.length - this.applied > MAX_HISTORY
  }

  /**
   * A peer has a snapshot beyond our end, but no blocks come: it may have cleared the tree nodes that prove
   * them. After a while the snapshot is read instead.
   */
  #expectMore() {
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      this.#isHistoryGone = this.core.length <= this.applied
      void this.#run()
    }, HISTORY_TIMEOUT_MS)
  }

  async #takeSnapshot(snapshot: Snapshot) {
    await this.#fetching
    this.#isTaking = true
    try {
      if (this.core.length === 0) this.#downloadFrom(snapshot.length)
      await this.#readSnapshot(snapshot, { stall: this.#options.stall })
      await this.#hold(snapshot)
    } catch (error) {
      this.#candidates.failed(snapshot)
      throw error
    } finally {
      this.#isHistoryGone = false
      this.#isTaking = false
    }
  }

  async #takeHistory() {
    if (!this.#download) this.#downloadFrom(this.applied)
    const isOnTheWay = this.offered > this.applied && this.offered < this.core.length
    const next = isOnTheWay ? this.offered : this.core.length
    const to = Math.min(next, this.applied + MAX_HISTORY)
    try {
      await this.#readHistory(to, { timeout: HISTORY_TIMEOUT_MS })
    } catch (error) {
      if (!this.#candidates.best(this.applied)) throw error
      this.#isHistoryGone = true
    }
  }

  /** Fetches all blocks from a length on as they are written, so that we can give all of them to others. */
  #downloadFrom(length: number) {
    this.#first = Math.min(this.#first, length)
    this.#download?.destroy()
    this.#download = this.core.download({ start: length, end: -1 })
  }

  async #readSnapshot(snapshot: Snapshot, options: ReadOptions) {
    const keys = new Set<string>()
    for await (const lines of this.#options.snapshots.read(snapshot, options)) {
      if (this.closing) return
      for (const key of this.#apply(lines)) keys.add(key)
    }
    if (!this.#older) this.#options.onretain(keys)
    this.#onread(snapshot.length)
  }

  async #readHistory(to: number, options: HistoryOptions) {
    for await (const { length, values } of readHistory(this.core, this.applied, to, options)) {
      if (this.closing) return
      this.#apply(values)
      this.#onread(length)
    }
  }

  #onread(length: number) {
    this.applied = length
    const older = this.#older
    if (!older || length < this.#known) return
    this.#older = null
    this.#options.onentries([...older])
    this.#options.onretain(new Set(older.keys()))
  }

  /**
   * What is read anew, after a store has failed, is passed on only once it is as new as what the directory has of the log:
   * until then, instances would seem to come and go that did so long ago.
   */
  #pass(entries: [key: string, entry: LogEntry][]) {
    if (!this.#older) return this.#options.onentries(entries)
    for (const [key, entry] of entries) this.#older.set(key, entry)
  }

  /** Returns the keys of the instances. Kinds that are unknown here are passed over. */
  #apply(lines: readonly string[]): string[] {
    const { registry, kinds, onstatement } = this.#options
    const values: LogValue[] = []
    let fault: unknown = null
    for (const json of lines) {
      try {
        const value = parseLogValue(json, registry, kinds)
        if (value) values.push(value)
      } catch (error) {
        fault ??= error
      }
    }
    const { entries, statements } = sortOut(values)
    this.#pass(entries)
    for (const statement of statements) onstatement(statement)
    if (fault) this.emit('notice', fault)
    return entries.map(([key]) => key)
  }

  /**
   * A newer snapshot that would let us clear many blocks which we keep for others; null if none is worth it.
   */
  get #overdue(): Snapshot | null {
    const held = this.held?.length ?? 0
    const snapshot = this.#candidates.best(held)
    if (!snapshot || snapshot.length > this.applied) return null
    const isOverdue = snapshot.length - held > maxTail(snapshot.values, this.#options.minTail)
    return isOverdue ? snapshot : null
  }

  #fetchSoon() {
    if (this.#fetch || this.#fetching || this.closing || !this.#overdue) return
    this.#fetch = setTimeout(() => {
      this.#fetch = null
      if (!this.#isTaking) this.#fetchOverdue()
    }, this.#options.spread * Math.random())
  }

  #fetchOverdue() {
    const snapshot = this.#overdue
    if (!snapshot) return
    this.#fetching = this.#options.snapshots
      .fetch(snapshot, { stall: this.#options.stall })
      .then(() => this.#hold(snapshot))
      .catch(() => this.#candidates.failed(snapshot))
      .finally(() => {
        this.#fetching = null
      })
  }

  /** Keeps a snapshot, and not the blocks before it. */
  async #hold(snapshot: Snapshot) {
    if (this.closing) return
    const { length } = snapshot
    await this.#options.snapshots.hold(snapshot)
    this.emit('held', snapshot)
    if (this.#first >= length || this.closing) return
    if (this.core.length < length) await this.#beginAnew()
    else await prune(this.core, [this.#first, length], [0, length])
    this.#first = length
    this.emit('tidied')
  }

  /** Deletes our copy of the log: no peer can prove any more how the log went on from its end. */
  async #beginAnew() {
    this.#download?.destroy()
    this.#download = null
    await closeWholly(this.core)
    if (this.closing) return
    this.#core = this.#options.open({ overwrite: true })
    await this.#listen()
  }
}
