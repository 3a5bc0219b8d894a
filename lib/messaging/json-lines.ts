export interface JsonLinesOptions {
  /** A line that is longer is passed over, and told as a bad one. In bytes. */
  maxBytes: number
  onvalue: (value: unknown) => void
  /** A line that is no JSON, or too long; with its beginning. */
  onbad: (line: string) => void
}

const NEWLINE = 0x0a
const SHOWN_LENGTH = 100

/** Reads JSON, a line each, from what comes in pieces. */
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
