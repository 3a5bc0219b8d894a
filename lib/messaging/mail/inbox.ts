import { SeaportError, type SeaportErrorCode } from '../../core/errors.js'
import { KeyedQueue } from '../../core/keyed-queue.js'
import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import type { BoxKeyPair } from '../../core/sealed-box.js'
import { messageOf } from '../../core/thrown.js'
import { type Body, decodeBody } from '../body.js'
import { OWN_PREFIX } from '../names.js'
import {
  type Content,
  checkLetterDates,
  decodeLetter,
  isLetterExpired,
  isLetterSigned,
  isReceiptLetter,
  isToRole,
  type Letter,
  openLetter
} from './letter.js'
import type { LetterBox, Slip } from './letter-box.js'
import type { TellReceipt } from './mail-stream.js'
import type { Prekeys } from './prekeys.js'
import { decodeReceipt, encodeReceipt, type Receipt, signReceipt } from './receipt.js'
import { Recent } from './recent.js'
import type { SeenIds } from './seen-ids.js'

/** A letter as it is given to its receiver. */
export interface MailMessage {
  /** Hex. */
  id: string
  /** Who wrote it, hex. */
  from: string
  /** The type that its writer gave it; '' if none. */
  type: string
  body: unknown
  sentAt: Date
  /** Whether it was written to a role, of which this instance got it. */
  toRole: boolean
  /** Whether its writer was put out of the registry since, and may be somebody who stole the key. */
  revoked: boolean
}

/** A letter of one of hyperseaport's own types, which no user reads. */
export interface OwnLetter {
  id: string
  from: string
  body: Body
  expiresAt: number
}

export interface InboxSlip extends Slip {
  from: string
  type: string
  sentAt: number
  expiresAt: number
  toRole: boolean
  /** How often its handler threw. */
  tries: number
  /** Whether its writer has a receipt. */
  isAnswered: boolean
}

export interface InboxOptions {
  registry: Buffer
  keyPair: KeyPair
  box: LetterBox<InboxSlip>
  seen: SeenIds
  prekeys: Pick<Prekeys, 'all'>
  /**
   * The code with which somebody's letters are refused; null if they may write.
   *
   * @param keptSince when the letter was written, if a mailbox has kept it since
   */
  denialOf: (from: string, keptSince?: number) => SeaportErrorCode | null
  /** Whether a key was put out of the registry. */
  isRevoked?: (from: string) => boolean
  /** The function that handles a letter; null as long as there is none. */
  handler: () => ((message: MailMessage) => Promise<unknown>) | null
  /** Called with a receipt that came as a letter, for a letter of ours. Its signature is not checked yet. */
  onreceipt?: (receipt: Receipt) => void
  /** Sends a receipt to its writer as a letter, because no other way leads back. */
  tellByLetter?: (receipt: Receipt, expiresAt: number) => void
  /** The handler of one of hyperseaport's own types of letters; null if there is none. */
  ownHandler?: (type: string) => ((letter: OwnLetter) => void) | null
  onnotice: (notice: SeaportError) => void
  now: () => number
  /**
   * Waits before a letter whose handler threw is handed over again, in ms. It is handed over once more than there are
   * waits.
   */
  retries?: readonly number[] | undefined
}

const MAX_WAITING = 8
const MAX_UNREADABLE = 1000
const UNREADABLE_MS = 10 * 60_000
const RETRIES_MS = [1000, 5000, 20_000, 60_000]

/**
 * Letters to one key. Each is on disk before anybody is told that it was taken. It is given to the handler until that
 * succeeds, five times by default, and the letters of one writer are handled one after the other. A letter that comes
 * again is answered as before.
 */
export class Inbox {
  readonly stats = { taken: 0, repeated: 0, refused: 0, handled: 0, failed: 0, dropped: 0 }

  readonly #options: InboxOptions
  readonly #key: string
  readonly #retries: readonly number[]
  /** Letters that are being checked and written, and whether who has brought one reaches its writer. */
  readonly #taking = new Map<string, { taken: Promise<Receipt | null>; isToldWriter: boolean }>()
  /** Who waits for the receipt of each letter. */
  readonly #waiting = new Map<string, Set<TellReceipt>>()
  readonly #queue = new KeyedQueue()
  /** Letters that the handler has, or that wait for it. */
  readonly #handing = new Set<string>()
  /** Letters from mailboxes whose writers were told that they cannot be read. */
  readonly #unreadable = new Recent<true>({ max: MAX_UNREADABLE, ttl: UNREADABLE_MS })
  readonly #timers = new Set<NodeJS.Timeout>()
  #isClosed = false

  constructor(options: InboxOptions) {
    this.#options = options
    this.#key = toHex(options.keyPair.publicKey)
    this.#retries = options.retries ?? RETRIES_MS
  }

  /**
   * Takes a letter that somebody has brought.
   *
   * @param isToldWriter whether the returned receipt reaches the letter's writer
   * @returns its receipt; null if it is on disk and not handled yet
   * @throws BAD_MESSAGE, BAD_SIGNATURE, BAD_DATE
   */
  receive(bytes: Buffer, onreceipt: TellReceipt, isToldWriter = true): Promise<Receipt | null> {
    let letter: Letter
    try {
      letter = this.#check(bytes)
    } catch (error) {
      this.stats.dropped++
      return Promise.reject(error)
    }
    const { id } = letter
    const known = this.#taking.get(id)
    const taken = known?.taken ?? this.#take(letter, isToldWriter)
    this.#taking.set(id, { taken, isToldWriter: isToldWriter || known?.isToldWriter === true })
    return taken
      .then((receipt) => {
        // The handler may have been done with it meanwhile.
        if (receipt || !this.#options.box.has(id)) return receipt ?? this.#receiptOf(id)
        this.#wait(id, onreceipt)
        return null
      })
      .finally(() => this.#taking.delete(id))
  }

  /** Hands over the letters that wait. Call it when there is a handler. */
  wake() {
    for (const [id] of this.#options.box.list()) this.#handOver(id)
  }

  /**
   * Yields the letters that wait, in the order in which they came. A letter counts as read when the next one is asked
   * for.
   */
  async *read(): AsyncGenerator<MailMessage, void, undefined> {
    for (const [id, slip] of this.#options.box.list()) {
      const message = await this.#message(id, slip)
      if (!message) continue
      yield message
      await this.#answer(id, slip, 'delivered', '')
    }
  }

  /** Waits for handlers that run. */
  async close() {
    this.#isClosed = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#waiting.clear()
    await Promise.allSettled([...this.#taking.values()].map(({ taken }) => taken))
    await this.#queue.idle()
  }

  /**
   * Remembers who waits for a receipt. Only the latest few are kept, because a writer that repeats a letter has given
   * up its earlier streams.
   */
  #wait(id: string, onreceipt: TellReceipt) {
    const waiting = this.#waiting.get(id) ?? new Set()
    this.#waiting.set(id, waiting.add(onreceipt))
    const [first] = waiting
    if (first && waiting.size > MAX_WAITING) waiting.delete(first)
  }

  #check(bytes: Buffer): Letter {
    const { registry, now } = this.#options
    const letter = decodeLetter(bytes)
    if (letter.to !== this.#key) throw SeaportError.BAD_MESSAGE('a letter to somebody else')
    checkLetterDates(letter, now())
    if (!isLetterSigned(registry, bytes)) {
      throw SeaportError.BAD_SIGNATURE('a letter that its writer did not sign')
    }
    return letter
  }

  async #take(letter: Letter, isToldWriter: boolean): Promise<Receipt | null> {
    const { box, seen, prekeys, denialOf, now } = this.#options
    const { id, from } = letter
    const known = await seen.get(id)
    if (known) {
      this.stats.repeated++
      return known.byteLength > 0 ? decodeReceipt(known) : null
    }
    if (isLetterExpired(letter, now())) return this.#refuse(letter, 'EXPIRED')
    const denial = isToldWriter ? denialOf(from) : denialOf(from, letter.sentAt)
    if (denial) return this.#refuse(letter, denial)
    const content = this.#open(letter, prekeys.all)
    if (!content) {
      const receipt = this.#refuse(letter, 'UNREADABLE')
      // Each mailbox may have a copy, of which the writer is told once.
      if (!isToldWriter && !this.#unreadable.get(id)) {
        this.#unreadable.set(id, true)
        this.#tellByLetter(receipt, letter.expiresAt)
      }
      return receipt
    }
    const { type, body } = content
    if (isReceiptLetter(letter)) {
      this.#options.onreceipt?.(decodeReceipt(body.bytes))
      return this.#sign(id, from, 'delivered', '')
    }
    const isOwn = type.startsWith(OWN_PREFIX)
    // Commands are not kept, so none of a key that was put out has been under way.
    if (isOwn && this.#options.isRevoked?.(from)) return this.#refuse(letter, 'NOT_GRANTED')
    if (isOwn) return this.#takeOwn(letter, content)
    if (!box.hasRoom(body.bytes.byteLength) || seen.isFull)
      return this.#refuse(letter, 'INBOX_FULL')
    const hasHandler = this.#options.handler() !== null
    const receipt = hasHandler ? null : this.#sign(id, from, 'delivered', '')
    const slip: InboxSlip = {
      order: box.nextOrder(now()),
      from,
      type,
      sentAt: letter.sentAt,
      expiresAt: letter.expiresAt,
      toRole: isToRole(letter),
      tries: 0,
      isAnswered: receipt !== null
    }
    const proof = receipt ? encodeReceipt(receipt) : undefined
    await box.put(id, slip, body, seen.adding(id, letter.expiresAt, proof))
    this.stats.taken++
    if (hasHandler) this.#handOver(id)
    if (receipt && !isToldWriter) this.#tellByLetter(receipt, letter.expiresAt)
    return receipt
  }

  /** Handles a letter of hyperseaport's own, at most once: its id is on disk before the handler is called. */
  async #takeOwn(letter: Letter, { type, body }: Content): Promise<Receipt> {
    const { seen, ownHandler } = this.#options
    const { id, from, expiresAt } = letter
    const handle = ownHandler?.(type)
    if (!handle) return this.#refuse(letter, 'UNKNOWN_COMMAND')
    if (seen.isFull) return this.#refuse(letter, 'INBOX_FULL')
    const receipt = this.#sign(id, from, 'delivered', '')
    await seen.remember(id, expiresAt, encodeReceipt(receipt))
    this.stats.taken++
    handle({ id, from, body, expiresAt })
    return receipt
  }

  /** @throws BAD_MESSAGE if the content cannot be decoded */
  #open(letter: Letter, keys: BoxKeyPair[]): Content | null {
    try {
      const content = openLetter(letter, keys)
      if (content) decodeBody(content.body)
      return content
    } catch (error) {
      this.stats.dropped++
      throw error
    }
  }

  /** Signs a refusal. It is not remembered, so that refused letters cost no disk. */
  #refuse({ id, from }: Letter, code: SeaportErrorCode): Receipt {
    this.stats.refused++
    return this.#sign(id, from, 'refused', code)
  }

  #sign(id: string, to: string, status: Receipt['status'], code: string): Receipt {
    const { registry, keyPair, now } = this.#options
    return signReceipt(registry, keyPair, { id, to, status, code, at: now() })
  }

  async #receiptOf(id: string): Promise<Receipt | null> {
    const known = await this.#options.seen.get(id)
    return known && known.byteLength > 0 ? decodeReceipt(known) : null
  }

  /** Never rejects. */
  #handOver(id: string) {
    const slip = this.#options.box.slip(id)
    if (!slip || this.#handing.has(id) || slip.tries > this.#retries.length) return
    this.#handing.add(id)
    void this.#queue
      .run(slip.from, () => this.#hand(id))
      .catch((error) => this.#options.onnotice(error as SeaportError))
      .finally(() => this.#handing.delete(id))
  }

  async #hand(id: string) {
    const slip = this.#options.box.slip(id)
    const handler = this.#options.handler()
    if (!slip || !handler || this.#isClosed) return
    const message = await this.#message(id, slip)
    if (!message) return
    try {
      await handler(message)
    } catch (error) {
      return this.#onfailed(id, slip, error)
    }
    this.stats.handled++
    await this.#answer(id, slip, 'delivered', '')
  }

  async #onfailed(id: string, { ...slip }: InboxSlip, error: unknown) {
    const { box, onnotice } = this.#options
    const wait = this.#retries[slip.tries++]
    this.stats.failed++
    const next = wait === undefined ? 'it stays in the inbox' : `again in ${wait / 1000} s`
    onnotice(
      SeaportError.HANDLER_FAILED(
        `the handler of a letter from ${slip.from} threw (${messageOf(error)}); ${next}`
      )
    )
    await box.change(id, slip)
    if (wait === undefined) return this.#answer(id, slip, 'refused', 'HANDLER_FAILED')
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#handOver(id)
    }, wait)
    this.#timers.add(timer)
  }

  /** Signs the receipt of a letter that has none yet, and removes the letter from the box unless it was refused. */
  async #answer(id: string, slip: InboxSlip, status: Receipt['status'], code: string) {
    const { box, seen } = this.#options
    const receipt = slip.isAnswered ? null : this.#sign(id, slip.from, status, code)
    const changes = receipt ? seen.answering(id, encodeReceipt(receipt)) : []
    if (status === 'delivered') await box.remove(id, changes)
    else await box.change(id, { ...slip, isAnswered: true }, changes)
    const told = [...(this.#waiting.get(id) ?? [])].filter((tell) => receipt && tell(receipt))
    this.#waiting.delete(id)
    // Who is just bringing the letter again gets the receipt for an answer.
    const isTold = told.length > 0 || this.#taking.get(id)?.isToldWriter === true
    if (receipt && !isTold) this.#tellByLetter(receipt, slip.expiresAt)
  }

  /** Nobody takes letters for a key that was put out: a receipt for it would wait, and be tried, until it expired. */
  #tellByLetter(receipt: Receipt, expiresAt: number) {
    if (!this.#options.isRevoked?.(receipt.to)) this.#options.tellByLetter?.(receipt, expiresAt)
  }

  async #message(id: string, slip: InboxSlip): Promise<MailMessage | null> {
    const body = await this.#options.box.body(id)
    if (!body) return null
    const { from, type, sentAt, toRole } = slip
    const revoked = this.#options.isRevoked?.(from) ?? false
    return { id, from, type, body: decodeBody(body), sentAt: new Date(sentAt), toRole, revoked }
  }
}
