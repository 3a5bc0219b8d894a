import { paceOf, type SecretStream } from '../core/holepunch.js'
import { PACKET_BYTES } from './frames.js'

export interface BacklogOptions {
  connection: SecretStream
  /** There is room again. */
  ondrain: () => void
}

/** The bytes that wait may keep the line busy for so many ms. That leaves time to hear of arrivals and to hand on more. */
const WAIT_MS = 100
/** What may wait in any case: on a slow line, and on one that was not measured yet. */
const MIN_WAITING_BYTES = 32 * 1024
/** It is handed on in so many pieces, so that the first has arrived long before the last. */
const PIECES = 4

/**
 * Counts the bytes that were handed to a connection and have not arrived, and says how many more may be handed on.
 *
 * Part of them is on the line, as much as UDX sees fit. The rest waits in this process, and whatever is sent next
 * waits behind it: a new stream, a sign of life. UDX would take 256 KiB more than it can send, which is 2 s of work
 * on a line of 1 Mbit/s. So it is given only what it can send in the next 100 ms, by its own measurement.
 *
 * TCP does not tell what has arrived, and the kernel sizes its buffer itself. So there is always room.
 */
export class Backlog {
  readonly #connection: SecretStream
  readonly #ondrain: () => void
  /** In bytes. A piece counts in full until all of it has arrived. */
  #size = 0
  /** The part of `#size` that was handed on since the last piece whose arrival is waited for. */
  #unmarked = 0
  #isAwaited = false

  constructor({ connection, ondrain }: BacklogOptions) {
    this.#connection = connection
    this.#ondrain = ondrain
  }

  /** How many bytes may be handed on now. If it returns 0, `ondrain` is called once there is room. */
  askForRoom(): number {
    const pace = paceOf(this.#connection)
    if (!pace) return PACKET_BYTES
    const room = Math.max(MIN_WAITING_BYTES, (pace.bandwidth * WAIT_MS) / 1000)
    const piece = Math.min(PACKET_BYTES, Math.floor(room / PIECES))
    this.#isAwaited = this.#size - pace.inflight + piece > room
    return this.#isAwaited ? 0 : piece
  }

  /** So many bytes were handed on. */
  add(byteLength: number) {
    if (!paceOf(this.#connection)) return
    this.#size += byteLength
    this.#unmarked += byteLength
    if (this.#unmarked >= MIN_WAITING_BYTES / PIECES) void this.#mark()
  }

  /** Waits until all that was handed on until now has arrived. Never rejects. */
  async #mark() {
    const bytes = this.#unmarked
    this.#unmarked = 0
    await this.#connection.flush()
    this.#size -= bytes
    if (!this.#isAwaited) return
    this.#isAwaited = false
    this.#ondrain()
  }
}
