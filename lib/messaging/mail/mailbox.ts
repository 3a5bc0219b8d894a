import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { type Kept, KeptLetters } from './kept-letters.js'
import {
  checkLetterDates,
  decodeLetterHead,
  isLetterExpired,
  type LetterHead,
  signatureOf
} from './letter.js'
import { letterVerifier } from './letter-verifier.js'
import { isReceiptSigned, type Receipt, signReceipt } from './receipt.js'
import { Recent } from './recent.js'
import type { Segments } from './segments.js'

export interface MailboxOptions {
  registry: Buffer
  /** The key pair that signs that letters are kept. */
  keyPair: KeyPair
  segments: Segments
  /** The largest size of all letters together, in bytes. */
  maxBytes: number
  /** Whether a key may write letters at all. */
  mayWrite: (from: string) => boolean
  /** Called with each letter that is newly kept. */
  onkept?: (letter: Kept) => void
  now?: () => number
  limits?: Partial<MailboxLimits> | undefined
}

/** How much is kept for one receiver, and of one writer. */
export interface MailboxLimits {
  receiverLetters: number
  receiverBytes: number
  senderLetters: number
  senderBytes: number
}

const MIB = 1024 * 1024
export const MAILBOX_LIMITS: MailboxLimits = {
  receiverLetters: 2000,
  receiverBytes: 32 * MIB,
  senderLetters: 500,
  senderBytes: 8 * MIB
}
/** What is counted for a letter beside its own bytes: memory, and disk space that others have left behind. */
const OVERHEAD_BYTES = 200
const OVERHEAD_PART = 1 / 16
/**
 * How long ids of letters that were taken back or signed for are remembered, so that no other mailbox hands them over
 * again.
 */
const ENDED_MS = 60 * 60_000
const MAX_ENDED = 10_000

/** Keeps letters for receivers that are away. They are sealed, so their content cannot be read here. */
export class Mailbox {
  readonly #options: MailboxOptions
  readonly #limits: MailboxLimits
  readonly #now: () => number
  readonly #letters = new KeptLetters()
  readonly #counts = {
    kept: 0,
    given: 0,
    recalled: 0,
    expired: 0,
    refused: 0,
    dropped: 0,
    moved: 0
  }
  /** Letters that are being written, until they are on disk. */
  readonly #writing = new Map<string, Promise<void>>()
  readonly #verifier = letterVerifier()
  /** The writers of letters that have ended, by the letter's id. */
  readonly #ended = new Recent<string>({ max: MAX_ENDED, ttl: ENDED_MS })

  constructor(options: MailboxOptions) {
    this.#options = options
    this.#limits = { ...MAILBOX_LIMITS, ...options.limits }
    this.#now = options.now ?? Date.now
  }

  get stats() {
    return { ...this.#counts, letters: this.#letters.size, bytes: this.#letters.bytes }
  }

  /**
   * Reads what is on disk. Letters are not held in memory.
   *
   * @returns how many bytes of it are damaged, and are passed over
   * @throws STORAGE_FAILED
   */
  load(): Promise<number> {
    return this.#options.segments.load((bytes, place) => {
      try {
        const kept = keptOf(decodeLetterHead(bytes), bytes)
        // One that was being moved when the process ended is there twice.
        if (this.has(kept.id)) return false
        this.#letters.add({ ...kept, place })
        return true
      } catch {
        return false
      }
    })
  }

  /**
   * Keeps a letter. Resolves with a signed receipt when it is on disk.
   *
   * @throws BAD_MESSAGE, BAD_DATE, BAD_SIGNATURE, EXPIRED, RECALLED, LIMIT_REACHED, STORAGE_FAILED
   */
  async keep(bytes: Buffer): Promise<Receipt> {
    const { registry, keyPair } = this.#options
    const letter = await this.#check(bytes)
    const { id, from, to } = letter
    const known = this.#letters.get(id)
    if (known && (known.from !== from || known.to !== to)) {
      throw SeaportError.BAD_MESSAGE('another letter has this id')
    }
    if (known) await this.#writing.get(id)
    else await this.#put(letter, bytes)
    return signReceipt(registry, keyPair, {
      id,
      to: from,
      status: 'queued',
      code: '',
      at: this.#now()
    })
  }

  has(id: string): boolean {
    return this.#letters.get(id) !== undefined
  }

  /** All kept letters, as of now. */
  list(): Kept[] {
    return [...this.#letters]
  }

  /** A letter as it was written; null if it is not kept. */
  async letter(id: string): Promise<Buffer | null> {
    await this.#writing.get(id)?.catch(() => {})
    const { place } = this.#letters.get(id) ?? {}
    return place ? this.#options.segments.read(place) : null
  }

  hasLettersTo(to: string): boolean {
    return this.#letters.countTo(to).letters > 0
  }

  /** The letters to a key, in the order in which they were written. */
  async *lettersTo(to: string): AsyncGenerator<Buffer, void, undefined> {
    for (const { id } of this.#letters.to(to)) {
      const bytes = this.has(id) ? await this.letter(id) : null
      if (bytes) yield bytes
    }
  }

  /**
   * Drops a letter for which its receiver has signed. Receipts of others are ignored.
   *
   * @returns the letter; null if there was none
   */
  async settle(receipt: Receipt): Promise<Kept | null> {
    const letter = this.#letters.get(receipt.id)
    const isFinal = receipt.status !== 'queued' && letter?.to === receipt.from
    if (!letter || !isFinal || !isReceiptSigned(this.#options.registry, receipt)) return null
    this.#counts.given++
    // A letter that could not be read comes again under the same id, sealed to another key.
    if (receipt.code !== 'UNREADABLE') this.#ended.set(letter.id, letter.from)
    await this.#drop([receipt.id])
    return letter
  }

  /** Drops a letter that its writer takes back. If it is not here yet, it is refused when somebody brings it. */
  async recall(id: string, from: string) {
    const letter = this.#letters.get(id)
    if (letter && letter.from !== from) return
    this.#ended.set(id, from)
    if (!letter) return
    this.#counts.recalled++
    await this.#drop([id])
  }

  /** Drops a letter that other mailboxes are responsible for, and keep. */
  async giveAway(id: string) {
    this.#counts.moved++
    await this.#drop([id])
  }

  /**
   * Drops letters that have expired, and those to keys whose rights have ended. Their writers had theirs when the letters
   * came, and the receiver decides what they are worth.
   */
  async sweep() {
    const { mayWrite, segments } = this.#options
    const isOver = (letter: Kept) => isLetterExpired(letter, this.#now()) || !mayWrite(letter.to)
    const ids = this.list()
      .filter(isOver)
      .map(({ id }) => id)
    this.#counts.expired += ids.length
    if (ids.length > 0) await this.#drop(ids)
    await segments.tidy()
  }

  async close() {
    await this.#verifier.close()
  }

  /** @throws BAD_MESSAGE, BAD_DATE, BAD_SIGNATURE, EXPIRED, RECALLED */
  async #check(bytes: Buffer): Promise<LetterHead> {
    const { registry, mayWrite } = this.#options
    const letter = decodeLetterHead(bytes)
    checkLetterDates(letter, this.#now())
    if (isLetterExpired(letter, this.#now())) throw SeaportError.EXPIRED('it is of use no more')
    const isSigned = await this.#verifier.verify(signatureOf(registry, bytes))
    if (!isSigned || !mayWrite(letter.from)) {
      throw SeaportError.BAD_SIGNATURE('a letter that nobody signed who may write')
    }
    // This is checked last, since it may have ended while its signature was verified.
    if (this.#ended.get(letter.id) === letter.from) {
      throw SeaportError.RECALLED('it was taken back, or its receiver has it')
    }
    return letter
  }

  /** @throws LIMIT_REACHED, STORAGE_FAILED */
  async #put(letter: LetterHead, bytes: Buffer) {
    const { id } = letter
    const kept = keptOf(letter, bytes)
    const dropped = this.#makeRoom(kept)
    // It is counted before it is written, so that letters that come meanwhile find the room taken.
    this.#letters.add(kept)
    const writing = this.#write(kept, bytes, dropped)
    this.#writing.set(id, writing)
    try {
      await writing
    } catch (error) {
      this.#letters.delete(id)
      throw error
    } finally {
      this.#writing.delete(id)
    }
    this.#counts.kept++
    this.#options.onkept?.(kept)
  }

  async #write(kept: Kept, bytes: Buffer, dropped: readonly Kept[]) {
    const { segments } = this.#options
    kept.place = await segments.append(bytes)
    if (dropped.length > 0) await segments.remove(placesOf(dropped))
    // It may have been dropped while it was written.
    if (this.#letters.get(kept.id) !== kept) await segments.remove([kept.place])
  }

  /**
   * Makes room for a letter if there is too little: the writer that has most loses its last letters. Returns these.
   *
   * @throws LIMIT_REACHED
   */
  #makeRoom(letter: Kept): Kept[] {
    const { receiverLetters, receiverBytes, senderLetters, senderBytes } = this.#limits
    const { from, to, bytes } = letter
    const dropped: Kept[] = []
    const isOver = (sum: { letters: number; bytes: number }, letters: number, most: number) =>
      sum.letters + 1 > letters || sum.bytes + bytes > most
    const refuse = () => {
      this.#counts.refused++
      for (const last of dropped) this.#letters.add(last)
      throw SeaportError.LIMIT_REACHED(
        'the mailbox keeps as much as it may, or as it does for one key'
      )
    }
    if (isOver(this.#letters.of(from), senderLetters, senderBytes)) refuse()
    if (bytes > this.#options.maxBytes) refuse()
    for (const ofReceiver of [true, false]) {
      const isFull = () =>
        ofReceiver
          ? isOver(this.#letters.countTo(to), receiverLetters, receiverBytes)
          : this.#letters.bytes + bytes > this.#options.maxBytes
      while (isFull()) {
        const last = this.#letters.lastOfLargest(letter, { ofReceiver })
        if (!last) return refuse()
        this.#letters.delete(last.id)
        dropped.push(last)
      }
    }
    this.#counts.dropped += dropped.length
    return dropped
  }

  async #drop(ids: readonly string[]) {
    const dropped = ids.flatMap((id) => this.#letters.get(id) ?? [])
    for (const { id } of dropped) this.#letters.delete(id)
    await this.#options.segments.remove(placesOf(dropped))
  }
}

function keptOf({ id, from, to, sentAt, expiresAt }: LetterHead, { byteLength }: Buffer): Kept {
  const bytes = Math.ceil(byteLength * (1 + OVERHEAD_PART)) + OVERHEAD_BYTES
  return { id, from, to, sentAt, expiresAt, bytes }
}

function placesOf(letters: readonly Kept[]) {
  return letters.flatMap(({ place }) => place ?? [])
}
