import { SeaportError } from '../errors.js'
import { type Hyperbee, type Hypercore, ReadyResource } from '../holepunch.js'
import { checkGrantStatement, type GrantStatement } from './grant.js'
import { instanceAt, logBee } from './log.js'
import { checkEntry, type LogEntry, recordOf } from './record.js'

export interface FollowerOptions {
  core: Hypercore
  /** The registry's public key. */
  registry: Buffer
  /** Blocks that are known to be on disk from an earlier life. */
  applied?: number
  onchanges: (changes: Map<string, LogEntry | null>) => void
  onreplace: (entries: Map<string, LogEntry>) => void
  /** Grants are never taken out of a log: a revocation ends them. */
  ongrant: (statement: GrantStatement) => void
}

/** Further behind than this, reading all that is there now is cheaper than reading what happened. */
const MAX_HISTORY = 2000
/** A block that does not come in this time was cleared, or nobody who has it is connected. */
const BLOCK_TIMEOUT_MS = 5000
/** The same for blocks of the history, which the newest version can stand in for. */
const HISTORY_TIMEOUT_MS = 1500
const RETRY_MS = 1000
/** Blocks read before those that were overwritten are cleared from our own disk. */
const MAX_GARBAGE = 10_000

/**
 * Reads one log into the directory, and all that is appended to it. Emits `applied` when it caught up
 * with a length, `tidied` when it cleared what is overwritten, `notice` (a SeaportError) when it cannot go on.
 */
export class Follower extends ReadyResource {
  readonly core: Hypercore
  /** Blocks that are in the directory. */
  applied = 0
  /** Blocks that a connected peer said it has; of what lies beyond perhaps nobody has all. */
  offered = 0

  readonly #bee: Hyperbee<unknown>
  readonly #registry: Buffer
  readonly #onDisk: number
  readonly #onchanges: FollowerOptions['onchanges']
  readonly #onreplace: FollowerOptions['onreplace']
  readonly #ongrant: FollowerOptions['ongrant']
  #download: { destroy(): void } | null = null
  #running = false
  #retry: NodeJS.Timeout | null = null
  #cleared = 0

  constructor({ core, registry, applied = 0, onchanges, onreplace, ongrant }: FollowerOptions) {
    super()
    this.core = core
    this.#bee = logBee(core) as Hyperbee<unknown>
    this.#registry = registry
    this.#onDisk = applied
    this.#onchanges = onchanges
    this.#onreplace = onreplace
    this.#ongrant = ongrant
  }

  override async _open() {
    await this.#bee.ready()
    this.core.on('append', () => void this.#run())
    this.core.on('truncate', () => this.#startOver())
    this.core.on('conflict', () => {
      this.emit(
        'notice',
        SeaportError.BAD_MESSAGE(
          'a registrar wrote two different logs under one key, ignored from now on'
        )
      )
    })
    const known = Math.min(this.#onDisk, this.core.length)
    if (known > 0) await this.#rescan(known).catch(() => {})
    void this.#run()
  }

  override async _close() {
    if (this.#retry) clearTimeout(this.#retry)
    this.#download?.destroy()
    await this.#bee.close()
  }

  #startOver() {
    this.applied = 0
    void this.#run()
  }

  /** One at a time; what is appended meanwhile is seen before it ends. */
  async #run() {
    if (this.#running) return
    this.#running = true
    try {
      while (!this.closing && this.core.length > this.applied) await this.#advance(this.#next)
    } catch {
      if (!this.closing) this.#retry = setTimeout(() => this.#run(), RETRY_MS)
    } finally {
      this.#running = false
    }
  }

  get #next(): number {
    const isOnTheWay = this.offered > this.applied && this.offered < this.core.length
    return isOnTheWay ? this.offered : this.core.length
  }

  async #advance(length: number) {
    if (this.applied > 0 && length - this.applied <= MAX_HISTORY) {
      const changes = await this.#history(length).catch(() => null)
      if (changes === null) await this.#rescan(length)
      else this.#onchanges(changes)
    } else {
      await this.#rescan(length)
    }
    if (this.closing) return
    this.applied = length
    // What comes from now on is fetched unasked, so that whoever asks us next finds all of it here.
    this.#download ??= this.core.download({ start: length, end: -1 })
    this.emit('applied', length)
    if (length - this.#cleared > MAX_GARBAGE) await this.#tidy()
  }

  /** Overwritten versions were of use to those who followed from the beginning; there are none. */
  async #tidy() {
    this.#cleared = await this.#bee.clearUnlinked({ gte: this.#cleared })
    this.emit('tidied')
  }

  /** What happened since; of each instance the last word. */
  async #history(length: number): Promise<Map<string, LogEntry | null>> {
    const changes = new Map<string, LogEntry | null>()
    const view = this.#bee.checkout(length)
    try {
      const options = { gte: Math.max(this.applied, 1), lt: length, timeout: HISTORY_TIMEOUT_MS }
      for await (const { type, key, value } of view.createHistoryStream(options)) {
        const instance = instanceAt(key)
        const entry = type === 'put' ? this.#read(key, value) : null
        if (instance && (entry !== null || type === 'del')) changes.set(instance, entry)
      }
      return changes
    } finally {
      await view.close()
    }
  }

  async #rescan(length: number) {
    const entries = new Map<string, LogEntry>()
    const view = this.#bee.checkout(length)
    // The walk through the tree asks for one block after the other; fetched ahead, they are there by then.
    const ahead = this.core.download({ start: 0, end: length })
    try {
      for await (const { key: place, value } of view.createReadStream(
        {},
        { timeout: BLOCK_TIMEOUT_MS }
      )) {
        const entry = this.#read(place, value)
        const key = entry && recordOf(entry).key
        const known = key && entries.get(key)
        if (key && (!known || recordOf(known).seq < recordOf(entry).seq)) entries.set(key, entry)
      }
    } finally {
      ahead.destroy()
      await view.close()
    }
    if (this.closing) return
    this.#onreplace(entries)
    this.applied = length
  }

  /** A record; a grant is passed on here, and what is neither is left out. */
  #read(place: string, value: unknown): LogEntry | null {
    try {
      if (instanceAt(place) !== null) return checkEntry(value, this.#registry)
      this.#ongrant(checkGrantStatement(value, this.#registry))
    } catch (error) {
      this.emit('notice', error)
    }
    return null
  }
}
