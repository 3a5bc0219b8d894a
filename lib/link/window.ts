import { costOf } from './frames.js'

/**
 * What one stream may be sent before its reader has read: the receiver's side of flow control, in
 * units of credit (`costOf`). Credit is given back as the reader reads, half a window at a time.
 *
 * Sizing. A stream at full speed needs a window of bandwidth × round trip: 100 Mbit/s over 100 ms is
 * 1.25 MB. Windows start at 256 KiB and double whenever the sender says that it was blocked although
 * the reader had kept up, so that it takes a fat link a few round trips to open, and a slow reader
 * never gets more than it uses. What all windows of a link may hold together is bounded by a budget, and so is what those
 * of all links of the process may (`StreamMemory`).
 */
export const INITIAL_WINDOW = 256 * 1024
export const MAX_WINDOW = 8 * 1024 * 1024
/** What a stream gets even when the link's budget is spent. */
export const MIN_WINDOW = 16 * 1024
/** What all streams of a link share. */
export const LINK_BUDGET = 32 * 1024 * 1024
/** A new stream takes at most this part of what is left. */
const NEWCOMERS_SHARE = 1 / 64

/** What is left of the bytes that windows share. It is negative when very many streams hold the minimum. */
export interface WindowBudget {
  left: number
}

/** What one link may take of the bytes that all links share. */
export class LinkBudget implements WindowBudget {
  readonly #all: WindowBudget
  #left = LINK_BUDGET

  constructor(all: WindowBudget) {
    this.#all = all
  }

  get left(): number {
    return Math.min(this.#left, this.#all.left)
  }

  set left(left: number) {
    const taken = this.left - left
    this.#left -= taken
    this.#all.left -= taken
  }
}

export class Window {
  readonly #budget: WindowBudget
  #size: number
  /** What the sender may still send. */
  #open: number
  /** Received, but not read by the user yet. */
  #unread = 0
  /** Read by the user, but not given back to the sender as credit yet. */
  #owed = 0
  /** Read since the window last grew. */
  #readSinceGrowth = 0

  constructor(budget: WindowBudget) {
    this.#budget = budget
    this.#size = Math.max(
      MIN_WINDOW,
      Math.min(INITIAL_WINDOW, Math.floor(budget.left * NEWCOMERS_SHARE))
    )
    this.#open = this.#size
    budget.left -= this.#size
  }

  get size(): number {
    return this.#size
  }

  /** What the sender may still send. */
  get open(): number {
    return this.#open
  }

  /** Takes in what the sender sent; false if it had no credit for it. */
  receive(byteLength: number): boolean {
    const cost = costOf(byteLength)
    this.#open -= cost
    this.#unread += cost
    return this.#open >= 0
  }

  /** The reader took what came with one frame. */
  read(byteLength: number) {
    const cost = costOf(byteLength)
    this.#unread -= cost
    this.#owed += cost
    this.#readSinceGrowth += cost
  }

  get isGrantDue(): boolean {
    return this.#owed * 2 >= this.#size
  }

  /** The credit to give back now. */
  grant(): number {
    const amount = this.#owed
    this.#owed = 0
    this.#open += amount
    return amount
  }

  /** The sender had no credit left. The window grows if it was too small, and not if the reader is slow. */
  grow() {
    const hasKeptUp = this.#unread * 2 < this.#size && this.#readSinceGrowth * 2 >= this.#size
    if (!hasKeptUp) return
    const growth = Math.max(
      0,
      Math.min(this.#size, MAX_WINDOW - this.#size, Math.floor(this.#budget.left / 2))
    )
    this.#budget.left -= growth
    this.#size += growth
    this.#owed += growth
    this.#readSinceGrowth = 0
  }

  /** Gives back to the link's budget what this window took. */
  release() {
    this.#budget.left += this.#size
    this.#size = 0
  }
}
