import { CLOCK_MS } from './letter.js'
import type { Change, MailStore } from './mail-store.js'

/** So many ids are remembered; whoever sends more is told that the inbox is full. */
const MAX_SEEN = 1_000_000
const TIME_BYTES = 6

/**
 * The ids of letters that were taken, with the receipt that was given, until the letters are of use no more: so one
 * that comes again is answered as before, and handed over once.
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

  /** The receipt that was given for a letter: empty as long as there is none, null if it was never seen. */
  get(id: string): Promise<Buffer | null> {
    return this.#store.get('seen', id)
  }

  /** What has to be written for a letter that is seen for the first time. */
  adding(id: string, expiresAt: number, receipt: Buffer = Buffer.alloc(0)): Change[] {
    this.#size++
    return [
      { table: 'seen', key: id, value: receipt },
      { table: 'expiry', key: timeKey(expiresAt) + id, value: Buffer.alloc(0) }
    ]
  }

  /** Writes down one that is seen for the first time, with its receipt. */
  async remember(id: string, expiresAt: number, receipt: Buffer) {
    await this.#store.apply(this.adding(id, expiresAt, receipt))
  }

  /** What has to be written for the receipt of one that was seen. */
  answering(id: string, receipt: Buffer): Change[] {
    return [{ table: 'seen', key: id, value: receipt }]
  }

  /** Forgets those that are of use no more on anybody's clock, and returns their ids. */
  async sweep(now: number): Promise<string[]> {
    const ids: string[] = []
    const changes: Change[] = []
    for await (const { key } of this.#store.entries('expiry', timeKey(now - CLOCK_MS))) {
      const id = key.slice(TIME_BYTES * 2)
      ids.push(id)
      changes.push({ table: 'expiry', key, value: null }, { table: 'seen', key: id, value: null })
    }
    if (ids.length > 0) await this.#store.apply(changes)
    this.#size -= ids.length
    return ids
  }
}

function timeKey(time: number): string {
  const bytes = Buffer.alloc(TIME_BYTES)
  bytes.writeUIntBE(Math.max(0, time), 0, TIME_BYTES)
  return bytes.toString('hex')
}
