import {
  request as httpRequest,
  type IncomingMessage,
  type InformationEvent,
  type ServerResponse
} from 'node:http'
import type { Duplex } from 'node:stream'
import type { Bag } from '../core/bag.js'
import { SeaportError } from '../core/errors.js'
import { toHex } from '../core/keys.js'
import type { StreamAgent, StreamRequestOptions } from '../http/agent.js'
import type { Forwarded } from '../http/forwarded.js'
import { guarded } from '../http/guarded.js'
import { requestHeaders } from '../http/headers.js'
import { fitsHttp2 } from '../http/http2-fields.js'
import type { IncomingAnswer, OutgoingRequest } from '../http/http2-request.js'
import { Http2Lease, type Http2Sessions } from '../http/http2-sessions.js'
import { isIdempotent } from '../http/idempotent.js'
import type { KeptStreams } from '../http/kept-streams.js'
import { isOverHttp2, isReason, type RawHeaders } from '../http/message-head.js'
import { RequestBody } from '../http/request-body.js'
import { isSent } from './client-response.js'
import { HalfOpen } from './half-open.js'
import { InterimAnswers } from './interim.js'
import { inform, invalidAnswer, relay } from './relay.js'
import type { RetryBudget } from './retry-budget.js'
import type { Upstream } from './upstream.js'

/** The parts that all requests share. */
export interface ForwardingContext {
  agent: StreamAgent
  kept: KeptStreams
  http2: Http2Sessions
  budget: RetryBudget
  /** Our entry in Via. */
  pseudonym: string
  underWay: Bag<UnderWay>
}

/** A request that is not over. */
export interface UnderWay {
  /**
   * Called from time to time. Ends the request if it is too late for an answer, the instance is silent, or the client
   * has left.
   *
   * @param now by the process's own clock, in ms
   */
  tick(now: number, isSilent: (key: string) => boolean): void
}

export interface ForwardingOptions {
  request: IncomingMessage
  response: ServerResponse
  upstream: Upstream
  /** The path that the instance is asked for, with the query. */
  path: string
  forwarded: Forwarded
  /** How long the answer may take to begin after the last piece of the request came, in ms. */
  timeout: number
  /** In bytes. */
  maxBodyBytes: number
  dropAuthorization: boolean
  /** Whether an instance, by its key in hex, is asked over HTTP/2. */
  isHttp2: (key: string) => boolean
  /** Changes the header section of the answer. */
  amend: (headers: RawHeaders) => RawHeaders
}

export const MAX_ANSWER_HEADER_BYTES = 64 * 1024

/** One request on its way to an instance, to a second one if the first breaks off, and its answer back. */
export class Forwarding implements UnderWay {
  readonly stats = {
    /** The instance that it went to last, in hex. */
    instance: '',
    attempts: 0,
    bytesIn: 0,
    bytesOut: 0,
    /** The time until the answer began, in ms. */
    firstByteMs: 0
  }

  readonly #context: ForwardingContext
  readonly #options: ForwardingOptions
  readonly #body: RequestBody
  readonly #ending = new AbortController()
  readonly #avoid = new Set<string>()
  readonly #interim = new InterimAnswers()
  readonly #startedAt = performance.now()
  /** Notices a client that has left. Null over HTTP/2, where a client that leaves resets its stream. */
  readonly #halfOpen: HalfOpen | null
  #attempt: OutgoingRequest | null = null
  #hasAnswer = false
  /** How many attempts failed because the instance had already closed the kept stream. */
  #staleAttempts = 0

  constructor(context: ForwardingContext, options: ForwardingOptions) {
    this.#context = context
    this.#options = options
    const { request, maxBodyBytes } = options
    this.#body = new RequestBody(request, { maxBytes: maxBodyBytes })
    this.#halfOpen = isOverHttp2(request) ? null : new HalfOpen(request.socket)
  }

  /**
   * Resolves when the answer is over, whether it reached its end or was cut.
   *
   * @throws NO_INSTANCE, BAD_GATEWAY, TOO_SLOW or TOO_LARGE if there is none; CLOSED if the client left
   */
  async run() {
    const { response } = this.#options
    const onclose = () => {
      // Without an answer of the instance, the gateway may have sent one of its own.
      if (!this.#hasAnswer || !isSent(response)) {
        this.#ending.abort(SeaportError.CLOSED('the client left'))
      }
    }
    response.once('close', onclose)
    this.#context.budget.deposit()
    const place = this.#context.underWay.add(this)
    try {
      const answer = await this.#ask()
      this.stats.firstByteMs = performance.now() - this.#startedAt
      this.#hasAnswer = true
      const { method = 'GET' } = this.#options.request
      const { pseudonym } = this.#context
      const { amend } = this.#options
      this.stats.bytesOut = await relay(answer, response, { method, pseudonym, amend })
    } finally {
      this.#context.underWay.delete(place)
      response.off('close', onclose)
      this.stats.bytesIn = this.#body.bytes
      this.#finish()
    }
  }

  tick(now: number, isSilent: (key: string) => boolean) {
    const { timeout, response } = this.#options
    if (this.#halfOpen?.hasLeft(now)) return void response.destroy()
    if (this.#hasAnswer) return
    const since = Math.max(this.#startedAt, this.#body.movedAt)
    if (now >= since + timeout) return this.#ending.abort(tooSlow(timeout))
    const attempt = this.#attempt
    if (attempt === null || !this.#isRepeatable || !isSilent(this.stats.instance)) return
    if (this.#options.upstream.instances().length < 2) return
    attempt.destroy(SeaportError.LINK_LOST('the instance has fallen silent'))
  }

  /** Asks one instance after the other until one answers. */
  async #ask(): Promise<IncomingAnswer> {
    for (;;) {
      const stream = await this.#dial()
      this.stats.attempts++
      this.stats.instance =
        stream instanceof Http2Lease ? stream.key : this.#context.kept.keyOf(stream)
      try {
        return await this.#askOver(stream)
      } catch (error) {
        this.#attempt = null
        if (this.#ending.signal.aborted) throw this.#ending.signal.reason
        if (this.#isStale(stream, error)) this.#staleAttempts++
        else if (this.#shouldRetry(error)) this.#avoid.add(this.stats.instance)
        else throw brokenOff(error)
      }
    }
  }

  /**
   * Dials an instance. A request that must not be sent twice gets a new stream, because a kept one may just be closing.
   */
  #dial(): Promise<Duplex | Http2Lease> {
    const { kept, http2 } = this.#context
    const isFresh = !this.#isRepeatable || this.stats.attempts > 0
    const open = isFresh ? kept.openFresh : kept.open
    const { upstream, isHttp2 } = this.#options
    return upstream.dialer.dial<Duplex | Http2Lease>({
      signal: this.#ending.signal,
      avoid: this.#avoid,
      open: (key, options) => (isHttp2(toHex(key)) ? http2.open(key, options) : open(key, options))
    })
  }

  #askOver(stream: Duplex | Http2Lease): Promise<IncomingAnswer> {
    const { request, response } = this.#options
    const { signal } = this.#ending
    return new Promise((resolve, reject) => {
      const attempt = this.#send(stream)
      const onabort = () => attempt.destroy(signal.reason)
      this.#attempt = attempt
      signal.addEventListener('abort', onabort)
      attempt.on('response', (answer: IncomingAnswer) => {
        this.#attempt = null
        resolve(answer)
      })
      const oninformation = (information: InformationEvent) => {
        if (!isReason(information.statusMessage)) {
          throw new SyntaxError('a reason phrase with control characters')
        }
        if (this.#interim.admit(this.stats.attempts)) inform(request, response, information)
      }
      const onfailure = (cause: Error) => {
        const error = new SyntaxError(cause.message, { cause })
        // This rejects before the request is destroyed: an answer that was read already would resolve the promise
        // otherwise.
        reject(error)
        attempt.destroy(error)
      }
      attempt.on('information', guarded(oninformation, onfailure))
      attempt.on('upgrade', () => onfailure(new Error('a switch that nobody asked for')))
      attempt.on('error', reject)
      attempt.on('close', () => {
        signal.removeEventListener('abort', onabort)
        if (this.#attempt === attempt) reject(SeaportError.BAD_GATEWAY('the instance broke off'))
      })
      this.#body.sendTo(attempt, (error) => this.#ending.abort(error))
    })
  }

  #send(to: Duplex | Http2Lease): OutgoingRequest {
    const { request, path, forwarded, dropAuthorization } = this.#options
    const { agent, pseudonym } = this.#context
    const method = request.method ?? 'GET'
    const headers = requestHeaders(request, { forwarded, pseudonym, dropAuthorization })
    if (to instanceof Http2Lease) {
      if (!fitsHttp2([...headers, 'path', path])) return this.#refuse(to)
      const hasBody = !this.#body.isEmpty
      return to.request({ method, path, headers, hasBody })
    }
    const options: StreamRequestOptions = {
      agent,
      stream: to,
      path,
      method,
      headers,
      setHost: false,
      maxHeaderSize: MAX_ANSWER_HEADER_BYTES
    }
    return httpRequest(options)
  }

  /** Gives up a request whose head node:http2 cannot send. */
  #refuse(to: Http2Lease): never {
    to.destroy()
    const error = SeaportError.TOO_LARGE('the head is too large for HTTP/2')
    this.#ending.abort(error)
    throw error
  }

  #shouldRetry(error: unknown): boolean {
    return (
      this.#isRepeatable &&
      isConnectionFailure(error) &&
      this.#context.budget.withdraw(this.stats.attempts - this.#staleAttempts)
    )
  }

  /**
   * Whether an instance had closed a kept stream before the request came to it. That is no fault of the instance, so the
   * request is sent to it again, over a new stream, and no retry is taken from the budget.
   */
  #isStale(stream: Duplex | Http2Lease, error: unknown): boolean {
    if (stream instanceof Http2Lease) {
      const isBounded = this.#staleAttempts < MAX_STALE_ATTEMPTS
      return (
        isBounded &&
        this.#body.isReplayable &&
        UNSENT.has(String((error as NodeJS.ErrnoException).code))
      )
    }
    return (
      this.#isRepeatable &&
      this.#context.kept.wasUsed(stream) &&
      !this.#interim.hasCome &&
      (error as NodeJS.ErrnoException).code === 'ECONNRESET'
    )
  }

  get #isRepeatable(): boolean {
    return isIdempotent(this.#options.request.method ?? '') && this.#body.isReplayable
  }

  /** Cuts what is still under way. An answer may be over before its request is. */
  #finish() {
    if (!isSent(this.#options.response)) this.#ending.abort(SeaportError.CLOSED('cut'))
    if (this.#ending.signal.aborted) this.#body.stop()
    else this.#body.hurry()
  }
}

/** Error codes of node:http2 for requests that the other side has not begun to handle. */
const UNSENT = new Set(['REFUSED', 'ERR_HTTP2_GOAWAY_SESSION', 'ERR_HTTP2_INVALID_SESSION'])
const MAX_STALE_ATTEMPTS = 2
/** The error code of node:http's parser for a connection that ends in the middle of a head. */
const ENDED_EARLY = 'HPE_INVALID_EOF_STATE'

/** Whether an attempt ended without an answer. An answer that cannot be read is another case. */
function isConnectionFailure(error: unknown): boolean {
  if (error instanceof SyntaxError) return false
  const { code } = error as NodeJS.ErrnoException
  return code === ENDED_EARLY || !String(code).startsWith('HPE_')
}

export function brokenOff(cause: unknown): SeaportError {
  return isConnectionFailure(cause)
    ? SeaportError.BAD_GATEWAY('the instance broke off before it answered', cause)
    : invalidAnswer(cause)
}

/** @param timeout in ms */
export function tooSlow(timeout: number): SeaportError {
  return SeaportError.TOO_SLOW(`the service did not begin to answer within ${timeout / 1000} s`)
}
