import { SeaportError } from '../../core/errors.js'
import { parseRecord, type ServiceRecord, verifyRecord } from '../../registry/trust/signed.js'
import type { MailStore } from './mail-store.js'

export interface LastRecordsOptions {
  registry: Buffer
  /** How many are kept, 10 000 at most. */
  max: number
  onnotice: (notice: SeaportError) => void
}

/** However large the mailbox is. */
const MAX_RECORDS = 10_000

/**
 * The last records that a mailbox saw of those who take letters, as they signed them. Who writes to one that is away,
 * and has no record in the registry any more, asks for it. What is on disk may be damaged, or written by somebody else,
 * so it is checked like what comes from others; a record that does not hold is dropped, and its owner's next one kept.
 */
export class LastRecords {
  readonly #store: MailStore
  readonly #options: LastRecordsOptions
  /** The sequence number of each record, by its key. Those that were seen last are at the end. */
  readonly #seqs = new Map<string, number>()
  /** Keys whose records were read from disk, without a check of their signatures, which would take long for all. */
  readonly #unverified = new Set<string>()

  constructor(store: MailStore, options: LastRecordsOptions) {
    this.#store = store
    this.#options = { ...options, max: Math.min(options.max, MAX_RECORDS) }
  }

  get size(): number {
    return this.#seqs.size
  }

  /** @throws STORAGE_FAILED */
  async load() {
    const found: [key: string, seq: number][] = []
    const bad: string[] = []
    for await (const { key, value } of this.#store.entries('records')) {
      const record = readRecord(value.toString(), key, this.#options.registry)
      if (record) found.push([key, record.seq])
      else bad.push(key)
    }
    // A record is signed when it changes, so that the oldest ones are most likely of those who have left for good.
    for (const [key, seq] of found.sort(([, a], [, b]) => a - b)) {
      this.#seqs.set(key, seq)
      this.#unverified.add(key)
    }
    if (bad.length > 0) await this.#drop(bad)
  }

  /**
   * A record that its owner has signed; null if none was seen.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  async get(key: string): Promise<ServiceRecord | null> {
    const value = await this.#store.get('records', key)
    if (!value) return null
    const record = readRecord(value.toString(), key, this.#options.registry)
    this.#unverified.delete(key)
    if (record && verifyRecord(record)) return record
    await this.#drop([key])
    return null
  }

  /**
   * Keeps a record whose signature was checked, unless it is older than the one that is there.
   *
   * @throws CLOSED, STORAGE_FAILED
   */
  async add(record: ServiceRecord) {
    const { key, seq } = record
    if (this.#unverified.has(key)) await this.get(key)
    if ((this.#seqs.get(key) ?? 0) >= seq) return
    this.#seqs.delete(key)
    this.#seqs.set(key, seq)
    const [oldest] = this.#seqs.keys()
    const isFull = oldest !== undefined && this.#seqs.size > this.#options.max
    if (isFull) this.#forget(oldest)
    await this.#store.apply([
      { table: 'records', key, value: Buffer.from(JSON.stringify(record)) },
      ...(isFull ? [{ table: 'records', key: oldest, value: null } as const] : [])
    ])
  }

  /** Drops records that do not hold, and tells so. */
  async #drop(keys: readonly string[]) {
    for (const key of keys) this.#forget(key)
    await this.#store.apply(keys.map((key) => ({ table: 'records', key, value: null })))
    const text = `${keys.length} of the last records that are kept for writers of letters could not be read, and were dropped`
    this.#options.onnotice(SeaportError.STORAGE_FAILED(text))
  }

  #forget(key: string) {
    this.#seqs.delete(key)
    this.#unverified.delete(key)
  }
}

/** Reads a record as JSON, and checks everything but its signature. Returns null for what is no record of this key. */
export function readRecord(json: string, key: string, registry: Buffer): ServiceRecord | null {
  try {
    const record = parseRecord(json, registry)
    return record.key === key ? record : null
  } catch {
    return null
  }
}
