import { SeaportError } from '../core/errors.js'
import type { Sink } from '../link/sink.js'
import type { LinkStream } from '../link/stream.js'
import { FrameReader, type FrameReaderOptions } from './frame-reader.js'
import { decodeFrame, encodeFrame, type Frame, HELLO, MAX_FRAME_BYTES, VERSION } from './frames.js'

/** One long-lived stream for each link: commands, their answers, and what is emitted to a service. */
export const CONVERSATION = 'hyperseaport/conversation/1'
/** A stream for one command that is too large for the conversation, or whose answer comes in items. */
export const SINGLE_CALL = 'hyperseaport/call/1'
/** A stream for the events of an instance, so that who does not read them has its answers all the same. */
export const EVENTS = 'hyperseaport/events/1'

const OVERFLOWS = new Set<string>(['TOO_LARGE', 'BUSY'])

export interface ConversationOptions {
  /** In bytes, without its length. */
  maxFrame?: number | undefined
  /** Counts what is held of a frame that is not whole yet. */
  hold?: FrameReaderOptions['hold']
  /** Whether to read on; else from `resume` on. Of two sides one always has room, or both would wait. */
  hasRoom?: () => boolean
  /** Not called any more once it is closed. What it throws cuts the conversation. */
  onframe: (frame: Frame) => void
  /** The other side has nothing more to say. */
  onend: () => void
  /** It says more than may be in a frame, or than there is room for. Nothing more is read. Default: it is cut. */
  onoverflow?: (reason: SeaportError) => void
  /** What was written has left, after there was too much. */
  ondrain?: () => void
  /** The last that is heard: what cut it, or null if both sides have ended. */
  onclose: (reason: SeaportError | null) => void
}

/**
 * Frames on a stream, from either side, each of which first says its version. What is sent in one turn of the event
 * loop leaves together, and a frame that is alone leaves at once.
 */
export class Conversation implements Sink {
  readonly isCopying = true
  readonly #stream: LinkStream
  readonly #options: ConversationOptions
  readonly #reader: FrameReader
  #hasGreeted = false
  #isEnding = false
  #isClosed = false

  constructor(stream: LinkStream, options: ConversationOptions) {
    this.#stream = stream
    this.#options = options
    const { maxFrame = MAX_FRAME_BYTES, hold } = options
    const onframe = (frame: Frame) => this.#take(frame)
    this.#reader = new FrameReader({ maxBytes: maxFrame, decode: decodeFrame, onframe, hold })
  }

  /** Begins to talk and to listen. */
  start() {
    this.#stream.attach(this)
    this.send({ type: HELLO, version: VERSION })
    this.#stream.resume()
  }

  /** Bytes that wait for the other side to read. */
  get unsent(): number {
    return this.#stream.unsent
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** False asks to wait for `ondrain`. */
  send(frame: Frame): boolean {
    return this.sendEncoded(encodeFrame(frame))
  }

  /** The same for a frame that is sent to many. */
  sendEncoded(frame: Buffer): boolean {
    if (this.#isClosed || this.#isEnding) return true
    return this.#stream.write(frame, true)
  }

  /** Says nothing more. What was said before arrives. */
  end() {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#stream.end()
  }

  destroy(reason: SeaportError) {
    this.#reader.stop()
    this.#stream.destroy(reason)
  }

  ondata(bytes: Buffer): boolean {
    try {
      this.#reader.push(bytes)
    } catch (error) {
      this.#reader.stop()
      const reason =
        error instanceof SeaportError
          ? error
          : SeaportError.BAD_MESSAGE('what was said could not be taken', error)
      const { onoverflow } = this.#options
      if (OVERFLOWS.has(reason.code) && onoverflow) onoverflow(reason)
      else this.destroy(reason)
    }
    return this.#options.hasRoom?.() ?? true
  }

  onend() {
    this.#options.onend()
  }

  ondrain() {
    this.#options.ondrain?.()
  }

  /** Reads on. */
  resume() {
    this.#stream.resume()
  }

  onclose(reason: SeaportError | null) {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#reader.stop()
    this.#options.onclose(reason)
  }

  #take(frame: Frame) {
    if (!this.#hasGreeted) {
      if (frame.type !== HELLO || frame.version === 0) {
        throw SeaportError.BAD_MESSAGE('a conversation that begins without a version')
      }
      this.#hasGreeted = true
    } else if (frame.type === HELLO) {
      throw SeaportError.BAD_MESSAGE('a second version')
    } else {
      this.#options.onframe(frame)
    }
  }
}
