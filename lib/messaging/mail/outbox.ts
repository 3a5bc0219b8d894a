import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import type { Body } from '../body.js'
import { checkOwnName, OWN_PREFIX } from '../names.js'
import { Keeping } from './keeping.js'
import { isTtl, letterBody, MAX_TTL_MS } from './letter.js'
import type { OutboxOptions } from './outbox-options.js'
import { isCall, isOwn, type OutboxSlip, type Receiver, sealSlip, targetOf } from './outbox-slip.js'
import { encodeReceipt, isReceiptSigned, type Receipt } from './receipt.js'
import { Routes } from './routes.js'
import {
  type FinalStatus,
  type LetterReceipt,
  type SendMailOptions,
  SentLetter,
  shown
} from './sent-letter.js'

interface OutboxEvents {
  receipt: [receipt: LetterReceipt]
  /** A letter could not be delivered now. */
  failed: [reason: SeaportError]
}

const TTL_MS = 7 * 24 * 60 * 60 * 1000
/** After this many failed tries in a row a receiver that is there counts as unreachable. */
const MISSES = 2
/** How long a letter is not said to wait alone, in ms. Who has just come may not be known yet. */
const GRACE_MS = 500
const EXPIRY_CHECK_MS = 1000

/**
 * Letters that were written and have no final receipt. Those to one receiver are sent one after the other, and each
 * again and again until the receiver has signed for it, or it has expired.
 */
export class Outbox extends EventEmitter<OutboxEvents> {
  readonly stats = {
    sent: 0,
    delivered: 0,
    refused: 0,
    expired: 0,
    recalled: 0,
    attempts: 0,
    failed: 0
  }

  readonly #options: OutboxOptions
  readonly #routes: Routes
  readonly #letters = new Map<string, SentLetter>()
  /** What was last said of letters without being signed by anybody, by their ids. Letters that are not in it are queued. */
  readonly #standing = new Map<string, { status: 'queued' | 'unreachable'; code: string }>()
  readonly #keeping: Keeping
  #expiry: NodeJS.Timeout | null = null
  #startedAt = 0
  readonly #isAway = (key: string) => this.#options.isAway?.(key) ?? true
  #isClosed = false

  constructor(options: OutboxOptions) {
    super()
    this.#options = options
    const { backoffs, random } = options
    this.#routes = new Routes({
      backoffs,
      random,
      bring: (id) => this.#bring(id),
      isThere: (target) => this.#isThere(target),
      onfailed: (ids, reason, misses) => this.#onfailed(ids, reason, misses)
    })
    this.#keeping = new Keeping({ ask: (id) => this.#keep(id), away: () => this.#away() })
  }

  /** Goes on with what is on disk. */
  start() {
    this.#startedAt = this.#options.now()
    for (const [id, { receiver }] of this.#options.box.list()) {
      this.#routes.add(targetOf(receiver), id)
    }
    this.#expiry = setInterval(() => this.#expire(), EXPIRY_CHECK_MS)
  }

  /**
   * Takes a letter. Resolves when it is on disk.
   *
   * @throws OUTBOX_FULL, TOO_LARGE, USAGE, STORAGE_FAILED
   */
  async send(
    receiver: Receiver,
    data: unknown,
    { ttl = this.#options.ttl ?? TTL_MS, type = '' }: SendMailOptions = {}
  ): Promise<SentLetter> {
    if (!isTtl(ttl)) {
      throw SeaportError.USAGE(`a letter is of use for up to 30 days, in ms, not for ${ttl}`)
    }
    if (type !== '') checkOwnName(type, 'a letter')
    return this.sendOwn(receiver, type, letterBody(data), ttl)
  }

  /** Takes a letter with an encoded body, and a type that may be one of hyperseaport's own. */
  async sendOwn(receiver: Receiver, type: string, body: Body, ttl: number): Promise<SentLetter> {
    const letter = new SentLetter(toHex(randomBytes(32)))
    await this.#put(letter.id, { receiver, type }, body, ttl)
    this.#letters.set(letter.id, letter)
    if (!type.startsWith(OWN_PREFIX)) this.stats.sent++
    if (this.#isClosed) letter.giveUp()
    this.#bringSoon(letter.id, receiver)
    return letter
  }

  /** Sends a receipt as a letter, because the way on which its letter came is gone. Never rejects. */
  async sendReceipt(receipt: Receipt, expiresAt: number) {
    const receiver = { key: receipt.to }
    const ttl = Math.min(expiresAt - this.#options.now(), MAX_TTL_MS)
    if (ttl <= 0 || this.#isClosed) return
    const id = toHex(randomBytes(32))
    const body = { kind: 'bytes', bytes: encodeReceipt(receipt) } as const
    try {
      await this.#put(id, { receiver, type: '', isReceipt: true }, body, ttl)
      this.#bringSoon(id, receiver)
    } catch (error) {
      this.emit('failed', error as SeaportError)
    }
  }

  /**
   * Takes back a letter that has no final receipt. It may have been read already. Resolves with whether there was such
   * a letter.
   */
  async recall(id: string): Promise<boolean> {
    if (!this.#options.box.has(id)) return false
    await this.#end({ id, status: 'recalled', code: '', by: null, at: this.#today })
    return true
  }

  /** Takes a receipt that came by way of others. Never rejects. */
  async receive(receipt: Receipt) {
    const slip = this.#options.box.slip(receipt.id)
    const to = slip && ('key' in slip.receiver ? slip.receiver.key : slip.instance)
    if (to) await this.#take(receipt.id, to, receipt)
  }

  /** The mailboxes that keep a letter; null for one to a role, which mailboxes do not keep. */
  keptBy(id: string): readonly string[] | null {
    const slip = this.#options.box.slip(id)
    return slip && 'key' in slip.receiver ? (slip.kept ?? []) : null
  }

  /** Takes the receipt of a mailbox that keeps a letter. */
  async takeKept(receipt: Receipt, mailbox: string) {
    const { registry, box } = this.#options
    const { id, status, from } = receipt
    const slip = box.slip(id)
    if (!slip || status !== 'queued' || from !== mailbox || !isReceiptSigned(registry, receipt))
      return
    const others = (slip.kept ?? []).filter((key) => key !== mailbox)
    await box.change(id, { ...slip, kept: [...others, mailbox] })
    this.#standing.delete(id)
    if (isOwn(slip)) return
    this.#letters.get(id)?.take(shown(receipt))
    this.emit('receipt', shown(receipt))
  }

  /** All letters that are under way, in order. */
  list() {
    const letters = this.#options.box.list().filter(([, slip]) => !isOwn(slip))
    return letters.map(([id, { receiver, sentAt, expiresAt }]) => ({
      id,
      to: targetOf(receiver),
      sentAt: new Date(sentAt),
      expiresAt: new Date(expiresAt)
    }))
  }

  /** Called when a key may be reachable again, or other instances serve a role. */
  wake(key: string) {
    for (const target of this.#routes.targets()) {
      if (target === key || target.includes('@')) this.#routes.retry(target)
    }
  }

  /** Looks again at letters whose receivers are away: it has become known who is there, or a mailbox has come. */
  review() {
    const roles = this.#routes.targets().filter((target) => target.includes('@'))
    for (const role of roles) this.#routes.retry(role)
    void this.#keeping.review()
  }

  /** Stops sending. What is on disk stays there. */
  close() {
    this.#isClosed = true
    if (this.#expiry) clearInterval(this.#expiry)
    this.#routes.close()
    for (const letter of this.#letters.values()) letter.giveUp()
    this.#letters.clear()
  }

  get #today(): Date {
    return new Date(this.#options.now())
  }

  /** @throws OUTBOX_FULL, STORAGE_FAILED */
  async #put(
    id: string,
    slip: Pick<OutboxSlip, 'receiver' | 'type' | 'isReceipt'>,
    body: Body,
    ttl: number
  ) {
    const { box, now } = this.#options
    // Receipts take no more than half of it: others make us write them.
    if (!box.hasRoom(body.bytes.byteLength, slip.isReceipt ? 0.5 : 1)) {
      throw SeaportError.OUTBOX_FULL(
        'too many letters wait to be sent; take some back, or wait until some are delivered'
      )
    }
    // Each letter gets a time of its own, by which mailboxes can order them.
    const sentAt = box.nextOrder(now())
    const expiresAt = Math.round(sentAt + ttl)
    await box.put(id, { ...slip, order: sentAt, sentAt, expiresAt }, body)
  }

  #bringSoon(id: string, receiver: Receiver) {
    this.#routes.add(targetOf(receiver), id)
    if ('key' in receiver && this.#isAway(receiver.key)) void this.#keeping.keep(id)
  }

  /**
   * Asks mailboxes to keep letters that could not be delivered. If none keeps a letter although its receiver is there,
   * the letter is unreachable.
   */
  #onfailed(ids: readonly string[], reason: SeaportError, misses: number) {
    this.stats.failed++
    this.emit('failed', reason)
    for (const id of ids) {
      void this.#keeping.keep(id).then(() => {
        if (misses >= MISSES && this.#isKeptByNobody(id)) this.#tell(id, 'unreachable', reason.code)
      })
      if (reason.code === 'NO_INSTANCE') void this.#tellAlone(id, reason.code)
    }
  }

  #isThere(target: string): boolean {
    const { instances } = this.#options
    return target.includes('@') ? instances(target).length > 0 : !this.#isAway(target)
  }

  /** The letters to keys that are away. */
  #away(): string[] {
    const letters = this.#isClosed ? [] : this.#options.box.list()
    return letters
      .filter(([, { receiver }]) => 'key' in receiver && this.#isAway(receiver.key))
      .map(([id]) => id)
  }

  #isKeptByNobody(id: string): boolean {
    const slip = this.#options.box.slip(id)
    return slip !== null && (slip.kept ?? []).length === 0
  }

  /** Reports that a letter waits with us alone, unless its receiver or a mailbox comes in a moment. Never rejects. */
  async #tellAlone(id: string, code: string) {
    const { box, now, isSynced } = this.#options
    const slip = box.slip(id)
    if (!slip) return
    const wait = Math.max(slip.sentAt, this.#startedAt) + GRACE_MS - now()
    if (wait > 0) await sleep(wait, undefined, { ref: false })
    // As long as it is not known who is there, nobody is known to be away.
    const isAlone = !this.#isThere(targetOf(slip.receiver)) && this.#isKeptByNobody(id)
    if (isAlone && isSynced?.() !== false) this.#tell(id, 'queued', code)
  }

  /** Reports a status that is not final, and that nobody else knows, unless it was the last one. */
  #tell(id: string, status: 'queued' | 'unreachable', code = '') {
    const slip = this.#options.box.slip(id)
    const last = this.#standing.get(id) ?? { status: 'queued', code: '' }
    if (!slip || isOwn(slip) || this.#isClosed) return
    if (last.status === status && last.code === code) return
    this.#standing.set(id, { status, code })
    const receipt = { id, status, code, by: null, at: this.#today } as const
    this.#letters.get(id)?.take(receipt)
    this.emit('receipt', receipt)
  }

  /**
   * Delivers one letter.
   *
   * @throws NO_INSTANCE, and what `deliver` does
   */
  async #bring(id: string) {
    const { box, deliver } = this.#options
    const body = await box.body(id)
    const slip = box.slip(id)
    if (!body || !slip) return
    const to = await this.#choose(id, slip)
    this.stats.attempts++
    const letter = this.#seal(id, slip, body, to)
    const receipt = await deliver(to, letter, (late) => void this.#take(id, to, late, true))
    if (receipt) await this.#take(id, to, receipt, true)
    else this.#tell(id, 'queued')
  }

  /** Asks mailboxes to keep a letter to a key. Never rejects. */
  async #keep(id: string) {
    try {
      const { box, keep } = this.#options
      const body = keep ? await box.body(id) : null
      const slip = box.slip(id)
      // Letters with a command or an answer are not kept, because nobody waits for them later.
      if (!body || !slip || !keep || !('key' in slip.receiver) || isCall(slip)) return
      const { key } = slip.receiver
      const code = await keep(id, key, () => this.#seal(id, slip, body, key))
      if (code) void this.#tellAlone(id, code)
    } catch (error) {
      if (!this.#isClosed) this.emit('failed', error as SeaportError)
    }
  }

  /**
   * The key that a letter goes to. For a role that is one instance; if it went without a receipt, another one is
   * chosen.
   */
  async #choose(id: string, { ...slip }: OutboxSlip): Promise<string> {
    const { receiver } = slip
    if ('key' in receiver) return receiver.key
    const { instances, box, random = Math.random } = this.#options
    const candidates = instances(receiver.role)
    if (slip.instance && candidates.includes(slip.instance)) return slip.instance
    const chosen = candidates[Math.floor(random() * candidates.length)]
    if (!chosen) {
      throw SeaportError.NO_INSTANCE(`nobody serves ${receiver.role} who takes letters; they wait`)
    }
    await box.change(id, { ...slip, instance: chosen })
    return chosen
  }

  #seal(id: string, slip: OutboxSlip, body: Body, to: string): Buffer {
    const { registry, keyPair, prekeyOf } = this.#options
    const prekey = slip.isStatic ? null : prekeyOf(to)
    return sealSlip(id, slip, body, { registry, keyPair, to, prekey })
  }

  /**
   * Takes a receipt for a letter that went to a key. Never rejects.
   *
   * @param isAnswer whether it answers what was just sent over a link
   */
  async #take(id: string, to: string, receipt: Receipt, isAnswer = false) {
    const { registry, box } = this.#options
    const slip = box.slip(id)
    const isRight = receipt.id === id && receipt.from === to && receipt.status !== 'queued'
    if (!slip || !isRight || !isReceiptSigned(registry, receipt)) return
    try {
      const isUnreadable = receipt.code === 'UNREADABLE'
      // Copies in mailboxes, which were sealed to the prekey, may be refused later.
      if (isUnreadable && slip.isStatic && !isAnswer) return
      if (isUnreadable && !slip.isStatic) {
        await box.change(id, { ...slip, isStatic: true, kept: [] })
        return this.#bringSoon(id, slip.receiver)
      }
      await this.#end(shown(receipt))
    } catch (error) {
      this.emit('failed', error as SeaportError)
    }
  }

  async #end(receipt: LetterReceipt) {
    const { id, status } = receipt
    const slip = this.#options.box.slip(id)
    if (!slip) return
    this.#routes.remove(targetOf(slip.receiver), id)
    this.#standing.delete(id)
    await this.#options.box.remove(id).catch((error) => {
      // What stays on the disk is sent again after the next start, and then answered as before.
      if (status === 'recalled') throw error
      this.emit('failed', error)
    })
    const letter = this.#letters.get(id)
    this.#letters.delete(id)
    letter?.take(receipt)
    if (isOwn(slip)) return
    this.stats[status as FinalStatus]++
    this.emit('receipt', receipt)
  }

  #expire() {
    const time = this.#options.now()
    for (const [id, { expiresAt }] of this.#options.box.list()) {
      if (expiresAt > time) continue
      const receipt = { id, status: 'expired', code: '', by: null, at: this.#today } as const
      this.#end(receipt).catch((error) => this.emit('failed', error))
    }
  }
}
