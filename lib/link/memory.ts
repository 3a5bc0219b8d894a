import { totalmem } from 'node:os'

const MIB = 1024 * 1024
/** The part of the machine's memory that may be filled before each stream gets less. */
const SHARE_OF_MACHINE = 1 / 128
const MIN_PLENTY_BYTES = 8 * MIB
const MAX_PLENTY_BYTES = 32 * MIB
/** What one stream takes before its turn comes, so that small writes and the end leave together. */
const AMPLE_BYTES = 64 * 1024
/** The same when much waits. Every stream gets that, so that those whose readers read go on. */
const SCANT_BYTES = 16 * 1024

/**
 * What waits for readers, over all streams of this process. A reader that stalls costs what its stream has taken from
 * the backend and cannot send; a thousand of them would fill the memory. So the more waits, the less each stream takes.
 */
export class StreamMemory {
  /** In bytes. */
  waiting = 0
  readonly #plenty: number

  constructor(plenty: number) {
    this.#plenty = plenty
  }

  /** So much waits that each stream should take little. */
  get isTight(): boolean {
    return this.waiting > this.#plenty
  }

  /** So much waits that sockets should be read in small pieces. */
  get isScarce(): boolean {
    return this.waiting > 2 * this.#plenty
  }

  /** What one stream may take before it has sent some of it, in bytes. */
  get share(): number {
    return this.isTight ? SCANT_BYTES : AMPLE_BYTES
  }
}

export const MEMORY = new StreamMemory(
  Math.max(MIN_PLENTY_BYTES, Math.min(MAX_PLENTY_BYTES, totalmem() * SHARE_OF_MACHINE))
)
