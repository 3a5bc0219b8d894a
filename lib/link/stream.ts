import type { Place } from '../core/bag.js'
import { SeaportError } from '../core/errors.js'
import { LinkDuplex } from './duplex.js'
import {
  BLOCKED,
  CREDIT,
  costOf,
  DATA,
  END,
  FRAME_COST,
  MAX_CREDIT,
  type OutgoingFrame
} from './frames.js'
import { Held, type Holder, type StreamMemory } from './memory.js'
import type { Path } from './path.js'
import type { Sink, SinkSource } from './sink.js'
import type { SocketDuplex } from './socket-duplex.js'
import type { Window } from './window.js'

/** What a stream needs of those who carry it. */
export interface Carrier {
  readonly path: Path
  readonly memory: StreamMemory
  /** The stream has something to send, for which somebody may wait, and is to have its turn soon. */
  schedule(stream: LinkStream, isUrgent?: boolean): void
  /** The stream was cut here, with this code for the other side. */
  cut(stream: LinkStream, code: string): void
  /** Both sides have ended, no more frames will come or go. */
  finish(stream: LinkStream): void
}

export interface LinkStreamOptions {
  id: number
  purpose: string
  carrier: Carrier
  /** What may be sent to the other side. */
  credit: number
  /** What the other side may send. */
  window: Window
}

/**
 * Received pieces that are smaller are copied if they are kept. A slice keeps the whole buffer alive that was read from the socket, up
 * to 256 KiB. So many small pieces for a reader that stalls would hold far more memory than the window allows.
 */
const COPY_BELOW_BYTES = 32 * 1024
/** So many pieces are left out of an array at a time, because that may move all the others. */
const MAX_TAKEN = 1024
const NO_BYTES = Buffer.alloc(0)

/**
 * One byte stream on a link, which may be half-open. Made by `Streams`. It is as light as can be, since
 * there may be one for each request: `join` connects it with a socket, and `toDuplex` makes of it what
 * Node's modules take.
 */
export class LinkStream implements SinkSource, Holder {
  readonly id: number
  /** What it was opened for. */
  readonly purpose: string
  /** Whether it waits for its turn. Only the carrier sets it. */
  isScheduled = false
  readonly #carrier: Carrier
  readonly #window: Window
  readonly #place: Place<Holder>
  #sink: Sink | null = null

  #credit: number
  #outgoing: Buffer[] = []
  readonly #unsent: Held
  #needsDrain = false
  #onended: (() => void) | null = null
  #isEnding = false
  #hasEnded = false
  #hasSaidBlocked = false

  #incoming: Buffer[] = []
  /** How many of them were handed on, and are about to be left out. */
  #taken = 0
  readonly #unread: Held
  #isFlowing = false
  #remoteHasEnded = false
  #hasToldEnd = false

  #isClosed = false
  #reason: SeaportError | null = null
  #onclosed: ((reason: SeaportError | null) => void) | null = null

  constructor({ id, purpose, carrier, credit, window }: LinkStreamOptions) {
    this.id = id
    this.purpose = purpose
    this.#carrier = carrier
    this.#credit = credit
    this.#window = window
    this.#unsent = new Held(carrier.memory, { isUnread: false })
    this.#unread = new Held(carrier.memory, { isUnread: true })
    this.#place = carrier.memory.add(this)
  }

  /** What carries its link. */
  get path(): Path {
    return this.#carrier.path
  }

  /** What the other side may still send. */
  get window(): number {
    return this.#window.open
  }

  /** Bytes that were written and have not left. */
  get unsent(): number {
    return this.#unsent.bytes
  }

  stalledSince(time: number): number {
    return this.#unsent.stalledSince(time) + this.#unread.stalledSince(time)
  }

  // What its user does.

  /** Sets who takes what comes, from `resume` on. If the stream is closed already, the sink hears that soon. */
  attach(sink: Sink) {
    this.#sink = sink
    if (this.#isClosed) queueMicrotask(() => sink.onclose(this.#reason))
    else this.#deliver()
  }

  /** Makes a Duplex of it, which is attached as its sink. */
  toDuplex(): SocketDuplex {
    return new LinkDuplex(this)
  }

  /**
   * Takes the bytes to send. False asks to wait for `ondrain`.
   *
   * @param isUrgent somebody waits for them, so that they are not to wait for what comes next
   */
  write(chunk: Buffer, isUrgent?: boolean): boolean {
    if (this.#isClosed || this.#isEnding) return false
    if (chunk.byteLength > 0) {
      this.#outgoing.push(chunk)
      this.#unsent.put(chunk.byteLength)
      this.#carrier.schedule(this, isUrgent)
    }
    this.#needsDrain = this.#unsent.bytes >= this.#carrier.memory.share
    return !this.#needsDrain
  }

  /** Says that there is no more to send; calls back when that has left. */
  end(onended?: () => void) {
    if (this.#isClosed || this.#isEnding) return
    this.#isEnding = true
    this.#onended = onended ?? null
    this.#carrier.schedule(this)
  }

  /** Takes what comes, until `ondata` says no. */
  resume() {
    if (this.#isFlowing || this.#isClosed) return
    this.#isFlowing = true
    this.#deliver()
  }

  /** Cuts it, so that the other side can tell that from an end. */
  destroy(error?: Error | null) {
    if (this.#isClosed) return
    if (!this.#isFinished()) {
      this.#carrier.cut(this, error instanceof SeaportError ? error.code : 'STREAM_RESET')
    }
    this.#close(
      error instanceof SeaportError ? error : SeaportError.STREAM_RESET('it was cut here')
    )
  }

  /** Calls back once it is closed, with what cut it, or null if both sides have ended. */
  whenClosed(callback: (reason: SeaportError | null) => void) {
    const before = this.#onclosed
    if (this.#isClosed) callback(this.#reason)
    else if (!before) this.#onclosed = callback
    else {
      this.#onclosed = (reason) => {
        before(reason)
        callback(reason)
      }
    }
  }

  // What the link brings. A `false` says that the other side broke the protocol.

  receiveData(bytes: Buffer): boolean {
    if (this.#remoteHasEnded || !this.#window.receive(bytes.byteLength)) return false
    const sink = this.#sink
    if (sink && this.#isFlowing && this.#incoming.length === 0) {
      this.#hand(sink, sink.isCopying ? bytes : kept(bytes))
    } else {
      this.#incoming.push(kept(bytes))
      this.#unread.put(bytes.byteLength)
    }
    this.#deliver()
    return true
  }

  receiveCredit(amount: number): boolean {
    this.#credit += amount
    this.#hasSaidBlocked = false
    if (this.#unsent.bytes > 0) this.#carrier.schedule(this)
    return this.#credit <= MAX_CREDIT
  }

  /** The sender waits for credit. */
  receiveBlocked() {
    this.#window.grow()
    if (this.#window.isGrantDue) this.#carrier.schedule(this)
  }

  receiveEnd(): boolean {
    if (this.#remoteHasEnded) return false
    this.#remoteHasEnded = true
    this.#deliver()
    this.#finishMaybe()
    return true
  }

  /** The other side cut it, or the link is gone. */
  receiveReset(reason: SeaportError) {
    this.#close(reason)
  }

  /**
   * The stream's turn: adds what it has to send, with at most so many bytes of data.
   *
   * @returns the bytes of data that it added
   */
  takeTurn(frames: OutgoingFrame[], quantum: number): number {
    if (this.#window.isGrantDue && !this.#remoteHasEnded) {
      frames.push({ type: CREDIT, id: this.id, amount: this.#window.grant() })
    }
    const byteLength = Math.min(quantum, this.#unsent.bytes, this.#credit - FRAME_COST)
    if (byteLength > 0) {
      frames.push({ type: DATA, id: this.id, parts: this.#take(byteLength), byteLength })
      this.#credit -= costOf(byteLength)
    }
    if (this.#unsent.bytes > 0 && this.#isOutOfCredit() && !this.#hasSaidBlocked) {
      this.#hasSaidBlocked = true
      this.#releaseSent()
      frames.push({ type: BLOCKED, id: this.id })
    }
    if (this.#isEnding && this.#unsent.bytes === 0 && !this.#hasEnded) {
      this.#hasEnded = true
      frames.push({ type: END, id: this.id })
      this.#onended?.()
      this.#finishMaybe()
    }
    return Math.max(0, byteLength)
  }

  /** Whether another turn now would send anything. */
  get isReady(): boolean {
    return this.#unsent.bytes > 0 && !this.#isOutOfCredit()
  }

  #take(byteLength: number): Buffer[] {
    let whole = 0
    let missing = byteLength
    for (const { byteLength } of this.#outgoing) {
      if (byteLength > missing) break
      missing -= byteLength
      whole++
    }
    // They go at once: each that is taken alone may move all the others, and there may be a hundred thousand.
    const parts = this.#outgoing.splice(0, whole)
    if (missing > 0) {
      const chunk = this.#outgoing[0] as Buffer
      parts.push(chunk.subarray(0, missing))
      this.#outgoing[0] = chunk.subarray(missing)
    }
    this.#unsent.take(byteLength)
    if (this.#needsDrain && this.#unsent.bytes < this.#carrier.memory.share) {
      this.#needsDrain = false
      this.#sink?.ondrain()
    }
    return parts
  }

  /** What is left of a piece keeps all of it in memory, up to 256 KiB, and may now wait for long. */
  #releaseSent() {
    const [rest] = this.#outgoing
    if (rest && rest.byteLength < rest.buffer.byteLength / 2) this.#outgoing[0] = Buffer.from(rest)
  }

  #deliver() {
    const sink = this.#sink
    if (!sink) return
    while (this.#isFlowing && this.#incoming.length > 0) {
      const bytes = this.#takeIncoming()
      this.#unread.take(bytes.byteLength)
      this.#hand(sink, bytes)
    }
    if (this.#isClosed) return
    if (!this.#remoteHasEnded) {
      if (this.#window.isGrantDue) this.#carrier.schedule(this)
    } else if (this.#incoming.length === 0 && !this.#hasToldEnd) {
      this.#hasToldEnd = true
      sink.onend()
      this.#finishMaybe()
    }
  }

  #takeIncoming(): Buffer {
    const bytes = this.#incoming[this.#taken] as Buffer
    this.#incoming[this.#taken++] = NO_BYTES
    const isLast = this.#taken === this.#incoming.length
    if (isLast || this.#taken === MAX_TAKEN) {
      this.#incoming.splice(0, this.#taken)
      this.#taken = 0
    }
    return bytes
  }

  #hand(sink: Sink, bytes: Buffer) {
    this.#window.read(bytes.byteLength)
    this.#isFlowing = sink.ondata(bytes) && !this.#isClosed
  }

  /** The carrier forgets it when both sides have ended. It is closed once all that came was read, too. */
  #finishMaybe() {
    if (!this.#isFinished() || this.#isClosed) return
    this.#carrier.finish(this)
    if (this.#hasToldEnd) this.#close(null)
  }

  #close(reason: SeaportError | null) {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#isFlowing = false
    this.#reason = reason
    this.#outgoing.length = 0
    this.#unsent.clear()
    this.#incoming.length = 0
    this.#taken = 0
    this.#unread.clear()
    this.#carrier.memory.remove(this.#place)
    this.#window.release()
    this.#onclosed?.(reason)
    this.#sink?.onclose(reason)
  }

  #isFinished(): boolean {
    return this.#hasEnded && this.#remoteHasEnded
  }

  #isOutOfCredit(): boolean {
    return this.#credit <= FRAME_COST
  }
}

function kept(bytes: Buffer): Buffer {
  return bytes.byteLength < COPY_BELOW_BYTES ? Buffer.from(bytes) : bytes
}
