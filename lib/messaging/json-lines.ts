export interface JsonLinesOptions {
  /** The longest line, in bytes. A longer one is skipped, and reported as a bad one. */
  maxBytes: number
  onvalue: (value: unknown) => void
  /** Called with the beginning of a line that is no JSON or too long. */
  onbad: (line: string) => void
}

const NEWLINE = 0x0a
const SHOWN_LENGTH = 100

/** Reads lines of JSON from bytes that come in pieces. */
export class JsonLines {
  readonly #options: JsonLinesOptions
  #pieces: Buffer[] = []
  #size = 0
  #isSkipping = false

  constructor(options: JsonLinesOptions) {
    this.#options = options
  }

  push(piece: Buffer) {
    let rest = piece
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      this.#add(rest.subarray(0, end))
      rest = rest.subarray(end + 1)
      this.#end()
    }
    this.#add(rest)
  }

  #add(piece: Buffer) {
    if (this.#isSkipping || piece.byteLength === 0) return
    this.#pieces.push(piece)
    this.#size += piece.byteLength
    if (this.#size <= this.#options.maxBytes) return
    this.#options.onbad(this.#text().slice(0, SHOWN_LENGTH))
    this.#clear()
    this.#isSkipping = true
  }

  #end() {
    const text = this.#text()
    const isSkipped = this.#isSkipping
    this.#clear()
    this.#isSkipping = false
    if (isSkipped || text.trim() === '') return
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      this.#options.onbad(text.slice(0, SHOWN_LENGTH))
      return
    }
    this.#options.onvalue(value)
  }

  #text(): string {
    return Buffer.concat(this.#pieces).toString()
  }

  #clear() {
    this.#pieces = []
    this.#size = 0
  }
}
