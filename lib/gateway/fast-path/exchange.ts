import { Abort } from '../../core/abort.js'
import { SeaportError } from '../../core/errors.js'
import {
  fieldLines,
  type PlainAnswer,
  type RequestHead,
  readAnswer
} from '../../http/message-head.js'
import type { AccessEntry } from '../access-log.js'
import { MAX_ANSWER_HEADER_BYTES, tooSlow, type UnderWay } from '../forwarding.js'
import { InterimAnswers } from '../interim.js'
import type { Ledger } from '../ledger.js'
import { interimHeaders, invalidAnswer } from '../relay.js'
import type { RetryBudget } from '../retry-budget.js'
import type { ForwardRoute, Router } from '../router.js'
import { checkBeginning, FastAnswer, FastAnswerHead, framingOf } from './answer.js'
import type { FastStream, FastStreams, StreamSink } from './streams.js'

const CR = 0x0d
const LF = 0x0a

/** What all requests of the fast path share, with each other or with the rest of the gateway. */
export interface FastPathContext {
  router: Router
  streams: FastStreams
  ledger: Ledger
  budget: RetryBudget
  /** Our entry in Via. */
  pseudonym: string
  /** Longer heads are left to node:http, which refuses them. */
  maxHeaderBytes: number
  /** How long a client may take to send its first request, in ms. */
  headersTimeout: number
}

/** The client that an answer goes to. */
export interface FastPathClient {
  /** Whether it may send another request. */
  readonly isKept: boolean
  /** False if no more should be written until `ondrain` is called. */
  write(bytes: Buffer | string): boolean
  cork(): void
  uncork(): void
  /** Sends an error in place of an answer. Returns its status. */
  refuse(request: RequestHead, error: unknown): number
  /** The answer is over. */
  onanswered(): void
  destroy(): void
}

/** Answers up to this size are written as one text together with their head, in bytes. */
const SMALL_ANSWER_BYTES = 8192
const NO_ONE: ReadonlySet<string> = new Set()
const LAST_CHUNK = '0\r\n'

/** A request without a body on its way to an instance, to a second one if the first breaks off, and its answer back. */
export class FastExchange implements StreamSink, UnderWay {
  readonly #context: FastPathContext
  readonly #client: FastPathClient
  readonly #request: RequestHead & { method: string }
  readonly #route: ForwardRoute
  readonly #text: string
  readonly #timeout: number
  readonly #entry: AccessEntry
  #avoid = NO_ONE
  #stream: FastStream | null = null
  #dialing: Abort | null = null
  /** The bytes of an answer whose head is not complete yet. */
  #beginning: Buffer | null = null
  #answer: FastAnswer | null = null
  #interim: InterimAnswers | null = null
  /** Whether the stream was kept: then the instance may have closed it just as it is used again. */
  #isReused = false
  /** How many attempts failed because the instance had already closed the kept stream. */
  #staleAttempts = 0
  /** Whether reading from the instance is paused, since the client does not read fast enough. */
  #isHeld = false
  #isOver = false

  /** @param text the request as the instance gets it */
  constructor(
    context: FastPathContext,
    client: FastPathClient,
    request: RequestHead & { method: string },
    route: ForwardRoute,
    text: string
  ) {
    this.#context = context
    this.#client = client
    this.#request = request
    this.#route = route
    this.#text = text
    this.#timeout = context.router.deadlineOf(route)
    this.#entry = context.ledger.open(request)
    this.#entry.principal = route.principal.name
    this.#entry.upstream = route.upstream.name
  }

  begin() {
    this.#context.budget.deposit()
    const stream = this.#context.streams.take(this.#route.upstream.dialer, this)
    this.#isReused = stream !== null
    if (stream) this.#send(stream)
    else void this.#dial()
  }

  /** The client takes more. */
  ondrain() {
    this.#isHeld = false
    this.#stream?.resume()
  }

  /** The client has left. */
  onleft() {
    if (this.#isOver) return
    const reason = SeaportError.CLOSED('the client left')
    this.#entry.status = this.#entry.status || 499
    this.#entry.error = reason.code
    this.#cut(reason)
    this.#end()
  }

  tick(now: number, isSilent: (key: string) => boolean) {
    if (this.#answer || this.#isOver) return
    if (now >= this.#entry.startedAt + this.#timeout) return this.#refuse(tooSlow(this.#timeout))
    if (this.#stream === null || !isSilent(this.#stream.key)) return
    if (this.#route.upstream.instances().length < 2) return
    this.#onbroken(SeaportError.LINK_LOST('the instance has fallen silent'))
  }

  ondata(bytes: Buffer): boolean {
    try {
      if (this.#answer) this.#takeBody(this.#answer, bytes)
      else this.#takeHead(this.#beginning ? Buffer.concat([this.#beginning, bytes]) : bytes)
    } catch (error) {
      this.#refuse(error instanceof SyntaxError ? invalidAnswer(error) : error)
    }
    return this.#isOver || !this.#isHeld
  }

  onend() {
    const { body } = this.#answer ?? {}
    if (!body?.isUntilEnd) return this.#onbroken(SeaportError.STREAM_RESET('it was ended'))
    this.#finish(this.#answer as FastAnswer)
  }

  onclose() {
    this.#onbroken(SeaportError.STREAM_RESET('it was cut'))
  }

  async #dial() {
    const { streams } = this.#context
    const dialing = new Abort()
    this.#dialing = dialing
    this.#isReused = false
    try {
      const options = { signal: dialing, avoid: this.#avoid }
      const stream = await streams.dial(this.#route.upstream.dialer, this, options)
      this.#dialing = null
      if (this.#isOver) stream.destroy()
      else this.#send(stream)
    } catch (error) {
      this.#dialing = null
      this.#refuse(error)
    }
  }

  #send(stream: FastStream) {
    this.#stream = stream
    this.#entry.attempts++
    this.#entry.instance = stream.key
    stream.write(this.#text)
  }

  #takeHead(bytes: Buffer) {
    const stream = this.#stream as FastStream
    this.#beginning = null
    const before = emptyLinesAt(bytes, 0)
    // A view of bytes is not for free, and there is hardly ever an empty line.
    let rest = before === 0 ? bytes : bytes.subarray(before)
    let text = rest.toString('latin1', 0, MAX_ANSWER_HEADER_BYTES)
    while (rest.byteLength > 0) {
      const head = readAnswer(text, stream.answered?.head ?? null)
      if (head === null) return this.#waitForHead(rest, text)
      if (head.statusCode >= 200) {
        if (head !== stream.answered?.head) stream.answered = new FastAnswerHead(head)
        return this.#onanswer(stream.answered, rest, text)
      }
      this.#oninterim(head)
      // There may be thousands in one piece, which is decoded once.
      const isAll = text.length === rest.byteLength
      const next = head.text.length + emptyLinesAt(rest, head.text.length)
      rest = rest.subarray(next)
      text = isAll ? text.slice(next) : rest.toString('latin1', 0, MAX_ANSWER_HEADER_BYTES)
    }
  }

  #waitForHead(bytes: Buffer, text: string) {
    if (text.length === MAX_ANSWER_HEADER_BYTES) throw new SyntaxError('a head without end')
    checkBeginning(text)
    this.#beginning = bytes
  }

  #oninterim(head: PlainAnswer) {
    const { statusCode, statusMessage, rawHeaders } = head
    // It has no body. But one that contradicts itself about that is refused, as node:http does.
    framingOf(head)
    if (statusCode === 101) throw new SyntaxError('a switch that nobody asked for')
    this.#interim ??= new InterimAnswers()
    const isAdmitted = this.#interim.admit(this.#entry.attempts)
    // 100 is only for clients that wait for it, and their requests are left to node:http.
    if (statusCode === 100 || !isAdmitted) return
    const lines = fieldLines(interimHeaders(rawHeaders))
    this.#client.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines}\r\n`)
  }

  /** @param text the same bytes as a text, as far as they may be the head */
  #onanswer(read: FastAnswerHead, bytes: Buffer, text: string) {
    const { pseudonym, router } = this.#context
    const cors = router.corsOf(this.#request, this.#route.upstream)
    const answer = new FastAnswer(read, {
      method: this.#request.method,
      isKept: this.#client.isKept,
      pseudonym,
      amend: cors && ((headers) => cors.amend(headers))
    })
    this.#answer = answer
    const { statusCode, text: head } = read.head
    this.#entry.status = statusCode
    this.#entry.firstByteMs = performance.now() - this.#entry.startedAt
    if (bytes.byteLength <= SMALL_ANSWER_BYTES && answer.isWhole(bytes.byteLength - head.length)) {
      this.#entry.bytesOut = bytes.byteLength - head.length
      this.#pass(answer.toString() + text.slice(head.length))
      return this.#finish(answer)
    }
    this.#client.cork()
    this.#client.write(answer.toString())
    this.#takeBody(answer, bytes.subarray(head.length))
    this.#client.uncork()
  }

  #takeBody(answer: FastAnswer, bytes: Buffer) {
    const { body, isChunked } = answer
    if (isChunked) this.#client.cork()
    body.take(bytes, (piece) => {
      this.#entry.bytesOut += piece.byteLength
      if (isChunked) this.#client.write(`${piece.byteLength.toString(16)}\r\n`)
      this.#pass(piece)
      if (isChunked) this.#client.write('\r\n')
    })
    if (body.isOver) this.#finish(answer)
    if (isChunked) this.#client.uncork()
  }

  /** If the client does not read fast enough, the instance has to wait. */
  #pass(bytes: Buffer | string) {
    if (!this.#client.write(bytes)) this.#isHeld = true
  }

  #finish(answer: FastAnswer) {
    const { body, isChunked } = answer
    if (isChunked) this.#client.write(`${LAST_CHUNK}${body.trailers}\r\n`)
    const stream = this.#stream as FastStream
    this.#stream = null
    // Bytes that follow the end of an answer answer no request, so the stream cannot be used again.
    if (body.excess > 0) stream.destroy()
    else if (answer.isKept) this.#context.streams.keep(stream)
    else stream.end()
    this.#end()
    this.#client.onanswered()
  }

  /** Goes on to another instance, if the answer has not begun. */
  #onbroken(cause: SeaportError) {
    const { budget } = this.#context
    const stream = this.#stream
    const isStale = cause.code === 'STREAM_RESET' && this.#isUnanswered
    stream?.destroy(cause)
    this.#stream = null
    this.#beginning = null
    if (this.#answer) {
      this.#cut(cause)
      this.#end()
      return this.#client.destroy()
    }
    if (isStale) this.#staleAttempts++
    else if (stream) this.#avoid = new Set([...this.#avoid, stream.key])
    if (isStale || budget.withdraw(this.#entry.attempts - this.#staleAttempts))
      return void this.#dial()
    this.#refuse(SeaportError.BAD_GATEWAY('the instance broke off before it answered', cause))
  }

  /**
   * Whether nothing came over a kept stream. If it breaks off then, the instance had closed it before the request came to
   * it. That is no fault of the instance, so the request is sent to it again, over a new stream, and no retry is taken
   * from the budget.
   */
  get #isUnanswered(): boolean {
    return this.#isReused && this.#beginning === null && this.#interim === null
  }

  /** Ends the exchange with an error: there is no answer to pass on, or it has begun and cannot go on. */
  #refuse(error: unknown) {
    if (this.#isOver) return
    const hasBegun = this.#answer !== null
    this.#context.ledger.fail(this.#entry, error)
    this.#cut(error as Error)
    if (hasBegun) {
      this.#end()
      this.#client.destroy()
      return
    }
    this.#entry.status = this.#client.refuse(this.#request, error)
    this.#end()
    this.#client.onanswered()
  }

  #cut(reason: Error) {
    this.#dialing?.abort(reason)
    this.#stream?.destroy(reason)
    this.#stream = null
  }

  #end() {
    this.#isOver = true
    this.#entry.role = this.#route.upstream.instances()[0]?.role ?? ''
    this.#context.ledger.close(this.#entry)
  }
}

/** How many bytes of empty lines there are. Some servers send one before an answer; node:http passes over them, too. */
function emptyLinesAt(bytes: Buffer, start: number): number {
  let end = start
  while (bytes[end] === CR || bytes[end] === LF) end++
  return end - start
}
