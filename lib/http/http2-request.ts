import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2'
import { SeaportError } from '../core/errors.js'
import { hasEnd, watchEnd } from './http2-end.js'
import { fitsHttp2, http2Fields, http2Trailers } from './http2-fields.js'
import type { RawHeaders } from './message-head.js'

/** The interface that requests over HTTP/1.1 and HTTP/2 share. */
export interface OutgoingRequest extends EventEmitter {
  readonly destroyed: boolean
  write(chunk: Buffer): boolean
  addTrailers(trailers: [string, string][]): void
  end(): void
  destroy(error?: Error): void
}

/** The interface that answers over HTTP/1.1 and HTTP/2 share. */
export type IncomingAnswer = EventEmitter &
  Pick<
    IncomingMessage,
    'statusCode' | 'statusMessage' | 'httpVersion' | 'rawHeaders' | 'rawTrailers' | 'complete'
  > & {
    headers: Pick<IncomingMessage['headers'], 'content-length'>
    /** Whether the answer has a head and nothing else, as errors of gRPC have. */
    isHeadOnly?: boolean
    pause(): unknown
    resume(): unknown
    destroy(): unknown
  }

export interface Http2RequestOptions {
  method: string
  path: string
  /** Names and values by turns, as over HTTP/1.1. */
  headers: RawHeaders
  hasBody: boolean
}

/**
 * A request over HTTP/2 with the events of one of node:http. Emits `cancel` when it or its answer is destroyed before
 * both were over; `close` may come much later, as the session first has to send what it was given before.
 */
export class Http2Request extends EventEmitter implements OutgoingRequest {
  readonly #stream: ClientHttp2Stream
  readonly #hasBody: boolean
  #trailers: Record<string, string> = {}
  #answer: Http2Answer | null = null

  /** @throws if the session takes no more requests */
  constructor(
    session: ClientHttp2Session,
    { method, path, headers, hasBody }: Http2RequestOptions
  ) {
    super()
    this.#hasBody = hasBody
    const { host, ...fields } = http2Fields(headers)
    const takesTrailers = headers.some((name, i) => i % 2 === 0 && name === 'TE')
    const head = {
      ...fields,
      ...(takesTrailers && { te: 'trailers' }),
      ':method': method,
      ':path': path,
      ':scheme': 'http',
      ':authority': String(host)
    }
    const stream = session.request(head, { endStream: !hasBody, waitForTrailers: hasBody } as never)
    this.#stream = stream
    watchEnd(stream, () => {
      // A head that came before the reset is told of in between.
      process.nextTick(() => {
        if (!this.#answer) stream.destroy()
      })
    })
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers))
    stream.on('headers', (fields) => this.emit('information', headOf(fields)))
    stream.on('response', (fields, flags) => {
      const isHeadOnly = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      this.#answer = new Http2Answer(stream, headOf(fields), isHeadOnly, () => this.#cancel())
      this.emit('response', this.#answer)
    })
    stream.on('drain', () => this.emit('drain'))
    stream.on('error', (error) => {
      if (!this.#answer) this.emit('error', this.#isRefused ? refused() : error)
    })
    stream.on('close', () => this.#onclose())
  }

  get destroyed(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  write(chunk: Buffer): boolean {
    return this.#stream.write(chunk)
  }

  addTrailers(trailers: [string, string][]) {
    const fields = trailers.flat()
    if (fitsHttp2(fields)) this.#trailers = http2Trailers(fields)
    else this.destroy(SeaportError.TOO_LARGE('the trailers are too large for HTTP/2'))
  }

  end() {
    if (this.#hasBody) this.#stream.end()
  }

  destroy(error?: Error) {
    if (error && !this.#answer) this.emit('error', error)
    this.#cancel()
  }

  #cancel() {
    if (this.destroyed) return
    this.#stream.close(constants.NGHTTP2_CANCEL)
    this.emit('cancel')
  }

  #onclose() {
    if (!this.#answer) {
      const error = SeaportError.STREAM_RESET('the instance reset the request')
      this.emit('error', this.#isRefused ? refused() : error)
    }
    this.emit('close')
  }

  /**
   * Whether the instance has done nothing about the request: it refused it, or left before it came (RFC 9113 §6.8,
   * §8.7).
   */
  get #isRefused(): boolean {
    return this.#stream.rstCode === constants.NGHTTP2_REFUSED_STREAM
  }
}

/** An answer over HTTP/2 with the events of one of node:http. */
class Http2Answer extends EventEmitter {
  readonly httpVersion = '2.0'
  readonly statusCode: number
  readonly statusMessage = ''
  readonly rawHeaders: RawHeaders
  readonly headers: Pick<IncomingMessage['headers'], 'content-length'>
  readonly isHeadOnly: boolean
  readonly destroy: () => void
  rawTrailers: RawHeaders = []
  complete = false
  readonly #stream: ClientHttp2Stream
  readonly #untold: ('end' | 'close')[] = []
  #isRead = false

  constructor(
    stream: ClientHttp2Stream,
    { statusCode, rawHeaders, length }: ReturnType<typeof headOf>,
    isHeadOnly: boolean,
    cancel: () => void
  ) {
    super()
    this.#stream = stream
    this.destroy = cancel
    this.statusCode = statusCode
    this.rawHeaders = rawHeaders
    this.headers = length === undefined ? {} : { 'content-length': length }
    this.isHeadOnly = isHeadOnly
    stream.on('trailers', (fields) => {
      this.rawTrailers = headOf(fields).rawHeaders
    })
    stream.on('end', () => {
      // A reset ends the reading side as well, which must not look like the end of a whole answer.
      if (!hasEnd(stream)) return void stream.destroy()
      if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) return
      this.complete = true
      this.#tell('end')
    })
    stream.on('close', () => this.#tell('close'))
    this.on('newListener', (event) => {
      if (event === 'data' && !this.#isRead) this.#begin()
    })
  }

  /** Begins to read. Before somebody asks for the body nothing is read, and no event is emitted. */
  #begin() {
    this.#isRead = true
    this.#stream.on('data', (chunk) => this.emit('data', chunk))
    process.nextTick(() => {
      for (const event of this.#untold.splice(0)) this.emit(event)
    })
  }

  #tell(event: 'end' | 'close') {
    if (!this.#isRead || this.#untold.length > 0) this.#untold.push(event)
    else this.emit(event)
  }

  pause() {
    this.#stream.pause()
  }

  resume() {
    this.#stream.resume()
  }
}

function refused(): SeaportError {
  return SeaportError.REFUSED('the instance refused the request')
}

/** The head of a message of node:http2 as it would be over HTTP/1.1. */
function headOf(fields: object) {
  const rawHeaders: RawHeaders = []
  let statusCode = 502
  let length: string | undefined
  for (const [name, value] of Object.entries(fields as Record<string, string | string[]>)) {
    if (name === ':status') statusCode = Number(value)
    if (name === 'content-length') length = String(value)
    if (name.startsWith(':')) continue
    for (const each of [value].flat()) rawHeaders.push(name, String(each))
  }
  return { statusCode, statusMessage: '', httpVersion: '2.0', rawHeaders, length }
}
