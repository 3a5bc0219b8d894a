import type { Hypercore } from './hypercore.js'
import { type Gap, prune } from './prune.js'

/** Clears a log of the blocks that its newest version does not need, from its beginning on. */
export class Compaction {
  readonly #core: Hypercore
  /** Blocks before this length may have been cleared. */
  #to = 0
  /** Those, in order. */
  #left: number[] = []

  constructor(core: Hypercore) {
    this.#core = core
  }

  /**
   * Clears up to a length.
   *
   * @param linked the blocks that are needed
   * @param isOver asked again and again, for it may take long
   * @returns how many were cleared
   */
  async clearBefore(
    length: number,
    linked: ReadonlySet<number>,
    isOver: () => boolean
  ): Promise<number> {
    if (length <= this.#to) return 0
    const left = [...linked].filter((block) => block < length).sort((a, b) => a - b)
    const dead = this.#left.filter((block) => !linked.has(block)).reverse()
    let cleared = 0
    for (const gap of gapsBetween(left, length)) {
      for (const piece of this.#piecesIn(gap, dead)) {
        if (isOver()) return cleared
        await prune(this.#core, piece, gap)
        cleared += piece[1] - piece[0]
      }
    }
    this.#to = length
    this.#left = left
    return cleared
  }

  /**
   * What of a gap is still there.
   *
   * @param dead blocks that were needed, the first at the end; those in the gap are taken
   */
  *#piecesIn([start, end]: Gap, dead: number[]): Generator<Gap> {
    for (let block = dead.at(-1); block !== undefined && block < end; block = dead.at(-1)) {
      dead.pop()
      yield [block, block + 1]
    }
    if (end > this.#to) yield [Math.max(start, this.#to), end]
  }
}

function* gapsBetween(blocks: readonly number[], length: number): Generator<Gap> {
  let start = 0
  for (const end of [...blocks, length]) {
    if (start < end) yield [start, end]
    start = end + 1
  }
}
