import type { Change, MailStore } from './mail-store.js'

/** How long a mailbox may be away before another one is named in its place, in ms. */
const AWAY_MS = 3 * 24 * 60 * 60 * 1000
const TIME_BYTES = 6

/**
 * The mailboxes that our record names. Letters to us are kept there first, so that nobody gets them by making keys until
 * one comes first for us: once named, a mailbox stays until it has been away for days.
 */
export class NamedMailboxes {
  readonly #store: MailStore
  /** When each one was last there, in ms since 1970, by its key. */
  readonly #seenAt = new Map<string, number>()

  constructor(store: MailStore) {
    this.#store = store
  }

  get keys(): string[] {
    return [...this.#seenAt.keys()]
  }

  async load() {
    for await (const { key, value } of this.#store.entries('named')) {
      this.#seenAt.set(key, value.readUIntLE(0, TIME_BYTES))
    }
  }

  /**
   * Names others for those that have been away for days, and as many as there may be.
   *
   * @param there the mailboxes that are there, the best ones for us first
   * @returns whether others are named now
   */
  async renew(there: readonly string[], max: number, now: number): Promise<boolean> {
    const before = this.keys.join()
    const changes: Change[] = []
    for (const [key, seenAt] of this.#seenAt) {
      if (there.includes(key) || now - seenAt < AWAY_MS) continue
      this.#seenAt.delete(key)
      changes.push({ table: 'named', key, value: null })
    }
    for (const key of there) {
      if (!this.#seenAt.has(key) && this.#seenAt.size >= max) continue
      this.#seenAt.set(key, now)
      const value = Buffer.alloc(TIME_BYTES)
      value.writeUIntLE(now, 0, TIME_BYTES)
      changes.push({ table: 'named', key, value })
    }
    if (changes.length > 0) await this.#store.apply(changes)
    return this.keys.join() !== before
  }
}
