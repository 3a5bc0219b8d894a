import { SeaportError } from '../../core/errors.js'
import { beeNode, type Hypercore } from './hypercore.js'

/** So many blocks are asked for at once, and passed on together. */
const SLICE = 256

export interface HistoryOptions {
  /** Whether to ask others for blocks that are not on disk. */
  wait?: boolean
  /** How long a block may take to come, in ms. */
  timeout?: number
}

/** Reads what is on our own disk, and asks nobody. */
export const LOCAL = { wait: false }

/** What was written to a log until it had this length. */
export interface Slice {
  length: number
  /** As JSON. */
  values: string[]
}

/**
 * What was written to a log between two lengths, in slices. That a place was left for another is passed
 * over: what stands in the new one comes right after. Ends early when blocks do not come.
 *
 * @throws CLOSED if none comes at all
 */
export async function* readHistory(
  core: Hypercore,
  from: number,
  to: number,
  options: HistoryOptions
): AsyncGenerator<Slice> {
  // The first block says that this is a bee, and nothing else.
  if (from === 0) yield { length: 1, values: [] }
  for (let start = Math.max(from, 1); start < to; ) {
    const end = Math.min(start + SLICE, to)
    const gets: Promise<Buffer | null>[] = []
    for (let i = start; i < end; i++) gets.push(core.get(i, options))
    const blocks = untilMissing(await Promise.allSettled(gets))
    if (blocks.length === 0) {
      throw SeaportError.CLOSED(`block ${start} of a log does not come`)
    }
    yield {
      length: start + blocks.length,
      values: blocks.map(writtenIn).filter((json) => json !== null)
    }
    if (start + blocks.length < end) return
    start = end
  }
}

function untilMissing(results: PromiseSettledResult<Buffer | null>[]): Buffer[] {
  const blocks: Buffer[] = []
  for (const result of results) {
    if (result.status === 'rejected' || result.value === null) break
    blocks.push(result.value)
  }
  return blocks
}

/**
 * The value that a block wrote; null if it only removed a place; text that is no JSON if the block is malformed.
 */
function writtenIn(block: Buffer): string | null {
  try {
    const { value } = beeNode.decode(block)
    return value?.toString() ?? null
  } catch {
    return ''
  }
}
