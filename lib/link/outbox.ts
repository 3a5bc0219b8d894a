import { type OutgoingFrame, PACKET_BYTES, REFUSED, sizeOf } from './frames.js'
import type { LinkStream } from './stream.js'

export interface OutboxOptions {
  /** Sends a packet; false if no more should be sent until `drain`. */
  send: (frames: OutgoingFrame[]) => boolean
  /** How many bytes of data may be sent now. If it says 0, `flush` must be called once there is room. */
  askForRoom: () => number
  /** Too many answers wait: the other side asks, and does not read. */
  onoverflow: () => void
}

/** How much one stream may send in its turn while other streams wait. */
const QUANTUM_BYTES = 16 * 1024
/** An upper bound for what a turn adds to a packet beside its data, and for any frame but a refusal. */
const TURN_OVERHEAD_BYTES = 64
/** With so many frames a packet is sent without waiting for more: its own cost, at both ends, is spread widely enough. */
const FRAMES_WORTH_A_PACKET = 16
/** So many urgent frames leave together before the turn of the event loop ends, so that both ends work at once. */
const URGENT_TOGETHER = 16
/** Urgent frames that come one after the other are closer than this, in ms: to send each alone takes as long. */
const APART_MS = 0.02
/** Full packets that may leave before the turn of the event loop ends: about 2 ms of work, for which all else waits. */
const MAX_EARLY_PACKETS = 16
/** A frame waits at most this long for others to leave with it, in ms. */
const MAX_PATIENCE_MS = 0.15
/** Frames other than data that may wait for a connection that is stuck. With more, the other side does not read. */
const MAX_WAITING_FRAMES = 16_384

/**
 * Decides what leaves next on a link.
 *
 * Frames that come in one turn of the event loop leave in one packet. If the next turn brings more, they wait for
 * that one too, up to 0.15 ms: a busy loop takes in one new connection a turn. Streams that have data send in
 * turns. Nothing is handed to the connection while it is not drained, and no data while much of it waits there (see
 * `Backlog`), so that a new stream gets through at once.
 *
 * A stream that fills a packet by itself does not wait. It sends the packet while the bytes are in the processor's
 * cache, and its socket is read again before all others are looked at.
 */
export class Outbox {
  readonly #send: OutboxOptions['send']
  readonly #askForRoom: OutboxOptions['askForRoom']
  readonly #onoverflow: () => void
  readonly #control: OutgoingFrame[] = []
  /** Streams that have something to send, the next one first. `isScheduled` keeps each from standing here twice. */
  readonly #ready: LinkStream[] = []
  #isScheduled = false
  /** How often something came to be sent: until now, and until the end of the last turn. */
  #arrivals = 0
  #arrivalsBefore = 0
  #waitsSince = 0
  /** Urgent frames that came since the end of the last turn and did not leave alone, and those of the turn before. */
  #urgent = 0
  #urgentBefore = 0
  /** When the last one came. */
  #urgentAt = -Infinity
  /** Full packets that left since the end of the last turn. */
  #early = 0
  /** Whether a stream has so much to send that waiting for others gains nothing. */
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

  /**
   * Gives the stream its turn soon.
   *
   * @param isUrgent somebody waits for what it has to send. It leaves at once if it is likely to be alone, and else
   *   together with what else is urgent in this turn of the event loop.
   */
  schedule(stream: LinkStream, isUrgent = false) {
    if (this.#isClosed) return
    if (!stream.isScheduled) this.#add(stream)
    if (stream.unsent >= QUANTUM_BYTES) this.#hasBulk = true
    if (this.#mayLeaveEarly(stream)) {
      this.#early++
      this.flush()
    } else if (isUrgent && this.#isTimeForUrgent()) {
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
    // A stream may be written to while it has its turn. What is written then must not overtake what is being sent.
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
        // If the end of a turn is awaited already, that was for frames which have just left.
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

  /** The turn is over: all sockets that had something to read were read. */
  readonly #onturn = () => {
    this.#early = 0
    const isUrgent = this.#urgent > 0
    this.#urgentBefore = this.#urgent
    this.#urgent = 0
    const hasBroughtMore = this.#arrivals > this.#arrivalsBefore
    this.#arrivalsBefore = this.#arrivals
    if (hasBroughtMore && !isUrgent && this.#isWorthWaiting()) {
      setImmediate(this.#onturn)
      return
    }
    this.#isScheduled = false
    this.flush()
  }

  /** Whether the stream fills a packet and no other stream waits for its turn. */
  #mayLeaveEarly({ unsent }: LinkStream): boolean {
    return unsent >= PACKET_BYTES && this.#ready.length === 1 && this.#early < MAX_EARLY_PACKETS
  }

  /** Whether an urgent frame is alone, or so many have come that they may leave. */
  #isTimeForUrgent(): boolean {
    const now = performance.now()
    const isApart = now - this.#urgentAt >= APART_MS
    this.#urgentAt = now
    if (isApart && this.#urgent === 0 && this.#urgentBefore <= 1) return true
    this.#urgent++
    return this.#urgent % URGENT_TOGETHER === 0
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
    // `takeTurn` may schedule streams again. They stand behind all others, and this loop reaches them too.
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

  /**
   * Whether all that is left is the rest of one stream's bytes. A read from a socket brings a little more than fits
   * in a packet; the rest leaves together with what is read next.
   */
  #isTailLeft(): boolean {
    const [stream] = this.#ready
    return this.#ready.length === 1 && (stream as LinkStream).unsent < QUANTUM_BYTES
  }

  #add(stream: LinkStream) {
    stream.isScheduled = true
    this.#ready.push(stream)
  }
}
