import { SeaportError } from '../core/errors.js'
import { type Frame, LENGTH_BYTES } from './frames.js'

export interface FrameReaderOptions<F = Frame> {
  /** The largest frame. A larger one is an error. */
  maxBytes: number
  onframe: (frame: F) => void
  /**
   * Reads one frame out of these bytes. Null stands for one that is ignored. It throws if the frame breaks the
   * protocol.
   */
  decode: (bytes: Buffer, start: number, end: number) => F | null
  /** Counts the bytes of a frame that is not complete yet. What it throws ends the reading. */
  hold?: ((bytes: number) => void) | undefined
}

/** Says why to cut a stream, from what reading it has thrown. */
export function reasonOf(error: unknown): SeaportError {
  if (error instanceof SeaportError) return error
  return SeaportError.BAD_MESSAGE('what was said could not be taken', error)
}

/** Pieces below this size are copied if they are kept, because they may be part of a much larger buffer. */
const COPY_BELOW_BYTES = 32 * 1024

/**
 * Puts frames together from bytes that come in pieces, and holds no more than one incomplete frame. Whoever keeps bytes
 * of a frame for longer has to copy them.
 */
export class FrameReader<F = Frame> {
  readonly #maxBytes: number
  readonly #onframe: (frame: F) => void
  readonly #decode: FrameReaderOptions<F>['decode']
  readonly #hold: FrameReaderOptions['hold']
  readonly #pieces: Buffer[] = []
  #size = 0
  /** Bytes of the present frame that `hold` has counted. */
  #counted = 0
  /** How many bytes have to be there before reading can go on. */
  #needed = LENGTH_BYTES
  #isStopped = false

  constructor({ maxBytes, onframe, decode, hold }: FrameReaderOptions<F>) {
    this.#maxBytes = maxBytes
    this.#onframe = onframe
    this.#decode = decode
    this.#hold = hold
  }

  /** @throws BAD_MESSAGE, TOO_LARGE, and what `hold` does */
  push(piece: Buffer) {
    if (this.#isStopped) return
    if (this.#size + piece.byteLength < this.#needed) return this.#keep(piece)
    let bytes = piece
    if (this.#size > 0) {
      this.#pieces.push(piece)
      bytes = Buffer.concat(this.#pieces, this.#size + piece.byteLength)
      this.#pieces.length = 0
      this.#size = 0
    }
    this.#counted = 0
    const rest = this.#read(bytes)
    if (rest.byteLength > 0 && !this.#isStopped) this.#keep(rest)
  }

  /** Stops reading, even what has come already. */
  stop() {
    this.#isStopped = true
    this.#pieces.length = 0
  }

  #keep(piece: Buffer) {
    this.#pieces.push(piece.byteLength < COPY_BELOW_BYTES ? Buffer.from(piece) : piece)
    this.#size += piece.byteLength
    this.#hold?.(this.#size - this.#counted)
    this.#counted = this.#size
  }

  /** Reads all complete frames, and returns the rest. */
  #read(bytes: Buffer): Buffer {
    let at = 0
    this.#needed = LENGTH_BYTES
    while (bytes.byteLength - at >= LENGTH_BYTES && !this.#isStopped) {
      const length = bytes.readUInt32LE(at)
      if (length > this.#maxBytes) {
        throw SeaportError.TOO_LARGE(
          `a frame has ${length} bytes, at most ${this.#maxBytes} are allowed`
        )
      }
      const end = at + LENGTH_BYTES + length
      if (end > bytes.byteLength) {
        this.#needed = LENGTH_BYTES + length
        break
      }
      const frame = this.#decode(bytes, at + LENGTH_BYTES, end)
      at = end
      if (frame !== null) this.#onframe(frame)
    }
    return bytes.subarray(at)
  }
}
