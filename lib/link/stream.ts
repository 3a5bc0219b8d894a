import { Duplex } from 'node:stream'
import { SeaportError } from '../errors.js'
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
import type { Window } from './window.js'

/** What a stream needs of those who carry it. */
export interface Carrier {
  /** The stream has something to send: give it its turn soon. */
  schedule(stream: LinkStream): void
  /** The stream was cut here, with this code for the other side. */
  cut(stream: LinkStream, code: string): void
  /** Both sides have ended, no more frames will come or go. */
  finish(stream: LinkStream): void
}

export interface LinkStreamOptions {
  id: number
  carrier: Carrier
  /** What may be sent to the other side. */
  credit: number
  /** What the other side may send. */
  window: Window
}

/** Written ahead of the stream's turn, so that small writes and the end leave together. */
const SEND_BUFFER_BYTES = 32 * 1024
/** What Node buffers on top of that, each way. Small, for there may be thousands of streams. */
const BUFFER_BYTES = 16 * 1024
/**
 * Smaller pieces are copied: a slice keeps all of the packet that it came in, and whoever sent many
 * tiny pieces to a reader that stalls would hold far more memory here than its window says.
 */
const COPY_BELOW_BYTES = 8 * 1024

/** One byte stream on a link: a Duplex that may be half-open. Made by `Streams`. */
export class LinkStream extends Duplex {
  readonly id: number
  readonly #carrier: Carrier
  readonly #window: Window

  #credit: number
  #outgoing: Buffer[] = []
  #outgoingBytes = 0
  #onsent: (() => void) | null = null
  #onend: (() => void) | null = null
  #isEnding = false
  #hasEnded = false
  #hasSaidBlocked = false

  readonly #incoming: Buffer[] = []
  #isWanted = false
  #remoteHasEnded = false

  constructor({ id, carrier, credit, window }: LinkStreamOptions) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: BUFFER_BYTES,
      writableHighWaterMark: BUFFER_BYTES
    })
    this.id = id
    this.#carrier = carrier
    this.#credit = credit
    this.#window = window
    // A stream may be cut before its owner has it in hand, and that must not end the process. Whoever
    // listens hears it all the same; whoever does not sees `close`.
    this.on('error', () => {})
  }

  /** What the other side may still send. */
  get window(): number {
    return this.#window.open
  }

  // What the link brings. A `false` says that the other side broke the protocol.

  receiveData(bytes: Buffer): boolean {
    if (this.#remoteHasEnded || !this.#window.receive(bytes.byteLength)) return false
    this.#incoming.push(bytes.byteLength < COPY_BELOW_BYTES ? Buffer.from(bytes) : bytes)
    this.#deliver()
    return true
  }

  receiveCredit(amount: number): boolean {
    this.#credit += amount
    this.#hasSaidBlocked = false
    if (this.#outgoingBytes > 0) this.#carrier.schedule(this)
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

  /**
   * The stream's turn: adds what it has to send, with at most so many bytes of data.
   *
   * @returns the bytes of data that it added
   */
  takeTurn(frames: OutgoingFrame[], quantum: number): number {
    if (this.#window.isGrantDue && !this.#remoteHasEnded) {
      frames.push({ type: CREDIT, id: this.id, amount: this.#window.grant() })
    }
    const byteLength = Math.min(quantum, this.#outgoingBytes, this.#credit - FRAME_COST)
    if (byteLength > 0) {
      frames.push({ type: DATA, id: this.id, parts: this.#take(byteLength), byteLength })
      this.#credit -= costOf(byteLength)
    }
    if (this.#outgoingBytes > 0 && this.#isOutOfCredit && !this.#hasSaidBlocked) {
      this.#hasSaidBlocked = true
      frames.push({ type: BLOCKED, id: this.id })
    }
    if (this.#isEnding && this.#outgoingBytes === 0 && !this.#hasEnded) {
      this.#hasEnded = true
      frames.push({ type: END, id: this.id })
      this.#onend?.()
      this.#finishMaybe()
    }
    return Math.max(0, byteLength)
  }

  /** Whether another turn now would send anything. */
  get isReady(): boolean {
    return this.#outgoingBytes > 0 && !this.#isOutOfCredit
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    this.#send([chunk], done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void) {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done
    )
  }

  override _final(done: () => void) {
    this.#isEnding = true
    this.#onend = done
    this.#carrier.schedule(this)
  }

  override _read() {
    this.#isWanted = true
    this.#deliver()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void) {
    if (!this.#isFinished) {
      this.#carrier.cut(this, error instanceof SeaportError ? error.code : 'STREAM_RESET')
    }
    this.#outgoing = []
    this.#outgoingBytes = 0
    this.#incoming.length = 0
    this.#window.release()
    done(error)
  }

  #send(chunks: Buffer[], done: () => void) {
    for (const chunk of chunks) {
      if (chunk.byteLength === 0) continue
      this.#outgoing.push(chunk)
      this.#outgoingBytes += chunk.byteLength
    }
    this.#carrier.schedule(this)
    if (this.#outgoingBytes < SEND_BUFFER_BYTES) done()
    else this.#onsent = done
  }

  #take(byteLength: number): Buffer[] {
    const parts: Buffer[] = []
    let missing = byteLength
    while (missing > 0) {
      const chunk = this.#outgoing[0] as Buffer
      if (chunk.byteLength > missing) {
        parts.push(chunk.subarray(0, missing))
        this.#outgoing[0] = chunk.subarray(missing)
        break
      }
      parts.push(chunk)
      this.#outgoing.shift()
      missing -= chunk.byteLength
    }
    this.#outgoingBytes -= byteLength
    if (this.#onsent !== null && this.#outgoingBytes < SEND_BUFFER_BYTES) {
      const done = this.#onsent
      this.#onsent = null
      done()
    }
    return parts
  }

  #deliver() {
    while (this.#isWanted && this.#incoming.length > 0) {
      const bytes = this.#incoming.shift() as Buffer
      this.#window.read(bytes.byteLength)
      this.#isWanted = this.push(bytes)
    }
    if (this.#remoteHasEnded) {
      if (this.#incoming.length === 0) this.push(null)
    } else if (this.#window.isGrantDue) this.#carrier.schedule(this)
  }

  #finishMaybe() {
    if (this.#isFinished) this.#carrier.finish(this)
  }

  get #isFinished(): boolean {
    return this.#hasEnded && this.#remoteHasEnded
  }

  get #isOutOfCredit(): boolean {
    return this.#credit <= FRAME_COST
  }
}
