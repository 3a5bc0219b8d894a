import { httpDate } from '../../http/date.js'
import { copyHeaders, listed, responseHeaders } from '../../http/headers.js'
import {
  type Fields,
  fieldLines,
  flat,
  type PlainAnswer,
  type RawHeaders,
  readAnswer
} from '../../http/message-head.js'
import { connectionLines } from '../gateway-server.js'
import { type AnswerBody, ChunkedBody, EndlessBody, SizedBody } from './answer-body.js'

/** Changes the header section. */
export type Amend = (headers: RawHeaders) => RawHeaders

export interface FastAnswerOptions {
  method: string
  /** Whether the client's connection is used again. */
  isKept: boolean
  /** Our entry in Via. */
  pseudonym: string
  amend: Amend | null
}

/** How a body ends: after that many bytes, as its chunks say, or with the stream. */
type Framing = number | 'chunked' | 'until the end'

const STATUS_LENGTH = 'HTTP/1.1 200'.length
const CHUNKED = 'Transfer-Encoding: chunked\r\n'

/**
 * The head of an answer, and what it says about the body. Instances often send the same head again, so a stream keeps
 * its last one, and an equal one is not parsed again.
 */
export class FastAnswerHead {
  readonly head: PlainAnswer
  /** How its body ends, if it has one. */
  readonly framing: Framing
  /** Whether the instance wants no other exchange on this stream. */
  readonly isLast: boolean
  /** Status 204 and 304 have no body, whatever the fields say. */
  readonly isBodiless: boolean
  /** Whether its body, if it has one, is passed on in chunks. */
  readonly #saysChunked: boolean
  readonly #hasDate: boolean
  /** The head that was sent to a client last, and what it depended on. */
  #passedOn = { text: '', date: '', isKept: false, isChunked: false }

  /** @throws SyntaxError if nobody can tell where its end is */
  constructor(head: PlainAnswer) {
    const { statusCode, httpVersion, fields } = head
    this.head = head
    this.framing = framingOf(head)
    const coding = fields.byName['transfer-encoding'] ?? 'chunked'
    if (!/^chunked$/i.test(coding)) throw new SyntaxError(`the transfer coding ${coding}`)
    this.isBodiless = statusCode === 204 || statusCode === 304
    const options = fields.hasDuplicates
      ? listed(fields.raw, 'connection').join()
      : (fields.byName.connection ?? '')
    this.isLast =
      httpVersion === '1.1' ? /\bclose\b/i.test(options) : !/\bkeep-alive\b/i.test(options)
    this.#saysChunked = !this.isBodiless && typeof this.framing !== 'number'
    this.#hasDate = 'date' in fields.byName && !/\bdate\b/i.test(options)
  }

  /** The head as the client gets it. */
  passOn({ method, isKept, pseudonym, amend }: FastAnswerOptions): string {
    const date = this.#hasDate ? '' : httpDate()
    const isChunked = this.isChunkedFor(method)
    const before = this.#passedOn
    const isSame =
      before.date === date && before.isKept === isKept && before.isChunked === isChunked
    if (isSame && before.text !== '' && amend === null) return before.text
    const { statusCode, statusMessage, fields } = this.head
    let headers = responseHeaders(this.head, pseudonym)
    if (amend) headers = amend(headers)
    // Trailers cannot follow a body that is not chunked.
    if (!isChunked && 'trailer' in fields.byName) headers = without(headers, 'trailer')
    if (date !== '') headers.push('Date', date)
    const lines = `${fieldLines(headers)}${connectionLines(isKept)}${isChunked ? CHUNKED : ''}`
    const text = flat(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines}\r\n`)
    if (amend === null) this.#passedOn = { text, date, isKept, isChunked }
    return text
  }

  /** Whether its body is passed on in chunks when the request had this method. */
  isChunkedFor(method: string): boolean {
    return this.#saysChunked && method !== 'HEAD'
  }
}

/** One answer that is passed on: the head that the client gets, and where the body ends. */
export class FastAnswer {
  readonly body: AnswerBody
  /** Whether its body is passed on in chunks, because its length is not known. */
  readonly isChunked: boolean
  /** Whether the stream may have another exchange. */
  readonly isKept: boolean
  readonly #head: FastAnswerHead
  readonly #options: FastAnswerOptions

  constructor(head: FastAnswerHead, options: FastAnswerOptions) {
    this.#head = head
    this.#options = options
    const isBodiless = head.isBodiless || options.method === 'HEAD'
    this.body = isBodiless ? new SizedBody(0) : bodyOf(head.framing)
    this.isChunked = head.isChunkedFor(options.method)
    this.isKept = !head.isLast && !this.body.isUntilEnd
  }

  /** Whether that many bytes are exactly its whole body. */
  isWhole(byteLength: number): boolean {
    return this.body.isOver ? byteLength === 0 : this.#head.framing === byteLength
  }

  /** The beginning, as the client gets it. */
  toString(): string {
    return this.#head.passOn(this.#options)
  }
}

/**
 * Checks the fields of an incomplete head, so that one that contradicts itself is refused before the rest comes.
 *
 * @throws SyntaxError
 */
export function checkBeginning(text: string) {
  const end = text.lastIndexOf('\r\n')
  if (end === -1) return
  // Without the reason phrase, which is looked at when the head is there as a whole.
  const lines = text.slice(0, STATUS_LENGTH) + text.slice(text.indexOf('\r\n'), end)
  const head = readAnswer(`${lines}\r\n\r\n`, null)
  if (head) framingOf(head)
}

/** How the body ends (RFC 9112 §6.3), for an answer that may have one. */
export function framingOf({ httpVersion, fields }: PlainAnswer): Framing {
  const { 'transfer-encoding': coding, 'content-length': length } = fields.byName
  if (coding !== undefined) {
    if (httpVersion !== '1.1' || length !== undefined || !isOnly(fields, 'transfer-encoding')) {
      throw new SyntaxError('a transfer coding beside something else that says the length')
    }
    return 'chunked'
  }
  if (length === undefined) return 'until the end'
  if (!/^0*\d{1,15}$/.test(length) || !isOnly(fields, 'content-length')) {
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
