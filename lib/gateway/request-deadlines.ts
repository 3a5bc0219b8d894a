import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants } from 'node:http2'
import { hasBody } from '../http/headers.js'
import { isHttp2Response } from './client-response.js'
import { refuse } from './refusal.js'

interface Arriving {
  request: IncomingMessage
  since: number
}

/**
 * Ends requests over HTTP/2 that take too long to come in, as node:http does with those over HTTP/1.1. One may go on
 * while it is answered, because calls of gRPC stream both ways for as long as they like.
 */
export class RequestDeadlines {
  readonly #timeout: number
  readonly #arriving = new Map<ServerResponse, Arriving>()

  /** @param timeout in ms */
  constructor(timeout: number) {
    this.#timeout = timeout
  }

  /** Watches a request until it is over. */
  add(request: IncomingMessage, response: ServerResponse) {
    if (!isHttp2Response(response) || !hasBody(request)) return
    this.#arriving.set(response, { request, since: performance.now() })
    response.once('close', () => this.#arriving.delete(response))
  }

  /** Called from time to time. */
  tick(now: number) {
    for (const [response, { request, since }] of this.#arriving) {
      if (now - since <= this.#timeout || request.complete || !isHttp2Response(response)) continue
      const { stream } = response
      if (!response.headersSent) {
        const text = `the request did not come in within ${this.#timeout / 1000} s`
        refuse(request, response, { status: 408, code: 'TOO_SLOW', text, headers: {} })
      } else if (!stream.writableFinished) continue
      // Once the answer is whole, the client has to learn that nobody wants the rest (RFC 9113 §8.1).
      stream.close(constants.NGHTTP2_NO_ERROR)
    }
  }
}
