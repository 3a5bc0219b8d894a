import type { Socket } from 'node:net'

/** How long a client that sends no more is waited for while nothing is written to it, in ms. */
const PATIENCE_MS = 1000

/**
 * Tells whether a client has left. One that sends no more (a FIN) may still read, or it may have left: the two look the
 * same until something is written, to which the one that left answers with a reset. So it is taken for gone when
 * nothing was written for a while.
 */
export class HalfOpen {
  readonly #socket: Pick<Socket, 'readableEnded' | 'bytesWritten' | 'writableLength'>
  #written = -1
  /** When something was written last, as seen at a tick, in ms. */
  #since = 0

  constructor(socket: Pick<Socket, 'readableEnded' | 'bytesWritten' | 'writableLength'>) {
    this.#socket = socket
  }

  /** Called from time to time. */
  hasLeft(now: number): boolean {
    const { readableEnded, bytesWritten, writableLength } = this.#socket
    if (!readableEnded) return false
    // A client that left answers what is written to it with a reset, so while something is written it is there.
    if (bytesWritten !== this.#written || writableLength > 0) {
      this.#written = bytesWritten
      this.#since = now
    }
    return now - this.#since > PATIENCE_MS
  }
}
