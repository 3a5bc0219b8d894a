import { totalmem } from 'node:os'
import { SeaportError } from '../core/errors.js'

const MIB = 1024 * 1024
const SHARE_OF_MACHINE = 1 / 8
/** The least that is allowed. One sender may have half of it, into which one body of the largest size always fits. */
const MIN_BYTES = 160 * MIB
const MAX_BYTES = 512 * MIB

/** Counts the bytes of large bodies that are being handled, so that many at once cannot fill the memory. */
export class BodyMemory {
  readonly #max: number
  readonly #bySender = new Map<string, number>()
  #held = 0

  /** @param max in bytes, over all senders. One alone may have half of it. */
  constructor(max: number) {
    this.#max = max
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held
  }

  /** Begins to count the bodies of one call of a sender. */
  open(sender: string): HeldBody {
    return new HeldBody(this, sender)
  }

  /** @internal @throws BUSY; nothing is counted then */
  take(sender: string, bytes: number) {
    const own = (this.#bySender.get(sender) ?? 0) + bytes
    if (own > this.#max / 2 || this.#held + bytes > this.#max) {
      throw SeaportError.BUSY(
        `large bodies of ${Math.round(this.#held / MIB)} MiB are being handled here already`
      ).withExecuted('no')
    }
    this.#bySender.set(sender, own)
    this.#held += bytes
  }

  /** @internal */
  give(sender: string, bytes: number) {
    this.#held -= bytes
    const own = (this.#bySender.get(sender) ?? 0) - bytes
    if (own > 0) this.#bySender.set(sender, own)
    else this.#bySender.delete(sender)
  }
}

/** The bytes that are held for one call. */
export class HeldBody {
  readonly #memory: BodyMemory
  readonly #sender: string
  #bytes = 0
  #isReleased = false

  /** @internal */
  constructor(memory: BodyMemory, sender: string) {
    this.#memory = memory
    this.#sender = sender
  }

  /** @throws BUSY if there is no room for so many bytes more */
  take(bytes: number) {
    if (this.#isReleased) return
    this.#memory.take(this.#sender, bytes)
    this.#bytes += bytes
  }

  /** Nothing is held any more. */
  release() {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#memory.give(this.#sender, this.#bytes)
  }
}

/** The count for this whole process. */
export const BODY_MEMORY = new BodyMemory(
  Math.max(MIN_BYTES, Math.min(MAX_BYTES, totalmem() * SHARE_OF_MACHINE))
)
