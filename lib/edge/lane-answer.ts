import { type AnswerBody, ChunkedBody, EndlessBody, SizedBody } from './answer-body.js'
import { copyHeaders, listed, responseHeaders } from './headers.js'
import { type Fields, fieldLines, type RawHeaders, type readAnswer } from './message-head.js'

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

type Head = NonNullable<ReturnType<typeof readAnswer>>['head']

/** An answer that is passed on: what its beginning becomes, and where its end is. */
export class LaneAnswer {
  readonly body: AnswerBody
  /** Whether its body goes on in chunks, since nobody knows how long it is. */
  readonly isChunked: boolean
  /** Whether the stream may have another exchange. */
  readonly isKept: boolean
  readonly #head: Head
  /** Or would: HEAD is told what GET would be. */
  readonly #saysChunked: boolean
  readonly #options: LaneAnswerOptions

  /** @throws SyntaxError if nobody can tell where its end is */
  constructor(head: Head, options: LaneAnswerOptions) {
    this.#head = head
    this.#options = options
    const isBodiless = head.statusCode === 204 || head.statusCode === 304
    const body = bodyOf(head)
    this.body = isBodiless || options.method === 'HEAD' ? new SizedBody(0) : body
    this.#saysChunked = !isBodiless && !(body instanceof SizedBody)
    this.isChunked = this.#saysChunked && options.method !== 'HEAD'
    this.isKept =
      head.httpVersion === '1.1' &&
      !this.body.isUntilEnd &&
      !/\bclose\b/i.test(head.fields.byName.connection ?? '')
  }

  /** The beginning, as the client gets it. */
  toString(): string {
    const { statusCode, statusMessage, httpVersion, fields } = this.#head
    const isPlain = !this.#options.amend && httpVersion === '1.1' && !('trailer' in fields.byName)
    const lines = (isPlain && fields.passedOn) || this.#lines()
    if (isPlain) fields.passedOn = lines
    return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines}${this.#ownLines()}\r\n`
  }

  /** Those of the instance, which are the same for the same fields. */
  #lines(): string {
    const { fields } = this.#head
    const { pseudonym, amend } = this.#options
    let headers = responseHeaders(this.#head, pseudonym)
    if (amend) headers = amend(headers)
    // It cannot follow a body that is not chunked.
    if (!this.#saysChunked && 'trailer' in fields.byName) headers = without(headers, 'trailer')
    return fieldLines(headers)
  }

  /** What is about this connection, and now. */
  #ownLines(): string {
    const { isKept, keepAliveTimeout } = this.#options
    const date = 'date' in this.#head.fields.byName ? '' : `Date: ${httpDate()}\r\n`
    const coding = this.#saysChunked ? 'Transfer-Encoding: chunked\r\n' : ''
    const connection = isKept
      ? `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveTimeout / 1000}\r\n`
      : 'Connection: close\r\n'
    return `${date}${coding}${connection}`
  }
}

/** RFC 9112 §6.3, for an answer to a request that may have a body. */
function bodyOf({ httpVersion, fields }: Head): AnswerBody {
  const { 'transfer-encoding': coding, 'content-length': length } = fields.byName
  if (coding !== undefined) {
    if (httpVersion !== '1.1' || length !== undefined || !isOnly(fields, 'transfer-encoding')) {
      throw new SyntaxError('a transfer coding beside something else that says the length')
    }
    if (!/^chunked$/i.test(coding)) throw new SyntaxError(`the transfer coding ${coding}`)
    return new ChunkedBody()
  }
  if (length === undefined) return new EndlessBody()
  if (!/^\d{1,15}$/.test(length) || !isOnly(fields, 'content-length')) {
    throw new SyntaxError('no length, or two')
  }
  return new SizedBody(Number(length))
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
