import type { Place } from './segments.js'

/** What is held in memory of a letter that is kept for somebody who is away. */
export interface Kept {
  /** Hex, as the keys. */
  id: string
  from: string
  to: string
  sentAt: number
  expiresAt: number
  /** What is counted for it. */
  bytes: number
  /** Where it is on disk, once it was written. */
  place?: Place
}

/** The letters of one writer, or to one receiver. */
interface Share {
  readonly key: string
  letters: Set<Kept>
  bytes: number
}

/** The index of kept letters, with how much each writer and each receiver has. */
export class KeptLetters {
  readonly #letters = new Map<string, Kept>()
  readonly #senders = new Map<string, Share>()
  readonly #receivers = new Map<string, Share>()
  #bytes = 0

  get size(): number {
    return this.#letters.size
  }

  get bytes(): number {
    return this.#bytes
  }

  get(id: string): Kept | undefined {
    return this.#letters.get(id)
  }

  [Symbol.iterator](): IterableIterator<Kept> {
    return this.#letters.values()
  }

  add(letter: Kept) {
    this.delete(letter.id)
    this.#letters.set(letter.id, letter)
    this.#bytes += letter.bytes
    // Each letter was decoded with strings of its own, which together are larger than the index.
    letter.from = count(this.#senders, letter.from, letter)
    letter.to = count(this.#receivers, letter.to, letter)
  }

  delete(id: string) {
    const letter = this.#letters.get(id)
    if (!letter) return
    this.#letters.delete(id)
    this.#bytes -= letter.bytes
    discount(this.#senders, letter.from, letter)
    discount(this.#receivers, letter.to, letter)
  }

  /** How much of one writer is kept here. */
  of(from: string): { letters: number; bytes: number } {
    return sum(this.#senders.get(from))
  }

  /** How much is kept here for one receiver. */
  countTo(to: string): { letters: number; bytes: number } {
    return sum(this.#receivers.get(to))
  }

  /** The letters to a key, in the order in which they were written. */
  to(key: string): Kept[] {
    const letters = [...(this.#receivers.get(key)?.letters ?? [])]
    return letters.sort((a, b) => a.sentAt - b.sentAt)
  }

  /**
   * The last letter of the writer that has most here. It makes room for a letter of a writer that has less.
   *
   * @param to count only letters for the same receiver
   * @returns null if no writer has more than that of the new letter would have
   */
  lastOfLargest({ from, to, bytes }: Kept, { ofReceiver }: { ofReceiver: boolean }): Kept | null {
    const shares = ofReceiver ? this.#sendersTo(to) : this.#senders
    let largest: Share | null = null
    for (const share of shares.values()) {
      if (!largest || share.bytes > largest.bytes) largest = share
    }
    const own = shares.get(from)?.bytes ?? 0
    if (!largest || largest.bytes <= own + bytes) return null
    return [...largest.letters].at(-1) ?? null
  }

  #sendersTo(to: string): Map<string, Share> {
    const shares = new Map<string, Share>()
    for (const letter of this.#receivers.get(to)?.letters ?? []) count(shares, letter.from, letter)
    return shares
  }
}

/** @returns the key that is held for all of its letters */
function count(shares: Map<string, Share>, key: string, letter: Kept): string {
  const share = shares.get(key) ?? { key, letters: new Set(), bytes: 0 }
  shares.set(share.key, share)
  share.letters.add(letter)
  share.bytes += letter.bytes
  return share.key
}

function discount(shares: Map<string, Share>, key: string, letter: Kept) {
  const share = shares.get(key)
  if (!share?.letters.delete(letter)) return
  share.bytes -= letter.bytes
  if (share.letters.size === 0) shares.delete(key)
}

function sum(share: Share | undefined) {
  return { letters: share?.letters.size ?? 0, bytes: share?.bytes ?? 0 }
}
