import { CLOCK_MS } from './letter.js'
import type { Change, MailStore } from './mail-store.js'

/** How many ids are remembered. Beyond that, letters are refused as if the inbox was full. */
const MAX_SEEN = 1_000_000
const TIME_BYTES = 6

/**
 * The ids of letters that were taken, with their receipts, until the letters expire. By them a letter that comes again
 * is answered as before, and not handled twice.
 */
export class SeenIds {
  readonly #store: MailStore
  readonly #max: number
  #size = 0

  constructor(store: MailStore, max = MAX_SEEN) {
    this.#store = store
    this.#max = max
  }

  get size(): number {
    return this.#size
  }

  get isFull(): boolean {
    return this.#size >= this.#max
  }

  async load() {
    for await (const _ of this.#store.entries('expiry')) this.#size++
  }

  /** The receipt of a letter: empty if there is none yet, null if the letter was never seen. */
  get(id: string): Promise<Buffer | null> {
    return this.#store.get('seen', id)
  }

  /** The changes to write for a letter that is seen for the first time. */
  adding(id: string, expiresAt: number, receipt: Buffer = Buffer.alloc(0)): Change[] {
    this.#size++
    return [
      { table: 'seen', key: id, value: receipt },
      { table: 'expiry', key: timeKey(expiresAt) + id, value: Buffer.alloc(0) }
    ]
  }

  /** Writes the id and the receipt of a letter that is seen for the first time. */
  async remember(id: string, expiresAt: number, receipt: Buffer) {
    await this.#store.apply(this.adding(id, expiresAt, receipt))
  }

  /** The changes to write for the receipt of a letter that was seen before. */
  answering(id: string, receipt: Buffer): Change[] {
    return [{ table: 'seen', key: id, value: receipt }]
  }

  /** Forgets letters that have expired by anybody's clock, gives back their disk space, and resolves with their ids. */
  async sweep(now: number): Promise<string[]> {
    const ids: string[] = []
    const changes: Change[] = []
    for await (const { key } of this.#store.entries('expiry', timeKey(now - CLOCK_MS))) {
      const id = key.slice(TIME_BYTES * 2)
      ids.push(id)
      changes.push({ table: 'expiry', key, value: null }, { table: 'seen', key: id, value: null })
    }
    if (ids.length === 0) return ids
    await this.#store.apply(changes)
    this.#size -= ids.length
    for (const table of ['seen', 'expiry'] as const) await this.#store.compact(table)
    return ids
  }
}

function timeKey(time: number): string {
  const bytes = Buffer.alloc(TIME_BYTES)
  bytes.writeUIntBE(Math.max(0, time), 0, TIME_BYTES)
  return bytes.toString('hex')
}
