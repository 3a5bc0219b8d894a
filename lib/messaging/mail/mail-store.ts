import { SeaportError } from '../../core/errors.js'
import { FORCED, type Rocks, writeChanges } from '../../core/rocks.js'
import { openDatabase } from '../database.js'

/** The tables of a store. */
export type Table =
  | 'outbox'
  | 'inbox'
  | 'seen'
  | 'expiry'
  | 'prekeys'
  | 'blocked'
  | 'records'
  | 'named'

/** One write. A value of null removes. */
export interface Change {
  table: Table
  /** Bytes in hex. */
  key: string
  value: Buffer | null
}

const PREFIXES: Record<Table, number> = {
  outbox: 1,
  inbox: 2,
  seen: 3,
  expiry: 4,
  prekeys: 5,
  blocked: 6,
  records: 7,
  named: 8
}

/**
 * One key's mail on disk. What `apply` has written survives the end of the process, however that ends; a whole
 * machine that loses its power may lose the last moments.
 */
export class MailStore {
  readonly #folder: string
  readonly #onnotice: (notice: SeaportError) => void
  #rocks: Rocks | null = null
  readonly #waiting: Change[] = []
  #flushing: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null

  /** @param onnotice told that what was there is damaged, and was set aside */
  constructor(folder: string, onnotice: (notice: SeaportError) => void = () => {}) {
    this.#folder = folder
    this.#onnotice = onnotice
  }

  /** @throws KEY_IN_USE if another process has it, STORAGE_FAILED */
  async open() {
    try {
      this.#rocks = await openDatabase(this.#folder, this.#onnotice)
    } catch (cause) {
      const { code, message } = cause as SeaportError
      if (code === 'STORAGE_LOCKED') {
        throw SeaportError.KEY_IN_USE(
          `another process has the mail of this key (${this.#folder}); stop it, attach to it, or use another --dir`
        )
      }
      throw SeaportError.STORAGE_FAILED(
        `no mail can be kept in ${this.#folder} (${message})`,
        cause
      )
    }
  }

  async close() {
    await this.#next?.catch(() => {})
    await this.#flushing
    const rocks = this.#rocks
    this.#rocks = null
    await rocks?.close()
  }

  /** @throws CLOSED, STORAGE_FAILED */
  get(table: Table, key: string): Promise<Buffer | null> {
    return this.#try((rocks) => rocks.get(bytesOf(table, key)))
  }

  /**
   * Writes all of these changes or none, after those of earlier calls.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  apply(changes: readonly Change[]): Promise<void> {
    // They are pushed one by one, because more of them than fit on the stack could not be spread as arguments.
    for (const change of changes) this.#waiting.push(change)
    this.#next ??= this.#flushing.then(() => this.#flush())
    return this.#next
  }

  /** Writes what waits. Changes that come meanwhile are written together afterwards. */
  #flush(): Promise<void> {
    const changes = this.#waiting.splice(0)
    this.#next = null
    const flushed = this.#write(changes)
    this.#flushing = flushed.catch(() => {})
    return flushed
  }

  #write(changes: readonly Change[]): Promise<void> {
    const all = changes.map(({ table, key, value }) => ({ key: bytesOf(table, key), value }))
    return this.#try((rocks) => writeChanges(rocks, all))
  }

  /**
   * All entries of a table, in the order of their keys.
   *
   * @param below keys from this one on are left out
   * @throws CLOSED, STORAGE_FAILED
   */
  async *entries(table: Table, below = ''): AsyncIterable<{ key: string; value: Buffer }> {
    const prefix = PREFIXES[table]
    const lt = below === '' ? Buffer.from([prefix + 1]) : bytesOf(table, below)
    const rocks = this.#opened
    for await (const { key, value } of rocks.iterator({ gte: Buffer.from([prefix]), lt })) {
      yield { key: key.toString('hex', 1), value: Buffer.from(value) }
    }
  }

  /** Frees the disk space of what was removed from a table. */
  async compact(table: Table) {
    const prefix = PREFIXES[table]
    const [start, end] = [String.fromCharCode(prefix), String.fromCharCode(prefix + 1)]
    await this.#try((rocks) => rocks.compactRange(start, end, FORCED))
  }

  get #opened(): Rocks {
    if (!this.#rocks) throw SeaportError.CLOSED('the mail is closed')
    return this.#rocks
  }

  async #try<T>(act: (rocks: Rocks) => Promise<T>): Promise<T> {
    const rocks = this.#opened
    try {
      return await act(rocks)
    } catch (cause) {
      const { message } = ((cause as Error).cause ?? cause) as Error
      throw SeaportError.STORAGE_FAILED(
        `mail cannot be read or written in ${this.#folder} (${message})`,
        cause
      )
    }
  }
}

function bytesOf(table: Table, key: string): Buffer {
  return Buffer.concat([Buffer.from([PREFIXES[table]]), Buffer.from(key, 'hex')])
}
