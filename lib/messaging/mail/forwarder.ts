import { randomBytes } from 'node:crypto'
import { SeaportError } from '../../core/errors.js'
import { RateLimiter } from '../../registry/swarm/limits.js'
import { decodeLetterHead, isLetterExpired, isLetterSigned, type LetterHead } from './letter.js'
import type { TakeLetter } from './mail-stream.js'
import {
  decodeMemberFrame,
  encodeMemberFrame,
  MAX_HOPS,
  type MemberFrame,
  QUESTION_BYTES
} from './member-frames.js'
import { decodeReceipt, encodeReceipt, isReceiptSigned, type Receipt } from './receipt.js'
import { Recent } from './recent.js'

/** Another member that we have a registry connection to. */
export interface Neighbour {
  /** Its swarm key, hex. */
  key: string
  /** Sends a frame. Returns false if the neighbour takes none now. */
  send(frame: Buffer): boolean
}

/** A key in this process that takes letters. */
export interface Resident {
  take: TakeLetter
  /** Called with a receipt for a letter that this key wrote. Its signature is not checked yet. */
  onreceipt: (receipt: Receipt) => void
  /** Called with any receipt that is passed on here. Its signature is not checked yet. */
  onpassing?: (receipt: Receipt) => void
}

export interface ForwarderOptions {
  registry: Buffer
  neighbours: () => Iterable<Neighbour>
  /** The swarm key of the process that serves a key, as its record says, hex. */
  holderOf: (key: string) => string | null
  /** Whether a key may write letters at all. */
  mayWrite: (from: string) => boolean
  limits?: Partial<ForwardLimits> | undefined
  now?: () => number
  /** How long a neighbour may take to say that a letter was taken, in ms, and so much longer for each further hop. */
  takenTimeout?: number | undefined
  hopTimeout?: number | undefined
  /** How long to wait for an answer to the question for a way, in ms. */
  seekTimeout?: number | undefined
}

/** Limits of what one process passes on. */
export interface ForwardLimits {
  /** Letters a second of one writer, and how many at once. */
  senderRate: number
  senderBurst: number
  /** Bytes a second of one writer. */
  senderBytes: number
  /** Letters and receipts a second of one neighbour. */
  neighbourRate: number
  /** Questions for a way a second of one neighbour. */
  seekRate: number
}

export const FORWARD_LIMITS: ForwardLimits = {
  senderRate: 20,
  senderBurst: 200,
  senderBytes: 2 * 1024 * 1024,
  neighbourRate: 100,
  seekRate: 50
}
/** How many hops letters go by default. */
export const HOPS = 4
/** A question of ours for a way to a key. */
interface Search {
  to: string
  /** A neighbour whose answer is ignored, because its way failed before. */
  not: string | undefined
  found: (way: string | null) => void
}

const TAKEN_TIMEOUT_MS = 2000
const HOP_TIMEOUT_MS = 500
const SEEK_TIMEOUT_MS = 1000
const WAY_TTL_MS = 60_000
const BACK_TTL_MS = 10 * 60_000
/** A letter that comes again within this time has gone in a circle. Its writer repeats it later than that. */
const CIRCLE_MS = 1500
const MAX_REMEMBERED = 10_000
/** Limits without a burst of their own allow this many times the rate of a second at once. */
const BURST = 2

/**
 * Passes letters on over the connections that members have to each other anyway: to the neighbour whose process serves
 * the receiver, or to one that knows a way. Nothing is stored here. A letter counts as taken when the receiver has it
 * on disk, which is reported back from hop to hop.
 */
export class Forwarder {
  readonly stats = { sent: 0, passed: 0, noWay: 0, seeks: 0, receipts: 0, limited: 0, dropped: 0 }

  /** Whether letters between others are passed on. */
  forwards = true

  readonly #options: ForwarderOptions
  readonly #limits: ForwardLimits
  readonly #now: () => number
  readonly #residents = new Map<string, Resident>()
  /** The neighbour on the way to each key. */
  readonly #ways = new Recent<string>({ max: MAX_REMEMBERED, ttl: WAY_TTL_MS })
  /** The neighbour that each letter came from, by its id. Its receipt goes back there. */
  readonly #back = new Recent<string>({ max: MAX_REMEMBERED, ttl: BACK_TTL_MS })
  /** The neighbour that each letter of ours was given to last, by its id. */
  readonly #last = new Recent<string>({ max: MAX_REMEMBERED, ttl: BACK_TTL_MS })
  readonly #passing = new Recent<true>({ max: MAX_REMEMBERED, ttl: CIRCLE_MS })
  /** The neighbour that asked each question. */
  readonly #asked = new Recent<string>({ max: MAX_REMEMBERED, ttl: WAY_TTL_MS })
  readonly #seeking = new Map<string, Search>()
  /** Called when a neighbour says whether a letter that it was given was taken. */
  readonly #given = new Map<string, (isTaken: boolean) => void>()
  readonly #senders: RateLimiter
  readonly #bytes: RateLimiter
  readonly #letters: RateLimiter
  readonly #seeks: RateLimiter

  constructor(options: ForwarderOptions) {
    this.#options = options
    this.#limits = { ...FORWARD_LIMITS, ...options.limits }
    this.#now = options.now ?? Date.now
    const { senderRate, senderBurst, senderBytes, neighbourRate, seekRate } = this.#limits
    this.#senders = new RateLimiter({ rate: senderRate, burst: senderBurst })
    this.#bytes = new RateLimiter({ rate: senderBytes, burst: senderBytes * BURST })
    this.#letters = new RateLimiter({ rate: neighbourRate, burst: neighbourRate * BURST })
    this.#seeks = new RateLimiter({ rate: seekRate, burst: seekRate * BURST })
  }

  /** Delivers letters for a key, in hex, to a resident, until the returned function is called. */
  attach(key: string, resident: Resident): () => void {
    this.#residents.set(key, resident)
    return () => {
      if (this.#residents.get(key) === resident) this.#residents.delete(key)
    }
  }

  /**
   * Sends a letter of ours by way of others. Resolves when the receiver has it on disk, by the word of the neighbours.
   * The receipt comes to the resident of its writer.
   *
   * @throws LINK_LOST if there is no way
   */
  async send(bytes: Buffer, hops = HOPS): Promise<void> {
    const { id, to } = decodeLetterHead(bytes)
    // If the letter was given to a neighbour before and no receipt came, another way is tried.
    const last = this.#last.get(id)
    if (last && this.#ways.get(to) === last) this.#ways.delete(to)
    this.stats.sent++
    const way = await this.#bring(
      { id, to, bytes, hops: Math.min(hops, MAX_HOPS) },
      { later: last }
    )
    if (way) return this.#last.set(id, way)
    this.stats.noWay++
    throw SeaportError.LINK_LOST(`no member in reach knows a way to ${to}`)
  }

  /** Whether a way to a key was heard of in the last minute. */
  knowsWayTo(to: string): boolean {
    const way = this.#ways.get(to)
    return way !== undefined && this.#neighbour(way) !== null
  }

  /**
   * Takes a frame of a neighbour. Refused frames are counted and not answered.
   *
   * @throws BAD_MESSAGE for a malformed frame
   */
  receive(from: Neighbour, bytes: Buffer) {
    const frame = decodeMemberFrame(bytes)
    switch (frame?.type) {
      case 'seek':
        return this.#onseek(from, frame)
      case 'here':
        return this.#onhere(from, frame)
      case 'letter':
        return void this.#onletter(from, frame.letter, frame.hops)
      case 'receipt':
        return this.#onreceipt(from, frame.receipt)
      case 'taken':
        return this.#given.get(givenTo(from, frame.id))?.(true)
      case 'no way':
        return this.#given.get(givenTo(from, frame.id))?.(false)
    }
  }

  /** Gives a letter to one neighbour after the other until one says that it was taken. Returns that one. */
  async #bring(
    { id, to, bytes, hops }: { id: string; to: string; bytes: Buffer; hops: number },
    { except, later }: { except?: string | undefined; later?: string | undefined } = {}
  ): Promise<string | null> {
    if (hops <= 0) return null
    const tried = new Set([except])
    const attempt = async (way: string | null | undefined): Promise<string | null> => {
      if (!way || tried.has(way)) return null
      tried.add(way)
      const neighbour = this.#neighbour(way)
      const isTaken = neighbour ? await this.#give(neighbour, id, bytes, hops) : false
      if (isTaken) return way
      if (this.#ways.get(to) === way) this.#ways.delete(to)
      return null
    }
    const holder = this.#options.holderOf(to)
    const first = [holder, this.#ways.get(to)].filter((way) => way !== later)
    for (const way of first) if (await attempt(way)) return way as string
    const found = await this.#seek(to, hops, { except, not: later })
    return (await attempt(found)) ?? (await attempt(later))
  }

  #give(neighbour: Neighbour, id: string, letter: Buffer, hops: number): Promise<boolean> {
    const { takenTimeout = TAKEN_TIMEOUT_MS, hopTimeout = HOP_TIMEOUT_MS } = this.#options
    const given = givenTo(neighbour, id)
    return new Promise((resolve) => {
      const settle = (isTaken: boolean) => {
        clearTimeout(timer)
        if (this.#given.get(given) === settle) this.#given.delete(given)
        resolve(isTaken)
      }
      const timer = setTimeout(() => settle(false), takenTimeout + hopTimeout * (hops - 1))
      this.#given.get(given)?.(false)
      this.#given.set(given, settle)
      if (!this.#tell(neighbour, { type: 'letter', hops: hops - 1, letter })) settle(false)
    })
  }

  /** Asks the neighbours for a way to a key. The first answer counts. */
  #seek(
    to: string,
    hops: number,
    { except, not }: { except: string | undefined; not: string | undefined }
  ): Promise<string | null> {
    const question = randomBytes(QUESTION_BYTES).toString('hex')
    return new Promise((resolve) => {
      const found = (way: string | null) => {
        clearTimeout(timer)
        this.#seeking.delete(question)
        resolve(way)
      }
      const { seekTimeout = SEEK_TIMEOUT_MS } = this.#options
      const timer = setTimeout(() => found(null), seekTimeout)
      this.#seeking.set(question, { to, not, found })
      this.#asked.set(question, '')
      this.stats.seeks++
      if (!this.#ask({ type: 'seek', question, to, hops }, except)) found(null)
    })
  }

  /** Sends a question to all neighbours but one. Returns whether there are any. */
  #ask(frame: MemberFrame, except: string | undefined): boolean {
    let isAsked = false
    for (const neighbour of this.#options.neighbours()) {
      if (neighbour.key !== except) isAsked = this.#tell(neighbour, frame) || isAsked
    }
    return isAsked
  }

  #onseek(from: Neighbour, { question, to, hops }: MemberFrame & { type: 'seek' }) {
    if (this.#seeks.spend(from.key) > 0) return void this.stats.limited++
    if (this.#asked.get(question) !== undefined) return
    this.#asked.set(question, from.key)
    const distance = this.#distanceOf(to, from.key)
    if (distance !== null) {
      this.#tell(from, { type: 'here', question, to, distance })
    } else if (hops > 1 && this.forwards) {
      this.#ask({ type: 'seek', question, to, hops: hops - 1 }, from.key)
    }
  }

  /** The distance to a key; null if it is not known without asking. */
  #distanceOf(to: string, except: string): number | null {
    if (this.#residents.has(to)) return 0
    const holder = this.#options.holderOf(to)
    const isNear = holder !== null && holder !== except && this.#neighbour(holder) !== null
    return isNear && this.forwards ? 1 : null
  }

  #onhere(from: Neighbour, { question, to, distance }: MemberFrame & { type: 'here' }) {
    const seeking = this.#seeking.get(question)
    const asker = this.#asked.get(question)
    // An answer to a question that nobody asked is ignored.
    if (asker === undefined || distance >= MAX_HOPS || (seeking && seeking.to !== to)) return
    if (seeking?.not === from.key) return
    if (this.#ways.get(to) === undefined) this.#ways.set(to, from.key)
    seeking?.found(from.key)
    const neighbour = asker === '' ? null : this.#neighbour(asker)
    if (!neighbour) return
    this.#asked.delete(question)
    this.#asked.set(question, '')
    this.#tell(neighbour, { type: 'here', question, to, distance: distance + 1 })
  }

  /** Never rejects. */
  async #onletter(from: Neighbour, bytes: Buffer, hops: number) {
    try {
      // The neighbour's limit comes first: a letter with a forged writer must not use up the limit of the real one.
      if (this.#letters.spend(from.key) > 0) return void this.stats.limited++
      const letter = decodeLetterHead(bytes)
      const resident = this.#residents.get(letter.to)
      const isTaken = resident
        ? await this.#deliver(from, resident, letter, bytes)
        : await this.#pass(from, letter, Buffer.from(bytes), hops)
      this.#tell(from, { type: isTaken ? 'taken' : 'no way', id: letter.id })
    } catch {
      this.stats.dropped++
    }
  }

  /** @throws an error if the letter is refused */
  async #deliver(
    from: Neighbour,
    { take }: Resident,
    { from: sender }: LetterHead,
    bytes: Buffer
  ): Promise<true> {
    const give = (receipt: Receipt) =>
      this.#tell(from, { type: 'receipt', receipt: encodeReceipt(receipt) })
    const receipt = await take(Buffer.from(bytes), give)
    this.#learn(sender, from)
    if (receipt) give(receipt)
    return true
  }

  /** @throws BAD_SIGNATURE, BAD_MESSAGE */
  async #pass(from: Neighbour, letter: LetterHead, bytes: Buffer, hops: number): Promise<boolean> {
    const { id, to } = letter
    const { registry, mayWrite } = this.#options
    if (!this.forwards || hops <= 0 || this.#passing.get(id)) return false
    if (isLetterExpired(letter, this.#now())) throw SeaportError.BAD_MESSAGE('of use no more')
    if (!isLetterSigned(registry, bytes) || !mayWrite(letter.from)) {
      throw SeaportError.BAD_SIGNATURE('not signed by who may write')
    }
    const { from: sender } = letter
    const isOver = [this.#senders.spend(sender), this.#bytes.spend(sender, bytes.byteLength)]
    if (isOver.some((wait) => wait > 0)) {
      this.stats.limited++
      return false
    }
    this.#passing.set(id, true)
    this.#back.set(id, from.key)
    this.#learn(letter.from, from)
    const way = await this.#bring({ id, to, bytes, hops }, { except: from.key })
    if (way) this.stats.passed++
    else this.stats.noWay++
    return way !== null
  }

  /** Remembers a neighbour that brought a letter as a way to its writer, who has signed it. */
  #learn(sender: string, from: Neighbour) {
    if (this.#ways.get(sender) === undefined) this.#ways.set(sender, from.key)
  }

  #onreceipt(from: Neighbour, bytes: Buffer) {
    if (this.#letters.spend(from.key) > 0) return void this.stats.limited++
    try {
      const receipt = decodeReceipt(bytes)
      for (const { onpassing } of this.#residents.values()) onpassing?.(receipt)
      const resident = this.#residents.get(receipt.to)
      if (resident) return resident.onreceipt(receipt)
      const back = this.#back.get(receipt.id)
      const neighbour = back === undefined ? null : this.#neighbour(back)
      if (!neighbour || !isReceiptSigned(this.#options.registry, receipt)) {
        return void this.stats.dropped++
      }
      this.stats.receipts++
      this.#tell(neighbour, { type: 'receipt', receipt: Buffer.from(bytes) })
    } catch {
      this.stats.dropped++
    }
  }

  #neighbour(key: string): Neighbour | null {
    for (const neighbour of this.#options.neighbours()) {
      if (neighbour.key === key) return neighbour
    }
    return null
  }

  #tell(neighbour: Neighbour, frame: MemberFrame): boolean {
    return neighbour.send(encodeMemberFrame(frame))
  }
}

function givenTo({ key }: Neighbour, id: string): string {
  return `${key} ${id}`
}
