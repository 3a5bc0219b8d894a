import type { Body } from '../body.js'
import type { Change, MailStore } from './mail-store.js'

/** What a box may hold. */
export interface BoxLimits {
  maxLetters: number
  /** The size of their bodies and of what is kept beside them, in bytes. */
  maxBytes: number
}

/** What is kept of a letter beside its body. */
export interface Slip {
  /** When it came into the box, in ms since 1970; unique in a box, and the order in which letters are listed. */
  order: number
}

/** What is held in memory of a letter. */
interface Entry<S> {
  slip: S
  bytes: number
}

/** The default limits of a box. */
export const BOX_LIMITS: BoxLimits = { maxLetters: 10_000, maxBytes: 256 * 1024 * 1024 }
const KINDS: readonly Body['kind'][] = ['none', 'json', 'bytes']

/** Letters on disk. Their slips are held in memory, and their bodies are not. */
export class LetterBox<S extends Slip> {
  readonly #store: MailStore
  readonly #table: 'outbox' | 'inbox'
  readonly #limits: BoxLimits
  readonly #slips = new Map<string, Entry<S>>()
  #bytes = 0
  #lastOrder = 0

  constructor(store: MailStore, table: 'outbox' | 'inbox', limits: BoxLimits) {
    this.#store = store
    this.#table = table
    this.#limits = limits
  }

  get stats() {
    return { letters: this.#slips.size, bytes: this.#bytes }
  }

  /** Reads what is on disk. */
  async load() {
    const found: [string, S, number][] = []
    for await (const { key, value } of this.#store.entries(this.#table)) {
      found.push([key, decode<S>(value).slip, value.byteLength])
    }
    for (const [id, slip, bytes] of found.sort(([, a], [, b]) => a.order - b.order)) {
      this.#slips.set(id, { slip, bytes })
      this.#bytes += bytes
      this.#lastOrder = slip.order
    }
  }

  /** The order of the next letter, after all that are there. */
  nextOrder(now: number): number {
    this.#lastOrder = Math.max(now, this.#lastOrder + 1)
    return this.#lastOrder
  }

  has(id: string): boolean {
    return this.#slips.has(id)
  }

  slip(id: string): S | null {
    return this.#slips.get(id)?.slip ?? null
  }

  /** All slips, in the order in which the letters came. */
  list(): [id: string, slip: S][] {
    return [...this.#slips].map(([id, { slip }]) => [id, slip])
  }

  /**
   * Whether there is room for one more letter of this many bytes.
   *
   * @param part the part of the box that may be full then
   */
  hasRoom(bytes: number, part = 1): boolean {
    const { maxLetters, maxBytes } = this.#limits
    return this.#slips.size < maxLetters * part && this.#bytes + bytes <= maxBytes * part
  }

  /** Puts a letter in, together with other changes, and resolves when all of it is on disk. */
  async put(id: string, slip: S, body: Body, others: readonly Change[] = []) {
    const value = encode(slip, body)
    const before = this.#slips.get(id)
    const after = { slip, bytes: value.byteLength }
    // It is counted before it is written, so that letters that come meanwhile find the room taken.
    this.#set(id, after)
    try {
      await this.#store.apply([{ table: this.#table, key: id, value }, ...others])
    } catch (error) {
      // On disk there is what was there before.
      if (this.#slips.get(id) === after) this.#set(id, before)
      throw error
    }
  }

  /** Changes what is kept beside a letter's body. */
  async change(id: string, slip: S, others: readonly Change[] = []) {
    const body = await this.body(id)
    // The letter may have been removed meanwhile.
    if (body && this.has(id)) await this.put(id, slip, body, others)
  }

  async body(id: string): Promise<Body | null> {
    if (!this.#slips.has(id)) return null
    const value = await this.#store.get(this.#table, id)
    return value && decode<S>(value).body
  }

  /** Takes a letter out, together with other changes. */
  async remove(id: string, others: readonly Change[] = []) {
    this.#set(id, undefined)
    await this.#store.apply([{ table: this.#table, key: id, value: null }, ...others])
  }

  /** A letter that is there already keeps its place in the order. */
  #set(id: string, entry: Entry<S> | undefined) {
    this.#bytes += (entry?.bytes ?? 0) - (this.#slips.get(id)?.bytes ?? 0)
    if (entry) this.#slips.set(id, entry)
    else this.#slips.delete(id)
  }
}

function encode(slip: object, { kind, bytes }: Body): Buffer {
  const json = Buffer.from(JSON.stringify(slip))
  const head = Buffer.alloc(5)
  head.writeUInt32LE(json.byteLength, 0)
  head[4] = KINDS.indexOf(kind)
  return Buffer.concat([head, json, bytes])
}

function decode<S>(value: Buffer): { slip: S; body: Body } {
  const end = 5 + value.readUInt32LE(0)
  const slip = JSON.parse(value.toString('utf8', 5, end)) as S
  return { slip, body: { kind: KINDS[value[4] ?? 0] ?? 'none', bytes: value.subarray(end) } }
}
