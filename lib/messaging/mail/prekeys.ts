import { type KeyPair, toHex } from '../../core/keys.js'
import { type BoxKeyPair, boxKeyPair, boxKeyPairOf } from '../../core/sealed-box.js'
import { CLOCK_MS, MAX_TTL_MS } from './letter.js'
import type { Change, MailStore } from './mail-store.js'

export const PREKEY_MS = 24 * 60 * 60 * 1000
/** A letter may have been sealed a day after the key was made, and may arrive as late as it can before it expires. */
const KEPT_MS = PREKEY_MS + MAX_TTL_MS + CLOCK_MS
const TIME_BYTES = 6

/**
 * The prekeys of one key, which letters to it are sealed to. There is a new one every day. Old ones are kept as long as
 * a letter may be under way and are then forgotten, so that a key that is stolen later does not open letters that were
 * read before (forward secrecy).
 */
export class Prekeys {
  readonly #store: MailStore
  readonly #own: BoxKeyPair
  /** All prekeys, the newest first. */
  #pairs: { pair: BoxKeyPair; madeAt: number }[] = []

  constructor(store: MailStore, keyPair: KeyPair) {
    this.#store = store
    this.#own = boxKeyPairOf(keyPair)
  }

  /**
   * All key pairs that may open a letter: the prekeys, the newest first, and last the one derived from the lasting key.
   */
  get all(): BoxKeyPair[] {
    return [...this.#pairs.map(({ pair }) => pair), this.#own]
  }

  /** The public prekey for the record, hex. */
  get current(): string {
    return toHex((this.#pairs[0]?.pair ?? this.#own).publicKey)
  }

  async load(now: number) {
    for await (const { key, value } of this.#store.entries('prekeys')) {
      const pair = {
        publicKey: Buffer.from(key, 'hex'),
        secretKey: Buffer.from(value.subarray(TIME_BYTES))
      }
      this.#pairs.push({ pair, madeAt: value.readUIntLE(0, TIME_BYTES) })
    }
    this.#pairs.sort((a, b) => b.madeAt - a.madeAt)
    await this.renew(now)
  }

  /**
   * Makes a new pair if the newest one is a day old, and forgets the oldest. Resolves with whether there is a new one.
   */
  async renew(now: number): Promise<boolean> {
    const changes: Change[] = []
    const isOld = ({ madeAt }: { madeAt: number }) => now - madeAt > KEPT_MS
    for (const { pair } of this.#pairs.filter(isOld)) {
      changes.push({ table: 'prekeys', key: toHex(pair.publicKey), value: null })
    }
    this.#pairs = this.#pairs.filter((kept) => !isOld(kept))
    const isDue = now - (this.#pairs[0]?.madeAt ?? Number.NEGATIVE_INFINITY) >= PREKEY_MS
    const next = isDue ? boxKeyPair() : null
    if (next) {
      const time = Buffer.alloc(TIME_BYTES)
      time.writeUIntLE(now, 0, TIME_BYTES)
      const value = Buffer.concat([time, next.secretKey])
      changes.push({ table: 'prekeys', key: toHex(next.publicKey), value })
    }
    if (changes.length > 0) await this.#store.apply(changes)
    // It is used only once it is on disk: letters that were sealed to a lost key could not be opened.
    if (next) this.#pairs.unshift({ pair: next, madeAt: now })
    return next !== null
  }
}
