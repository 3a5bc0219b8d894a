import { SeaportError } from '../core/errors.js'
import type { Sink } from '../link/sink.js'
import type { LinkStream } from '../link/stream.js'
import { FrameReader, type FrameReaderOptions, reasonOf } from './frame-reader.js'
import { decodeFrame, encodeFrame, type Frame, HELLO, MAX_FRAME_BYTES, VERSION } from './frames.js'

/**
 * The purpose of conversations. A link has one such long-lived stream: commands, their answers, and what is emitted to
 * a service.
 */
export const CONVERSATION = 'hyperseaport/conversation/1'
/** The purpose of a stream for one command that is too large for the conversation, or whose answer comes in items. */
export const SINGLE_CALL = 'hyperseaport/call/1'
/**
 * The purpose of a stream for the events of an instance. It is apart from the conversation, so that a listener that
 * does not read events still gets answers.
 */
export const EVENTS = 'hyperseaport/events/1'

const OVERFLOWS = new Set<string>(['TOO_LARGE', 'BUSY'])

export interface ConversationOptions {
  /** The largest frame in bytes, without its length. */
  maxFrame?: number | undefined
  /** Counts the bytes of a frame that is not complete yet. */
  hold?: FrameReaderOptions['hold']
  /**
   * Whether to read on. If not, reading stops until `resume` is called. One of the two sides must always read on, or
   * both could wait for each other.
   */
  hasRoom?: () => boolean
  /** Takes a frame; it is not called after the end. An exception cuts the conversation. */
  onframe: (frame: Frame) => void
  /** The other side has nothing more to say. */
  onend: () => void
  /**
   * The other side sent a frame that is too large, or for which there is no room. Nothing more is read then. Default:
   * the conversation is cut.
   */
  onoverflow?: (reason: SeaportError) => void
  /** What was written has left, after `send` had returned false. */
  ondrain?: () => void
  /** The last call: what cut the conversation, or null if both sides have ended. */
  onclose: (reason: SeaportError | null) => void
}

/**
 * Frames on a stream, in both directions. Each side first sends its version. Frames of one turn of the event loop leave
 * together, and a single one leaves at once.
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

  /** Sends the version, and begins to read. */
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

  /** Sends a frame. Returns false if the caller should wait for `ondrain`. */
  send(frame: Frame): boolean {
    return this.sendEncoded(encodeFrame(frame))
  }

  /** Sends a frame that was encoded already, because it is sent to many. */
  sendEncoded(frame: Buffer): boolean {
    if (this.#isClosed || this.#isEnding) return true
    return this.#stream.write(frame, true)
  }

  /** Ends this side. What was sent before arrives. */
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
      const reason = reasonOf(error)
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
