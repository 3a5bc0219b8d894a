import { paceOf, type SecretStream } from '../core/holepunch.js'
import { PACKET_BYTES } from './frames.js'

export interface BacklogOptions {
  connection: SecretStream
  /** There is room again. */
  ondrain: () => void
}

/** For how long what waits may keep the line busy, in ms: time enough to hear of arrivals and hand on more. */
const WAIT_MS = 100
/** What may wait on a line that is slower than that, or not measured yet. */
const MIN_WAITING_BYTES = 32 * 1024
/** In how many pieces it leaves, so that the first has arrived long before the last. */
const PIECES = 4

/**
 * What was handed to a connection and has not arrived. What is under way at a time is for UDX to say; the
 * rest waits in this process, and with it whatever comes next: a new stream, a sign of life. UDX would
 * take 256 KiB more than it can send, on a line of 1 Mbit/s the work of 2 s. Here it is given what it
 * can send in the next 100 ms, by its own measurement.
 *
 * TCP tells nothing of what has arrived, and the kernel sizes its buffer: there is always room.
 */
export class Backlog {
  readonly #connection: SecretStream
  readonly #ondrain: () => void
  /** In bytes. What arrived counts until all of the piece has that it left with. */
  #size = 0
  /** Of it, what was handed on since the last piece that is waited for. */
  #unmarked = 0
  #isAwaited = false

  constructor({ connection, ondrain }: BacklogOptions) {
    this.#connection = connection
    this.#ondrain = ondrain
  }

  /** How many bytes may be handed on now. If there are none, calls back once there are. */
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

  /** Never rejects. */
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
