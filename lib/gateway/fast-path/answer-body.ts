import { trailersOf } from '../../http/headers.js'
import { fieldLines, readFields } from '../../http/message-head.js'

/** Reads the body of an answer out of the bytes that come, and finds its end. */
export interface AnswerBody {
  readonly isOver: boolean
  /** Whether it goes on until the stream ends. */
  readonly isUntilEnd: boolean
  /** How many of the bytes taken last came after its end. */
  readonly excess: number
  /** The trailers, as lines of fields. */
  readonly trailers: string
  /**
   * Takes bytes as they come, and hands on those of the body.
   *
   * @throws SyntaxError
   */
  take(bytes: Buffer, ondata: (bytes: Buffer) => void): void
}

/** A body with an announced length. */
export class SizedBody implements AnswerBody {
  isOver: boolean
  readonly isUntilEnd = false
  excess = 0
  readonly trailers = ''
  #left: number

  constructor(length: number) {
    this.#left = length
    this.isOver = length === 0
  }

  take(bytes: Buffer, ondata: (bytes: Buffer) => void) {
    const taken = Math.min(this.#left, bytes.byteLength)
    this.#left -= taken
    this.excess = bytes.byteLength - taken
    this.isOver = this.#left === 0
    if (taken > 0) ondata(this.excess === 0 ? bytes : bytes.subarray(0, taken))
  }
}

/** A body that goes on until the stream ends. Its user has to notice that end. */
export class EndlessBody implements AnswerBody {
  readonly isOver = false
  readonly isUntilEnd = true
  readonly excess = 0
  readonly trailers = ''

  take(bytes: Buffer, ondata: (bytes: Buffer) => void) {
    if (bytes.byteLength > 0) ondata(bytes)
  }
}

/** What the next bytes belong to; `data end` is the line end after the bytes of a chunk. */
type ChunkedState = 'size' | 'data' | 'data end' | 'trailers'

const MAX_SIZE_LINE = 4096
const MAX_TRAILERS = 64 * 1024
const LINE_END = '\r\n'
const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const QUOTED = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t\\x20-\\x7e\\x80-\\xff])*"'
/** The size of a chunk. Its extensions are for one connection only, so they are dropped (RFC 9112 §7.1.1). */
const SIZE_LINE = new RegExp(`^([0-9a-fA-F]{1,12})(?:;${TOKEN}(?:=(?:${TOKEN}|${QUOTED}))?)*$`)

/** The chunked transfer coding (RFC 9112 §7.1), to the letter. */
export class ChunkedBody implements AnswerBody {
  isOver = false
  readonly isUntilEnd = false
  excess = 0
  trailers = ''
  #state: ChunkedState = 'size'
  /** Bytes of the present chunk that are still to come. */
  #left = 0
  /** The beginning of a line that is not complete yet. */
  #line = ''
  /** Bytes of all trailers, including those that are not passed on. */
  #trailerBytes = 0

  take(bytes: Buffer, ondata: (bytes: Buffer) => void) {
    let at = 0
    while (at < bytes.byteLength && !this.isOver) {
      if (this.#state !== 'data') {
        at = this.#takeLine(bytes, at)
        continue
      }
      const end = Math.min(at + this.#left, bytes.byteLength)
      this.#left -= end - at
      ondata(bytes.subarray(at, end))
      at = end
      if (this.#left === 0) this.#state = 'data end'
    }
    this.excess = bytes.byteLength - at
  }

  /** Reads to the end of a line. Returns the position after what was read. */
  #takeLine(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(0x0a, at)
    const end = lf === -1 ? bytes.byteLength : lf + 1
    this.#line += bytes.toString('latin1', at, end)
    if (this.#line.length > MAX_SIZE_LINE) throw new SyntaxError('a line without end')
    if (lf !== -1) {
      const line = this.#line
      this.#line = ''
      if (!line.endsWith(LINE_END)) throw new SyntaxError('a line that ends with a bare LF')
      this.#online(line.slice(0, -LINE_END.length))
    }
    return end
  }

  #online(line: string) {
    if (this.#state === 'size') {
      const [, size] = SIZE_LINE.exec(line) ?? []
      if (size === undefined) throw new SyntaxError('a chunk without its size')
      this.#left = Number.parseInt(size, 16)
      this.#state = this.#left === 0 ? 'trailers' : 'data'
    } else if (this.#state === 'data end') {
      if (line !== '') throw new SyntaxError('a chunk that is longer than it says')
      this.#state = 'size'
    } else if (line === '') this.isOver = true
    else this.#ontrailer(`${line}${LINE_END}`)
  }

  #ontrailer(line: string) {
    const fields = readFields(line)
    this.#trailerBytes += line.length
    // A Content-Length after chunks contradicts them; node:http refuses it as well.
    if (fields === null || 'content-length' in fields.byName || this.#trailerBytes > MAX_TRAILERS) {
      throw new SyntaxError('what follows the last chunk is no field')
    }
    this.trailers += fieldLines(trailersOf(fields.raw))
  }
}
