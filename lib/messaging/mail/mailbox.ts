import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { checkLetterDates, decodeLetter, isLetterExpired, isLetterSigned } from './letter.js'
import type { MailStore } from './mail-store.js'
import { isReceiptSigned, type Receipt, signReceipt } from './receipt.js'

export interface MailboxOptions {
  registry: Buffer
  /** Signs that letters are kept. */
  keyPair: KeyPair
  store: MailStore
  /** All that is kept, in bytes. */
  maxBytes: number
  /** Whether a key may write letters at all. */
  mayWrite: (from: string) => boolean
  now?: () => number
  limits?: Partial<MailboxLimits> | undefined
}

/** What is kept for one receiver, and of one writer. */
export interface MailboxLimits {
  receiverLetters: number
  receiverBytes: number
  senderLetters: number
  senderBytes: number
}

interface Kept {
  key: string
  from: string
  to: string
  sentAt: number
  expiresAt: number
  bytes: number
}

const MIB = 1024 * 1024
export const MAILBOX_LIMITS: MailboxLimits = {
  receiverLetters: 2000,
  receiverBytes: 32 * MIB,
  senderLetters: 500,
  senderBytes: 8 * MIB
}
const TIME_BYTES = 6

/** Letters that are kept for others who are away. They are sealed, so nothing in them can be read here. */
export class Mailbox {
  readonly stats = { kept: 0, given: 0, recalled: 0, expired: 0, refused: 0, letters: 0, bytes: 0 }

  readonly #options: MailboxOptions
  readonly #limits: MailboxLimits
  readonly #now: () => number
  readonly #letters = new Map<string, Kept>()

  constructor(options: MailboxOptions) {
    this.#options = options
    this.#limits = { ...MAILBOX_LIMITS, ...options.limits }
    this.#now = options.now ?? Date.now
  }

  /** Reads what is on disk. */
  async load() {
    for await (const { key, value } of this.#options.store.entries('kept')) {
      const { id, from, to, sentAt, expiresAt } = decodeLetter(value)
      this.#add(id, { key, from, to, sentAt, expiresAt, bytes: value.byteLength })
    }
  }

  /**
   * Keeps a letter, and signs that. Resolves when it is on disk.
   *
   * @throws BAD_MESSAGE, BAD_DATE, BAD_SIGNATURE, EXPIRED, LIMIT_REACHED, STORAGE_FAILED
   */
  async keep(bytes: Buffer): Promise<Receipt> {
    const { registry, mayWrite, store } = this.#options
    const letter = decodeLetter(bytes)
    const { id, from, to, sentAt, expiresAt } = letter
    checkLetterDates(letter, this.#now())
    if (isLetterExpired(letter, this.#now())) throw SeaportError.EXPIRED('it is of use no more')
    if (!isLetterSigned(registry, letter) || !mayWrite(from)) {
      throw SeaportError.BAD_SIGNATURE('a letter that nobody signed who may write')
    }
    const known = this.#letters.get(id)
    if (known && (known.from !== from || known.to !== to)) {
      throw SeaportError.BAD_MESSAGE('another letter has this id')
    }
    if (!known) {
      this.#checkRoom(from, to, bytes.byteLength)
      const key = to + timeKey(sentAt) + id
      this.#add(id, { key, from, to, sentAt, expiresAt, bytes: bytes.byteLength })
      try {
        await store.apply([{ table: 'kept', key, value: bytes }])
      } catch (error) {
        this.#forget(id)
        throw error
      }
      this.stats.kept++
    }
    return signReceipt(registry, this.#options.keyPair, {
      id,
      to: from,
      status: 'queued',
      code: '',
      at: this.#now()
    })
  }

  /** The letters to a key, in the order in which they were written. */
  async *lettersTo(to: string): AsyncGenerator<Buffer, void, undefined> {
    const kept = [...this.#letters.entries()].filter(([, letter]) => letter.to === to)
    for (const [id, { key }] of kept.sort(([, a], [, b]) => a.sentAt - b.sentAt)) {
      const bytes = this.#letters.has(id) ? await this.#options.store.get('kept', key) : null
      if (bytes) yield bytes
    }
  }

  /** Drops a letter whose receiver has signed what became of it. What others signed is passed by. */
  async settle(receipt: Receipt) {
    const letter = this.#letters.get(receipt.id)
    const isFinal = receipt.status !== 'queued' && letter?.to === receipt.from
    if (!isFinal || !isReceiptSigned(this.#options.registry, receipt)) return
    this.stats.given++
    await this.#drop([receipt.id])
  }

  /** Drops a letter that its writer takes back. */
  async recall(id: string, from: string) {
    if (this.#letters.get(id)?.from !== from) return
    this.stats.recalled++
    await this.#drop([id])
  }

  /** Drops what is of use no more, and what keys have written or are to have that were put out. */
  async sweep() {
    const { mayWrite, store } = this.#options
    const isOver = (letter: Kept) =>
      isLetterExpired(letter, this.#now()) || !mayWrite(letter.from) || !mayWrite(letter.to)
    const ids = [...this.#letters].filter(([, letter]) => isOver(letter)).map(([id]) => id)
    if (ids.length === 0) return
    this.stats.expired += ids.length
    await this.#drop(ids)
    await store.compact('kept')
  }

  #checkRoom(from: string, to: string, bytes: number) {
    const { receiverLetters, receiverBytes, senderLetters, senderBytes } = this.#limits
    const sums = { toLetters: 1, toBytes: bytes, fromLetters: 1, fromBytes: bytes }
    for (const letter of this.#letters.values()) {
      if (letter.to === to) {
        sums.toLetters++
        sums.toBytes += letter.bytes
      }
      if (letter.from === from) {
        sums.fromLetters++
        sums.fromBytes += letter.bytes
      }
    }
    const isFull =
      this.stats.bytes + bytes > this.#options.maxBytes ||
      sums.toLetters > receiverLetters ||
      sums.toBytes > receiverBytes ||
      sums.fromLetters > senderLetters ||
      sums.fromBytes > senderBytes
    if (!isFull) return
    this.stats.refused++
    throw SeaportError.LIMIT_REACHED(
      'the mailbox keeps as much as it may, or as it does for one key'
    )
  }

  async #drop(ids: readonly string[]) {
    const keys = ids.map((id) => this.#letters.get(id)?.key).filter((key) => key !== undefined)
    for (const id of ids) this.#forget(id)
    await this.#options.store.apply(keys.map((key) => ({ table: 'kept', key, value: null })))
  }

  #add(id: string, letter: Kept) {
    this.#letters.set(id, letter)
    this.stats.letters++
    this.stats.bytes += letter.bytes
  }

  #forget(id: string) {
    const letter = this.#letters.get(id)
    if (!letter) return
    this.#letters.delete(id)
    this.stats.letters--
    this.stats.bytes -= letter.bytes
  }
}

function timeKey(time: number): string {
  const bytes = Buffer.alloc(TIME_BYTES)
  bytes.writeUIntBE(time, 0, TIME_BYTES)
  return bytes.toString('hex')
}
