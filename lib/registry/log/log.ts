import { SeaportError } from '../../core/errors.js'
import { ReadyResource } from '../../core/holepunch.js'
import { toHex } from '../../core/keys.js'
import { isEntry, type LogEntry } from '../trust/record.js'
import type { Statement } from '../trust/statement.js'
import { StatementKinds } from '../trust/statement-kinds.js'
import { BeeWriter, type Change } from './bee-writer.js'
import { Compaction } from './compaction.js'
import { type Head, headOf } from './head.js'
import { LOCAL, readHistory } from './history.js'
import { Hyperbee, type Hypercore, treeHashOf } from './hypercore.js'
import { idOf, type LogValue, placeOf } from './log-value.js'
import type { Snapshots } from './snapshots.js'

export interface LogOptions {
  /** Where a snapshot of it may be, to begin with. */
  snapshots?: Snapshots | null
  /** The kinds that are known here. Values of others are kept as they are. */
  kinds?: StatementKinds
}

/** So many heads that others showed are remembered as ours. */
const MAX_OWN_HEADS = 1024

/**
 * A registrar's own log: a Hyperbee with one entry per instance, and the statements of other kinds. Values that come
 * while others are being written leave together in the next batch (group commit). Emits `written` (a list of values),
 * and `conflict` when others turn out to have another log under its key; nothing can be written then.
 */
export class Log extends ReadyResource {
  readonly stats = { writes: 0, batches: 0, cleared: 0 }

  readonly #bee: Hyperbee<LogValue>
  readonly #tree: BeeWriter<LogValue>
  readonly #snapshots: Snapshots | null
  readonly #kinds: StatementKinds
  readonly #compaction: Compaction
  /** By id; of a kind that is unknown here, by its place. */
  readonly #values = new Map<string, LogValue>()
  /** Signatures of heads that were found to be of our own tree. */
  readonly #ownHeads = new Set<string>()
  #queue: Write[] = []
  /** Tasks that run after one batch is written and before the next is begun. */
  #breaks: (() => Promise<void>)[] = []
  #writing: Promise<void> | null = null

  constructor(
    core: Hypercore,
    { snapshots = null, kinds = new StatementKinds() }: LogOptions = {}
  ) {
    super()
    this.#bee = logBee(core)
    this.#tree = new BeeWriter(this.#bee)
    this.#compaction = new Compaction(core)
    this.#snapshots = snapshots
    this.#kinds = kinds
    core.on('conflict', () => this.emit('conflict'))
  }

  override async _open() {
    await this.#bee.ready()
    await this.#recall().catch(() => this.#readTree())
  }

  override async _close() {
    await this.#writing
    await this.#bee.close()
  }

  /** Hex. */
  get key(): string {
    return toHex(this.#core.key)
  }

  get length(): number {
    return this.#core.length
  }

  /** How far it went, signed; null while it is empty. */
  get head(): Head | null {
    return headOf(this.#core)
  }

  /**
   * Whether a signed head of this log is of another tree than ours: the log went on elsewhere, as after a folder was put
   * back to an older state. Of a length whose tree was cleared nobody can tell, and it does not count.
   */
  async lacks({ fork, length, hash, signature }: Head): Promise<boolean> {
    if (this.#ownHeads.has(signature)) return false
    if (length > this.length || fork !== this.#core.fork) return true
    const ours = await treeHashOf(this.#core, length)
    if (ours && toHex(ours) !== hash) return true
    if (this.#ownHeads.size === MAX_OWN_HEADS) this.#ownHeads.clear()
    this.#ownHeads.add(signature)
    return false
  }

  /** How many values it has. */
  get size(): number {
    return this.#values.size
  }

  /** What the log says of an instance, writes that are under way included. */
  get(key: string): LogEntry | null {
    const value = this.#values.get(key)
    return value !== undefined && isEntry(value) ? value : null
  }

  /** Whether a statement stands here, writes that are under way included. */
  has(statement: Statement): boolean {
    const value = this.#values.get(idOf(statement, this.#kinds) ?? '')
    return value !== undefined && !isEntry(value) && value.signature === statement.signature
  }

  /** What the log says of all instances. */
  entries(): LogEntry[] {
    return this.values().filter(isEntry)
  }

  values(): LogValue[] {
    return [...this.#values.values()]
  }

  /**
   * Resolves once the value would survive a crash of this process.
   *
   * @throws UNKNOWN_KIND
   */
  async put(value: LogValue): Promise<void> {
    const id = idOf(value, this.#kinds)
    if (id === null) throw unknownKind(value)
    await this.#put(id, value)
  }

  /** Takes all that another log says, in kinds that are unknown here too. */
  async adopt(other: Log) {
    await Promise.all([...other.#values].map(([id, value]) => this.#put(id, value)))
  }

  /** The values at one length of the log, without those that are still to be written. */
  settled(): Promise<{ length: number; values: LogValue[] }> {
    return this.#between(async () => {
      const settled = new Map(this.#values)
      for (const { id, before } of this.#queue.toReversed()) {
        if (before) settled.set(id, before)
        else settled.delete(id)
      }
      return { length: this.length, values: [...settled.values()] }
    })
  }

  /**
   * Clears what was overwritten when it had this length. Writing goes on meanwhile.
   *
   * @param isOver asked again and again, for it may take long
   */
  async clearBefore(length: number, isOver: () => boolean) {
    const linked = await this.#between(() => this.#tree.linked())
    if (!linked) return
    this.stats.cleared += await this.#compaction.clearBefore(length, linked, isOver)
  }

  get #core(): Hypercore {
    return this.#bee.core
  }

  async #recall() {
    const snapshot = this.#snapshots?.held(this.key) ?? null
    if (snapshot && this.#snapshots) {
      for await (const lines of this.#snapshots.read(snapshot, LOCAL)) this.#take(lines)
    }
    let { length } = snapshot ?? { length: 1 }
    for await (const slice of readHistory(this.#core, length, this.length, LOCAL)) {
      this.#take(slice.values)
      length = slice.length
    }
    if (length < this.length) throw SeaportError.CLOSED('not all of the log is there')
  }

  /**
   * The tree says all that snapshot and history do, and the places of unknown kinds, but block after block.
   */
  async #readTree() {
    this.#values.clear()
    for await (const { key, value } of this.#bee.createReadStream()) {
      this.#values.set(idOf(value, this.#kinds) ?? key, value)
    }
  }

  /** @throws UNKNOWN_KIND: only the tree says where such a value stands */
  #take(values: readonly string[]) {
    for (const json of values) {
      const value: LogValue = JSON.parse(json)
      const id = idOf(value, this.#kinds)
      if (id === null) throw unknownKind(value)
      this.#values.set(id, value)
    }
  }

  #put(id: string, value: LogValue): Promise<void> {
    const before = this.#values.get(id)
    this.#values.set(id, value)
    this.stats.writes++
    return new Promise((resolve, reject) => {
      this.#queue.push({ id, value, before, resolve, reject })
      this.#writeOn()
    })
  }

  #between<T>(act: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#breaks.push(() => act().then(resolve, reject))
      this.#writeOn()
    })
  }

  #writeOn() {
    this.#writing ??= this.#write()
  }

  async #write() {
    try {
      for (;;) {
        await this.#breaks.shift()?.()
        if (this.#queue.length > 0) await this.#writeBatch(this.#queue.splice(0))
        else if (this.#breaks.length === 0) return
      }
    } finally {
      // In the same moment in which nothing is left: a value that comes a microtask later starts writing
      // again.
      this.#writing = null
    }
  }

  async #writeBatch(writes: Write[]) {
    try {
      await this.#tree.write(writes.flatMap((write) => this.#changesOf(write)))
    } catch (error) {
      for (const write of writes.reverse()) this.#undo(write, error)
      return
    }
    this.stats.batches++
    this.emit(
      'written',
      writes.map(({ value }) => value)
    )
    for (const { resolve } of writes) resolve()
  }

  #changesOf({ id, value, before }: Write): Change<LogValue>[] {
    const place = this.#placeOf(id, value)
    const left = before && this.#placeOf(id, before)
    const change: Change<LogValue> = [place, value]
    return left && left !== place ? [[left, null], change] : [change]
  }

  #placeOf(id: string, value: LogValue): string {
    return placeOf(value, this.#kinds) ?? id
  }

  /** Takes back a value that could not be written. */
  #undo({ id, before, reject }: Write, error: unknown) {
    if (before) this.#values.set(id, before)
    else this.#values.delete(id)
    reject(error)
  }
}

interface Write {
  id: string
  value: LogValue
  /** What the instance's entry was; at another place if its role or version changed. */
  before: LogValue | undefined
  resolve: () => void
  reject: (error: unknown) => void
}

function unknownKind({ type }: LogValue): SeaportError {
  return SeaportError.UNKNOWN_KIND(`${type} is unknown here`)
}

/** As any Hyperbee tool would open it. */
function logBee(core: Hypercore): Hyperbee<LogValue> {
  return new Hyperbee<LogValue>(core, {
    keyEncoding: 'utf-8',
    valueEncoding: 'json',
    // The extension asks peers for blocks ahead of reading. They send all blocks anyway.
    extension: false
  })
}
