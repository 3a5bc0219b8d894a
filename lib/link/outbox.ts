import { type OutgoingFrame, PACKET_BYTES, REFUSED, sizeOf } from './frames.js'
import type { LinkStream } from './stream.js'

export interface OutboxOptions {
  /** Sends a packet; false if no more should be sent until `drain`. */
  send: (frames: OutgoingFrame[]) => boolean
  /** How many bytes of data may be sent now. After none, `flush` is to be called once there are some. */
  askForRoom: () => number
  /** The other side does not take what we answer. */
  onoverflow: () => void
}

/** What one stream sends before the next has its turn, if others wait. */
const QUANTUM_BYTES = 16 * 1024
/** More than what a turn adds to a packet beside its data, and more than any frame takes but a refusal. */
const TURN_OVERHEAD_BYTES = 64
/** A packet costs its two ends as much as the streams of several frames do. With as many, it is worth it. */
const FRAMES_WORTH_A_PACKET = 16
/** What leaves ahead of the turn's end: about 2 ms of work, for which everything else waits. */
const MAX_EARLY_PACKETS = 16
/** No frame waits longer for others to come, in ms. */
const MAX_PATIENCE_MS = 0.15
/** Answers that wait for a connection that is stuck. Beyond, the other side asks without listening. */
const MAX_WAITING_FRAMES = 16_384

/**
 * Decides what leaves next on a link. All that is to be sent in one turn of the event loop leaves
 * together, and with the next turn's, for as long as each brings more: a loop that is busy takes in one new
 * connection a turn. The streams that have data take turns; and nothing is handed on while the connection
 * below is not drained, nor data while much of it waits there (see `Backlog`), so that a new stream gets
 * through at once. What is much by itself waits for nothing: a stream that fills a packet sends it while what
 * was read is in the processor's cache, and its socket is read on without another look at all others.
 */
export class Outbox {
  readonly #send: OutboxOptions['send']
  readonly #askForRoom: OutboxOptions['askForRoom']
  readonly #onoverflow: () => void
  readonly #control: OutgoingFrame[] = []
  /** Streams that have something to send, the next first; each once, which it says itself. */
  readonly #ready: LinkStream[] = []
  #isScheduled = false
  /** How often something came, until now and until the last turn was over. */
  #arrivals = 0
  #arrivalsBefore = 0
  #waitsSince = 0
  /** Packets that left since the last turn was over. */
  #early = 0
  /** Whether a stream has so much to send that nothing is gained by waiting for others. */
  #hasBulk = false
  #isFlushing = false
  #isDrained = true
  #isClosed = false

  constructor({ send, askForRoom, onoverflow }: OutboxOptions) {
    this.#send = send
    this.#askForRoom = askForRoom
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
    if (!stream.isScheduled) this.#add(stream)
    if (stream.unsent >= QUANTUM_BYTES) this.#hasBulk = true
    if (this.#mayLeaveEarly(stream)) {
      this.#early++
      this.flush()
    } else {
      this.#flushSoon()
    }
  }

  forget(stream: LinkStream) {
    if (!stream.isScheduled) return
    stream.isScheduled = false
    this.#ready.splice(this.#ready.indexOf(stream), 1)
  }

  /** The connection takes data again. */
  drain() {
    this.#isDrained = true
    if (this.#isTailLeft()) this.#flushSoon()
    else this.flush()
  }

  /** Sends what may be sent. */
  flush() {
    // A stream that is written to in its turn has more to send, but not ahead of what it had.
    if (this.#isFlushing) return
    this.#isFlushing = true
    try {
      this.#sendAll()
    } finally {
      this.#isFlushing = false
    }
  }

  close() {
    this.#isClosed = true
    this.#control.length = 0
    this.#ready.length = 0
  }

  #sendAll() {
    this.#hasBulk = false
    while (this.#isDrained && !this.#isClosed) {
      const frames = this.#compose()
      if (frames.length === 0) return
      this.#isDrained = this.#send(frames)
      if (this.#isTailLeft()) {
        // A turn that is awaited already was for what has left.
        this.#waitsSince = performance.now()
        return this.#flushSoon()
      }
    }
  }

  #flushSoon() {
    this.#arrivals++
    if (this.#isScheduled || !this.#isDrained) return
    this.#isScheduled = true
    this.#waitsSince = performance.now()
    setImmediate(this.#onturn)
  }

  /** All sockets that had something to read were read. */
  readonly #onturn = () => {
    this.#early = 0
    const hasBroughtMore = this.#arrivals > this.#arrivalsBefore
    this.#arrivalsBefore = this.#arrivals
    if (hasBroughtMore && this.#isWorthWaiting()) {
      setImmediate(this.#onturn)
      return
    }
    this.#isScheduled = false
    this.flush()
  }

  /** Whether it fills a packet, and nobody else waits for a turn. */
  #mayLeaveEarly({ unsent }: LinkStream): boolean {
    return unsent >= PACKET_BYTES && this.#ready.length === 1 && this.#early < MAX_EARLY_PACKETS
  }

  #isWorthWaiting(): boolean {
    return (
      !this.#hasBulk &&
      this.#control.length + this.#ready.length < FRAMES_WORTH_A_PACKET &&
      performance.now() - this.#waitsSince < MAX_PATIENCE_MS
    )
  }

  #compose(): OutgoingFrame[] {
    const frames: OutgoingFrame[] = []
    let room = PACKET_BYTES
    let taken = 0
    while (taken < this.#control.length && room > 0) {
      const frame = this.#control[taken++] as OutgoingFrame
      frames.push(frame)
      room -= frame.type === REFUSED ? sizeOf(frame) : TURN_OVERHEAD_BYTES
    }
    if (taken === this.#control.length) this.#control.length = 0
    else this.#control.splice(0, taken)

    if (this.#ready.length > 0) room = Math.min(room, this.#askForRoom())
    // A stream that is added while this runs is reached in the same pass, behind all others.
    while (this.#ready.length > 0 && room > TURN_OVERHEAD_BYTES) {
      room -= TURN_OVERHEAD_BYTES
      const isAlone = this.#ready.length === 1
      const stream = this.#ready.shift() as LinkStream
      stream.isScheduled = false
      room -= stream.takeTurn(frames, isAlone ? room : Math.min(room, QUANTUM_BYTES))
      if (stream.isReady && !stream.isScheduled) this.#add(stream)
    }
    return frames
  }

  /** What is read from a socket is a little more than fits in a packet. The rest leaves with what is read next. */
  #isTailLeft(): boolean {
    const [stream] = this.#ready
    return this.#ready.length === 1 && (stream as LinkStream).unsent < QUANTUM_BYTES
  }

  #add(stream: LinkStream) {
    stream.isScheduled = true
    this.#ready.push(stream)
  }
}
