import type { LinkStream } from '../../link/stream.js'
import type { Directory } from '../../registry/replica/directory.js'
import { recordOf, type ServiceRecord, verifyRecord } from '../../registry/trust/signed.js'
import { type LastRecords, readRecord } from './last-records.js'
import { askRecord } from './mailbox-stream.js'
import { Recent } from './recent.js'

export interface ReceiverRecordsOptions {
  registry: Buffer
  directory: Directory
  /** What we saw ourselves; null if we are no mailbox. */
  last: LastRecords | null
  open: (mailbox: string) => Promise<LinkStream>
}

/** How long what mailboxes said of a receiver counts, in ms. */
const LEARNED_MS = 60_000
const MAX_LEARNED = 10_000
/** How many mailboxes are asked: one may have seen less than another, or withhold what it saw. */
const ASKED = 3

/** The records of those whom letters go to: from the registry, or the last ones that mailboxes saw. */
export class ReceiverRecords {
  readonly #options: ReceiverRecordsOptions
  /** What mailboxes said; null where none had a record. */
  readonly #learned = new Recent<ServiceRecord | null>({ max: MAX_LEARNED, ttl: LEARNED_MS })

  constructor(options: ReceiverRecordsOptions) {
    this.#options = options
  }

  /** A record as far as it is known without asking. */
  get(key: string): ServiceRecord | null {
    const entry = this.#options.directory.entry(key)
    return entry ? recordOf(entry) : (this.#learned.get(key) ?? null)
  }

  /** A record as far as it is known here, on disk too. Never rejects. */
  async known(key: string): Promise<ServiceRecord | null> {
    return this.get(key) ?? (await this.#options.last?.get(key).catch(() => null)) ?? null
  }

  /** Asks mailboxes for the record of somebody who has none in the registry. Never rejects. */
  async learn(key: string, mailboxes: readonly string[]): Promise<ServiceRecord | null> {
    const known = await this.known(key)
    if (known || this.#learned.get(key) !== undefined || mailboxes.length === 0) return known
    const asked = mailboxes.slice(0, ASKED).map((mailbox) => this.#ask(mailbox, key))
    const records = (await Promise.all(asked)).filter((record) => record !== null)
    const [newest = null] = records.sort((a, b) => b.seq - a.seq)
    this.#learned.set(key, newest)
    if (newest) await this.#options.last?.add(newest).catch(() => {})
    return newest
  }

  /** Asks one mailbox for a record, which counts only if its owner has signed it. */
  async #ask(mailbox: string, key: string): Promise<ServiceRecord | null> {
    try {
      const json = await askRecord(await this.#options.open(mailbox), key)
      const record = json === null ? null : readRecord(json, key, this.#options.registry)
      return record && verifyRecord(record) ? record : null
    } catch {
      return null
    }
  }
}
