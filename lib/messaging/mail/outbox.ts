import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { SeaportError } from '../../core/errors.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { boxKeyOf } from '../../core/sealed-box.js'
import type { Body } from '../body.js'
import { checkName } from '../names.js'
import { encodeLetter, letterBody, MAX_TTL_MS, writeLetter } from './letter.js'
import type { LetterBox, Slip } from './letter-box.js'
import { isReceiptSigned, type Receipt } from './receipt.js'
import { type LetterReceipt, type LetterStatus, SentLetter, shown } from './sent-letter.js'

/** To whom a letter is: one key, or one instance of a role. */
export type Receiver = { key: string } | { role: string }

export interface SendMailOptions {
  /** How long it is of use, in ms. Default: 7 days; 30 at most. */
  ttl?: number | undefined
  /** What it is called, as in `invoice`: a name as of commands. */
  type?: string | undefined
}

export interface OutboxSlip extends Slip {
  receiver: Receiver
  type: string
  sentAt: number
  expiresAt: number
  /** Of a letter to a role: the instance that it was sealed to, hex. */
  instance?: string | undefined
  /** Mailboxes that have signed that they keep it, hex. */
  kept?: string[]
  /** Whether the receiver could not open it sealed to a prekey. */
  isStatic?: boolean
}

export interface OutboxOptions {
  registry: Buffer
  keyPair: KeyPair
  box: LetterBox<OutboxSlip>
  /** What letters to a key are sealed to, hex; null if it says nothing of that. */
  prekeyOf: (key: string) => string | null
  /** The instances of a role that take letters, hex. */
  instances: (role: string) => readonly string[]
  /**
   * Brings a letter to a key, in hex.
   *
   * @returns the receipt, or null if it was taken and has none yet
   */
  deliver: (
    to: string,
    letter: Buffer,
    onreceipt: (receipt: Receipt) => void
  ) => Promise<Receipt | null>
  /** Has a letter kept by others until its receiver is there. Never rejects. */
  keep?: ((to: string, letter: Buffer) => Promise<void>) | undefined
  /** Whether a key is not there now, as far as is known. */
  isAway?: ((key: string) => boolean) | undefined
  now: () => number
  ttl?: number | undefined
  /** When what was not delivered is tried again, in ms; the last one repeats. */
  backoffs?: readonly number[] | undefined
  random?: () => number
}

interface OutboxEvents {
  receipt: [receipt: LetterReceipt]
  /** A letter could not be brought just now. */
  failed: [reason: SeaportError]
}

/** What goes to one key or role, in order. */
interface Route {
  ids: Set<string>
  /** Rounds in a row in which nothing was brought. */
  failures: number
  timer: NodeJS.Timeout | null
  isRunning: boolean
  /** Whether something changed while it ran. */
  isStale: boolean
}

const TTL_MS = 7 * 24 * 60 * 60 * 1000
const BACKOFFS_MS = [2000, 4000, 8000, 16_000, 32_000, 60_000, 300_000]
/** Each wait is up to so much longer, so that what was lost together does not come back together. */
const JITTER = 0.1
const EXPIRY_CHECK_MS = 1000

/**
 * Letters that were written and have no final receipt. To each receiver they go one after the other, and again until
 * the receiver has signed what became of them, or they are of use no more.
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
  readonly #backoffs: readonly number[]
  readonly #routes = new Map<string, Route>()
  readonly #letters = new Map<string, SentLetter>()
  #expiry: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(options: OutboxOptions) {
    super()
    this.#options = options
    this.#backoffs = options.backoffs ?? BACKOFFS_MS
  }

  /** Goes on with what is on disk. */
  start() {
    for (const [id, { receiver }] of this.#options.box.list()) this.#routeTo(receiver).ids.add(id)
    for (const target of this.#routes.keys()) this.#run(target)
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
    const { box, now } = this.#options
    if (!(ttl > 0 && ttl <= MAX_TTL_MS)) {
      throw SeaportError.USAGE(`a letter is of use for up to 30 days, in ms, not for ${ttl}`)
    }
    if (type !== '') checkName(type, 'a letter')
    const body = letterBody(data)
    if (!box.hasRoom(body.bytes.byteLength)) {
      throw SeaportError.OUTBOX_FULL(
        'too many letters wait to be sent; take some back, or wait until some are delivered'
      )
    }
    const id = toHex(randomBytes(32))
    // No two have the same, so that whoever keeps them can put them in order.
    const sentAt = box.nextOrder(now())
    const expiresAt = Math.round(sentAt + ttl)
    await box.put(id, { order: sentAt, receiver, type, sentAt, expiresAt }, body)
    const letter = new SentLetter(id)
    this.#letters.set(id, letter)
    this.stats.sent++
    if (this.#isClosed) letter.giveUp()
    this.#routeTo(receiver).ids.add(id)
    this.#run(targetOf(receiver))
    if ('key' in receiver && this.#options.isAway?.(receiver.key)) void this.#keep(id)
    return letter
  }

  /** Takes a letter back that has no final receipt yet. It may have been read. Tells whether there was one. */
  async recall(id: string): Promise<boolean> {
    if (!this.#options.box.has(id)) return false
    await this.#end({ id, status: 'recalled', code: '', by: null, at: this.#today })
    return true
  }

  /** Takes a receipt that came by others. Never rejects. */
  async receive(receipt: Receipt) {
    const slip = this.#options.box.slip(receipt.id)
    const to = slip && ('key' in slip.receiver ? slip.receiver.key : slip.instance)
    if (to) await this.#take(receipt.id, to, receipt)
  }

  /** The mailboxes that keep a letter to a key; null for one to a role, which goes to another instance. */
  keptBy(id: string): readonly string[] | null {
    const slip = this.#options.box.slip(id)
    return slip && 'key' in slip.receiver ? (slip.kept ?? []) : null
  }

  /** Takes the word of a mailbox that it keeps a letter. */
  async takeKept(receipt: Receipt, mailbox: string) {
    const { registry, box } = this.#options
    const { id, status, from } = receipt
    const slip = box.slip(id)
    if (!slip || status !== 'queued' || from !== mailbox) return
    if (!isReceiptSigned(registry, receipt)) return
    const others = (slip.kept ?? []).filter((key) => key !== mailbox)
    await box.change(id, { ...slip, kept: [...others, mailbox] })
    this.#letters.get(id)?.take(shown(receipt))
    this.emit('receipt', shown(receipt))
  }

  /** What is under way, in order. */
  list() {
    return this.#options.box.list().map(([id, { receiver, sentAt, expiresAt }]) => ({
      id,
      to: targetOf(receiver),
      sentAt: new Date(sentAt),
      expiresAt: new Date(expiresAt)
    }))
  }

  /** Some key may be reached now, or other instances serve a role. */
  wake(key: string) {
    for (const target of this.#routes.keys()) {
      if (target === key || this.#isRole(target)) this.#run(target)
    }
  }

  /** Stops sending. What is on disk stays there. */
  close() {
    this.#isClosed = true
    if (this.#expiry) clearInterval(this.#expiry)
    for (const { timer } of this.#routes.values()) if (timer) clearTimeout(timer)
    for (const letter of this.#letters.values()) letter.giveUp()
    this.#letters.clear()
  }

  get #today(): Date {
    return new Date(this.#options.now())
  }

  #isRole(target: string): boolean {
    return target.includes('@')
  }

  #routeTo(receiver: Receiver): Route {
    const target = targetOf(receiver)
    const route = this.#routes.get(target) ?? {
      ids: new Set(),
      failures: 0,
      timer: null,
      isRunning: false,
      isStale: false
    }
    this.#routes.set(target, route)
    return route
  }

  /** Never throws. */
  #run(target: string) {
    const route = this.#routes.get(target)
    if (!route || this.#isClosed) return
    route.isStale = route.isRunning
    if (route.isRunning) return
    route.isRunning = true
    if (route.timer) clearTimeout(route.timer)
    void this.#runOnce(route).then((hasMoved) => {
      route.isRunning = false
      if (this.#isClosed) return
      if (route.ids.size === 0) return this.#routes.delete(target)
      route.failures = hasMoved ? 0 : route.failures + 1
      if (route.isStale) return this.#run(target)
      const step = Math.min(Math.max(route.failures - 1, 0), this.#backoffs.length - 1)
      const { random = Math.random } = this.#options
      const wait = (this.#backoffs[step] ?? 0) * (1 + JITTER * random())
      route.timer = setTimeout(() => this.#run(target), wait)
    })
  }

  /** Brings what it can, in order, and tells whether that was anything. Never rejects. */
  async #runOnce({ ids }: Route): Promise<boolean> {
    let hasMoved = false
    for (const id of ids) {
      if (this.#isClosed) break
      try {
        const isNews = await this.#bring(id)
        hasMoved ||= isNews
      } catch (error) {
        this.stats.failed++
        this.emit('failed', error as SeaportError)
        for (const waiting of ids) void this.#keep(waiting)
        break
      }
    }
    return hasMoved
  }

  /**
   * Brings one letter to its receiver.
   *
   * @returns whether it has a final receipt now
   * @throws NO_INSTANCE, and what `deliver` does
   */
  async #bring(id: string): Promise<boolean> {
    const { box, deliver } = this.#options
    const body = await box.body(id)
    const slip = box.slip(id)
    if (!body || !slip) return false
    const to = await this.#choose(id, slip)
    this.stats.attempts++
    const letter = this.#seal(id, slip, body, to)
    const receipt = await deliver(to, letter, (late) => void this.#take(id, to, late))
    return receipt ? this.#take(id, to, receipt) : false
  }

  /** Has a letter to a key kept by others. Never rejects. */
  async #keep(id: string) {
    try {
      const { box, keep } = this.#options
      const body = keep ? await box.body(id) : null
      const slip = box.slip(id)
      if (!body || !slip || !keep || !('key' in slip.receiver)) return
      const { key } = slip.receiver
      await keep(key, this.#seal(id, slip, body, key))
    } catch (error) {
      if (!this.#isClosed) this.emit('failed', error as SeaportError)
    }
  }

  /** Whom a letter goes to. An instance that has gone without a receipt gives way to another. */
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
    const { type, sentAt, expiresAt, isStatic, receiver } = slip
    const prekey = isStatic ? null : prekeyOf(to)
    return encodeLetter(
      writeLetter({
        registry,
        keyPair,
        id,
        to,
        type,
        body,
        sentAt,
        expiresAt,
        isToRole: 'role' in receiver,
        sealTo: prekey ? Buffer.from(prekey, 'hex') : boxKeyOf(Buffer.from(to, 'hex'))
      })
    )
  }

  /** Takes what somebody says became of a letter that went to a key. Tells whether that is final. Never rejects. */
  async #take(id: string, to: string, receipt: Receipt): Promise<boolean> {
    const { registry, box } = this.#options
    const slip = box.slip(id)
    const isRight = receipt.id === id && receipt.from === to && receipt.status !== 'queued'
    if (!slip || !isRight || !isReceiptSigned(registry, receipt)) return false
    try {
      if (receipt.code === 'UNREADABLE' && !slip.isStatic) {
        await box.change(id, { ...slip, isStatic: true })
        this.#run(targetOf(slip.receiver))
        return true
      }
      await this.#end(shown(receipt))
      return true
    } catch (error) {
      this.emit('failed', error as SeaportError)
      return false
    }
  }

  async #end(receipt: LetterReceipt) {
    const { id, status } = receipt
    const { box } = this.#options
    const slip = box.slip(id)
    if (!slip) return
    this.#routes.get(targetOf(slip.receiver))?.ids.delete(id)
    await box.remove(id)
    this.stats[status as Exclude<LetterStatus, 'queued'>]++
    const letter = this.#letters.get(id)
    this.#letters.delete(id)
    letter?.take(receipt)
    this.emit('receipt', receipt)
  }

  #expire() {
    const { box, now } = this.#options
    const time = now()
    for (const [id, { expiresAt }] of box.list()) {
      if (expiresAt > time) continue
      const receipt = { id, status: 'expired', code: '', by: null, at: this.#today } as const
      this.#end(receipt).catch((error) => this.emit('failed', error))
    }
  }
}

function targetOf(receiver: Receiver): string {
  return 'key' in receiver ? receiver.key : receiver.role
}
