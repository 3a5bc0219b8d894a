import { type OutgoingFrame, PACKET_BYTES, sizeOf } from './frames.js'
import type { LinkStream } from './stream.js'

export interface OutboxOptions {
  /** Sends a packet; false if no more should be sent until `drain`. */
  send: (frames: OutgoingFrame[]) => boolean
  /** The other side does not take what we answer. */
  onoverflow: () => void
}

/** What one stream sends before the next has its turn, if others wait. */
const QUANTUM_BYTES = 16 * 1024
/** More than what a turn adds to a packet beside its data. */
const TURN_OVERHEAD_BYTES = 64
/** Answers that wait for a connection that is stuck. Beyond, the other side asks without listening. */
const MAX_WAITING_FRAMES = 16_384

/**
 * Decides what leaves next on a link. All that is to be sent in one turn of the event loop leaves
 * together; the streams that have data take turns; and nothing is handed on while the connection
 * below is not drained, so that what waits there stays small and a new stream gets through at once.
 */
export class Outbox {
  readonly #send: OutboxOptions['send']
  readonly #onoverflow: () => void
  readonly #control: OutgoingFrame[] = []
  /** Streams that have something to send, the next first. */
  readonly #ready = new Set<LinkStream>()
  #isScheduled = false
  #isDrained = true
  #isClosed = false

  constructor({ send, onoverflow }: OutboxOptions) {
    this.#send = send
    this.#onoverflow = onoverflow
  }

  /** Sends a frame ahead of all data. */
  push(frame: OutgoingFrame) {
    if (this.#isClosed) return
    if (this.#control.length >= MAX_WAITING_FRAMES) return this.#onoverflow()
    this.#control.push(frame)
    this.#flushSoon()
  }

  /** Gives the stream its turn soon. */
  schedule(stream: LinkStream) {
    if (this.#isClosed) return
    this.#ready.add(stream)
    this.#flushSoon()
  }

  forget(stream: LinkStream) {
    this.#ready.delete(stream)
  }

  /** The connection takes data again. */
  drain() {
    this.#isDrained = true
    this.#flush()
  }

  close() {
    this.#isClosed = true
    this.#control.length = 0
    this.#ready.clear()
  }

  /** `setImmediate` runs when all sockets that had something to read were read. */
  #flushSoon() {
    if (this.#isScheduled || !this.#isDrained) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush() {
    while (this.#isDrained && !this.#isClosed) {
      const frames = this.#compose()
      if (frames.length === 0) return
      this.#isDrained = this.#send(frames)
    }
  }

  #compose(): OutgoingFrame[] {
    const frames: OutgoingFrame[] = []
    let room = PACKET_BYTES
    let taken = 0
    while (taken < this.#control.length && room > 0) {
      const frame = this.#control[taken++] as OutgoingFrame
      frames.push(frame)
      room -= sizeOf(frame)
    }
    this.#control.splice(0, taken)

    // A stream that is added while this runs is reached in the same pass, behind all others.
    for (const stream of this.#ready) {
      if (room <= TURN_OVERHEAD_BYTES) break
      room -= TURN_OVERHEAD_BYTES
      const isAlone = this.#ready.size === 1
      this.#ready.delete(stream)
      room -= stream.takeTurn(frames, isAlone ? room : Math.min(room, QUANTUM_BYTES))
      if (stream.isReady) this.#ready.add(stream)
    }
    return frames
  }
}
