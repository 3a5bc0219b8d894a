import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { SeaportError } from '../core/errors.js'
import { guarded } from './guarded.js'
import { hasBody, trailersOf } from './headers.js'
import { hasEnd } from './http2-end.js'
import type { OutgoingRequest } from './http2-request.js'
import { isOverHttp2 } from './message-head.js'

export interface RequestBodyOptions {
  /** In bytes. */
  maxBytes?: number
  /** How much of its beginning is held so that it can be sent again, in bytes. */
  maxHeldBytes?: number
}

const MAX_HELD_BYTES = 64 * 1024

/**
 * A request's body on its way to an instance, with its trailers. It can be sent to another instance as
 * long as all that was read of it is still held.
 */
export class RequestBody {
  /** Bytes that were read so far. */
  bytes = 0
  /** When the last piece or the end of it was read, by the process's own clock, in ms; 0 before. */
  movedAt = 0
  readonly isEmpty: boolean

  readonly #request: IncomingMessage
  readonly #maxBytes: number
  readonly #maxHeldBytes: number
  #held: Buffer[] = []
  #isHeld = true
  #hasEnded = false
  #isHurried = false
  #to: OutgoingRequest | null = null
  #ontoolarge: (error: SeaportError) => void = () => {}

  constructor(
    request: IncomingMessage,
    { maxBytes = Infinity, maxHeldBytes = MAX_HELD_BYTES }: RequestBodyOptions = {}
  ) {
    this.#request = request
    this.#maxBytes = maxBytes
    this.#maxHeldBytes = maxHeldBytes
    this.isEmpty = !hasBody(request)
  }

  /** Whether it can be sent from its beginning. */
  get isReplayable(): boolean {
    return this.#isHeld
  }

  /** Whether all of it was read. */
  get hasEnded(): boolean {
    return this.isEmpty || this.#hasEnded
  }

  /**
   * Sends the body: first what is held of it, then the rest as it comes. An instance that it was sent to before gets no
   * more.
   *
   * @param ontoolarge called when the body is larger than allowed
   */
  sendTo(to: OutgoingRequest, ontoolarge: (error: SeaportError) => void) {
    if (this.isEmpty) return to.end()
    const isFirst = this.#to === null
    this.#to = to
    this.#ontoolarge = ontoolarge
    for (const chunk of this.#held) to.write(chunk)
    to.on('drain', () => {
      if (this.#to === to) this.#request.resume()
    })
    if (this.#hasEnded) return this.#finish(to)
    if (!isFirst) return this.#request.resume()
    const onfailure = (error: Error) => this.#to?.destroy(error)
    this.#request.on(
      'data',
      guarded((chunk: Buffer) => this.#ondata(chunk), onfailure)
    )
    this.#request.on(
      'end',
      guarded(() => this.#onend(), onfailure)
    )
    this.#request.on('close', this.#oncut)
  }

  /** Stops sending. What still comes is read and dropped. */
  stop() {
    this.#to = null
    this.#held = []
    this.#isHeld = this.isEmpty
    if (!this.hasEnded) this.#request.resume()
  }

  /**
   * Called when the answer is over. An instance still gets what it takes at once. If it takes no more, the rest is read
   * and dropped, because a client may send all of its request before it reads the answer.
   */
  hurry() {
    if (this.hasEnded) return
    const { socket } = this.#request
    if (socket.destroyed) return this.#oncut()
    this.#isHurried = true
    // Once a request is answered, node:http does not tell it of the end of its connection.
    if (!isOverHttp2(this.#request)) socket.once('close', this.#oncut)
    if (this.#request.isPaused()) this.#drop()
  }

  #drop() {
    const to = this.#to
    this.stop()
    to?.destroy()
  }

  #ondata(chunk: Buffer) {
    this.bytes += chunk.byteLength
    this.movedAt = performance.now()
    if (this.bytes > this.#maxBytes) return this.#ontoolarge(tooLarge(this.#maxBytes))
    if (this.#isHeld && this.bytes <= this.#maxHeldBytes) this.#held.push(chunk)
    else {
      this.#held = []
      this.#isHeld = false
    }
    if (!this.#to || this.#to.destroyed || this.#to.write(chunk)) return
    if (this.#isHurried) this.#drop()
    else this.#request.pause()
  }

  #onend() {
    if (!this.#isWhole) return this.#oncut()
    this.#hasEnded = true
    if (this.#isHurried) this.#request.socket.off('close', this.#oncut)
    this.movedAt = performance.now()
    if (this.#to && !this.#to.destroyed) this.#finish(this.#to)
  }

  /** Whether all that was announced has come. A stream of HTTP/2 ends for its reader when it is reset, too. */
  get #isWhole(): boolean {
    const request = this.#request
    return isOverHttp2(request)
      ? hasEnd((request as unknown as Http2ServerRequest).stream)
      : request.complete
  }

  /**
   * Called when the client has left in the middle of the body. The stream to the instance is destroyed, which neither
   * takes what came for all of it then, nor reads the next request on the stream as the rest of it.
   */
  readonly #oncut = () => {
    if (this.hasEnded) return
    this.#to?.destroy(SeaportError.CLOSED('the client left'))
    this.#to = null
    this.#held = []
    this.#isHeld = false
  }

  #finish(to: OutgoingRequest) {
    const trailers = trailersOf(this.#request.rawTrailers)
    if (trailers.length > 0) to.addTrailers(pairs(trailers))
    to.end()
  }
}

/** @throws TOO_LARGE if the request's Content-Length is too large */
export function checkLength(request: IncomingMessage, maxBytes: number) {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
}

/** Trailers as node:http takes them. */
export function pairs(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2) pairs.push([raw[i] as string, raw[i + 1] as string])
  return pairs
}

function tooLarge(maxBytes: number): SeaportError {
  return SeaportError.TOO_LARGE(`the request has more than the ${maxBytes} bytes allowed here`)
}
