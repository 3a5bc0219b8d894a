import type { ServiceRecord } from '../../registry/trust/signed.js'
import type { MailStore } from './mail-store.js'

/** However large the mailbox is. */
const MAX_RECORDS = 10_000

/**
 * The last records that a mailbox saw of those who take letters, as they signed them. Who writes to one that is away,
 * and has no record in the registry any more, asks for it.
 */
export class LastRecords {
  readonly #store: MailStore
  readonly #max: number
  /** The sequence number of each record, by its key. Those that were seen last are at the end. */
  readonly #seqs = new Map<string, number>()

  constructor(store: MailStore, max: number) {
    this.#store = store
    this.#max = Math.min(max, MAX_RECORDS)
  }

  get size(): number {
    return this.#seqs.size
  }

  async load() {
    const found: [key: string, seq: number][] = []
    for await (const { key, value } of this.#store.entries('records')) {
      found.push([key, (JSON.parse(value.toString()) as ServiceRecord).seq])
    }
    // A record is signed when it changes, so that the oldest ones are most likely of those who have left for good.
    for (const [key, seq] of found.sort(([, a], [, b]) => a - b)) this.#seqs.set(key, seq)
  }

  /** A record as JSON; null if none was seen. Its signature was checked when it came. */
  get(key: string): Promise<Buffer | null> {
    return this.#store.get('records', key)
  }

  /**
   * Keeps a record whose signature was checked, unless it is older than the one that is there.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  async add(record: ServiceRecord) {
    const { key, seq } = record
    if ((this.#seqs.get(key) ?? 0) >= seq) return
    this.#seqs.delete(key)
    this.#seqs.set(key, seq)
    const [oldest] = this.#seqs.keys()
    const isFull = oldest !== undefined && this.#seqs.size > this.#max
    if (isFull) this.#seqs.delete(oldest)
    await this.#store.apply([
      { table: 'records', key, value: Buffer.from(JSON.stringify(record)) },
      ...(isFull ? [{ table: 'records', key: oldest, value: null } as const] : [])
    ])
  }
}
