import { type AnswerBody, ChunkedBody, EndlessBody, SizedBody } from './answer-body.js'
import { copyHeaders, listed, responseHeaders } from './headers.js'
import { type Fields, fieldLines, type PlainAnswer, type RawHeaders } from './message-head.js'

export interface LaneAnswerOptions {
  method: string
  /** Whether the client's connection is used again. */
  isKept: boolean
  /** How long it is then kept, in ms. */
  keepAliveTimeout: number
  pseudonym: string
  /** Changes the header section. */
  amend: ((headers: RawHeaders) => RawHeaders) | null
}

/** How a body ends: after so many bytes, as its chunks say, or with the stream. */
type Framing = number | 'chunked' | 'until the end'

/** The beginning of an answer as it is understood here, which is the same for as long as the same one comes. */
export class LaneHead {
  readonly head: PlainAnswer
  /** Of its body, if it has one. */
  readonly framing: Framing
  /** Whether the instance wants no other exchange on this stream. */
  readonly isLast: boolean
  /** Status 204 and 304 have none, whatever the fields say. */
  readonly isBodiless: boolean
  #passedOn: string | null = null

  /** @throws SyntaxError if nobody can tell where its end is */
  constructor(head: PlainAnswer) {
    this.head = head
    this.framing = framingOf(head)
    this.isBodiless = head.statusCode === 204 || head.statusCode === 304
    this.isLast =
      head.httpVersion !== '1.1' || /\bclose\b/i.test(head.fields.byName.connection ?? '')
  }

  /** The status line and the fields, as they are passed on. */
  lines({ pseudonym, amend }: Pick<LaneAnswerOptions, 'pseudonym' | 'amend'>): string {
    if (this.#passedOn !== null && amend === null) return this.#passedOn
    const { statusCode, statusMessage, fields } = this.head
    let headers = responseHeaders(this.head, pseudonym)
    if (amend) headers = amend(headers)
    // It cannot follow a body that is not chunked.
    if (!this.saysChunked && 'trailer' in fields.byName) headers = without(headers, 'trailer')
    const lines = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${fieldLines(headers)}`
    if (amend === null) this.#passedOn = lines
    return lines
  }

  /** Whether its body goes on in chunks, or would: HEAD is told what GET would be. */
  get saysChunked(): boolean {
    return !this.isBodiless && typeof this.framing !== 'number'
  }
}

/** An answer that is passed on: what its beginning becomes, and where its end is. */
export class LaneAnswer {
  readonly body: AnswerBody
  /** Whether its body goes on in chunks, since nobody knows how long it is. */
  readonly isChunked: boolean
  /** Whether the stream may have another exchange. */
  readonly isKept: boolean
  readonly #head: LaneHead
  readonly #options: LaneAnswerOptions

  constructor(head: LaneHead, options: LaneAnswerOptions) {
    this.#head = head
    this.#options = options
    const isBodiless = head.isBodiless || options.method === 'HEAD'
    this.body = isBodiless ? new SizedBody(0) : bodyOf(head.framing)
    this.isChunked = head.saysChunked && options.method !== 'HEAD'
    this.isKept = !head.isLast && !this.body.isUntilEnd
  }

  /** Whether so many bytes are all of its body, and end with it. */
  isWhole(byteLength: number): boolean {
    return this.body.isOver ? byteLength === 0 : this.#head.framing === byteLength
  }

  /** The beginning, as the client gets it. */
  toString(): string {
    return `${this.#head.lines(this.#options)}${this.#ownLines()}\r\n`
  }

  /** What is about this connection, and now. */
  #ownLines(): string {
    const { isKept, keepAliveTimeout } = this.#options
    const { head, saysChunked } = this.#head
    const date = 'date' in head.fields.byName ? '' : `Date: ${httpDate()}\r\n`
    const coding = saysChunked ? 'Transfer-Encoding: chunked\r\n' : ''
    const connection = isKept
      ? `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveTimeout / 1000}\r\n`
      : 'Connection: close\r\n'
    return `${date}${coding}${connection}`
  }
}

/** RFC 9112 §6.3, for an answer to a request that may have a body. */
function framingOf({ httpVersion, fields }: PlainAnswer): Framing {
  const { 'transfer-encoding': coding, 'content-length': length } = fields.byName
  if (coding !== undefined) {
    if (httpVersion !== '1.1' || length !== undefined || !isOnly(fields, 'transfer-encoding')) {
      throw new SyntaxError('a transfer coding beside something else that says the length')
    }
    if (!/^chunked$/i.test(coding)) throw new SyntaxError(`the transfer coding ${coding}`)
    return 'chunked'
  }
  if (length === undefined) return 'until the end'
  if (!/^\d{1,15}$/.test(length) || !isOnly(fields, 'content-length')) {
    throw new SyntaxError('no length, or two')
  }
  return Number(length)
}

function bodyOf(framing: Framing): AnswerBody {
  if (typeof framing === 'number') return new SizedBody(framing)
  return framing === 'chunked' ? new ChunkedBody() : new EndlessBody()
}

function isOnly({ hasDuplicates, raw }: Fields, name: string): boolean {
  return !hasDuplicates || listed(raw, name).length === 1
}

function without(headers: RawHeaders, name: string): RawHeaders {
  const kept: RawHeaders = []
  copyHeaders(headers, kept, (other) => other === name)
  return kept
}

let date = ''
let dateEnds = 0

/** The time, for a Date field. It is the same for a second. */
function httpDate(): string {
  const now = Date.now()
  if (now >= dateEnds) {
    date = new Date(now).toUTCString()
    dateEnds = now - (now % 1000) + 1000
  }
  return date
}
