import {
  type IncomingMessage,
  type InformationEvent,
  type ServerResponse,
  STATUS_CODES
} from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { SeaportError } from '../core/errors.js'
import { guarded } from '../http/guarded.js'
import { copyHeaders, listed, responseHeaders, trailersOf } from '../http/headers.js'
import { http2Fields, http2Trailers } from '../http/http2-fields.js'
import type { IncomingAnswer } from '../http/http2-request.js'
import { fieldLines, type RawHeaders } from '../http/message-head.js'
import { pairs } from '../http/request-body.js'

/**
 * Passes an answer on to the client, as it comes. Resolves with the bytes of its body when it is over; a
 * cut at either end is passed on to the other.
 *
 * @throws BAD_GATEWAY, before anything was passed on
 */
export function relay(
  answer: IncomingAnswer,
  response: ServerResponse,
  pseudonym: string,
  amend: (headers: RawHeaders) => RawHeaders
): Promise<number> {
  writeHead(answer, response, amend(responseHeaders(answer, pseudonym)))
  // With gRPC, an answer without a body and one with an empty body are different things.
  const isHeadOnly = answer.isHeadOnly === true && isHttp2(response)
  return new Promise((resolve) => {
    let bytes = 0
    const onclose = () => {
      if (!response.writableFinished) answer.destroy()
      resolve(bytes)
    }
    const onfailure = () => {
      answer.destroy()
      cut(response)
    }
    const ondata = (chunk: Buffer) => {
      bytes += chunk.byteLength
      if (!response.write(chunk)) answer.pause()
    }
    const onend = () => {
      addTrailers(response, trailersOf(answer.rawTrailers))
      response.end()
    }
    answer.on('data', guarded(ondata, onfailure))
    response.on('drain', () => answer.resume())
    answer.on('end', guarded(onend, onfailure))
    answer.on('error', () => cut(response))
    answer.on('close', () => {
      if (!answer.complete) cut(response)
    })
    if (response.closed) onclose()
    else response.on('close', onclose)
    // The head is sent with the first piece of the body, or at the end of this turn: so most answers need one packet.
    setImmediate(() => {
      if (bytes === 0 && !isHeadOnly && !response.writableEnded && !response.destroyed)
        sendHead(response)
    })
  })
}

/** Sends the head without a body yet. `flushHeaders` of node:http makes UTF-8 of it, and so two bytes of each beyond ASCII. */
function sendHead(response: ServerResponse) {
  if (isHttp2(response)) return response.flushHeaders()
  response.write('', 'latin1')
  // It waits for more of this turn; but who cuts the answer then would lose it.
  response.socket?.uncork()
}

/** Why an answer cannot be passed on that nobody can read. */
export function invalidAnswer(cause: unknown): SeaportError {
  return SeaportError.BAD_GATEWAY('the answer of the instance is not valid HTTP', cause)
}

/** Passes on an interim answer (RFC 9110 §15.2), 100 only to who waits for it. */
export function inform(
  request: IncomingMessage,
  response: ServerResponse,
  { statusCode, statusMessage, rawHeaders }: InformationEvent
) {
  if (response.headersSent || response.destroyed || request.httpVersion === '1.0') return
  if (statusCode === 100) {
    if (request.headers.expect) response.writeContinue()
    return
  }
  const headers = interimHeaders(rawHeaders)
  if (isHttp2(response)) {
    response.stream.additionalHeaders({ ':status': statusCode, ...http2Fields(headers) })
    return
  }
  const head = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${fieldLines(headers)}\r\n`
  // Without a socket, earlier answers on the connection are still to be sent.
  if (response.socket) response.socket.write(head, 'latin1')
  else response.once('socket', (socket) => socket.write(head, 'latin1'))
}

/** The header section of an interim answer as the client gets it. */
export function interimHeaders(rawHeaders: RawHeaders): RawHeaders {
  const headers: RawHeaders = []
  copyHeaders(rawHeaders, headers, (name) => name === 'content-length')
  return headers
}

function addTrailers(response: ServerResponse, trailers: RawHeaders) {
  if (trailers.length === 0) return
  if (isHttp2(response)) response.addTrailers(http2Trailers(trailers))
  else response.addTrailers(pairs(trailers))
}

function writeHead(answer: IncomingAnswer, response: ServerResponse, headers: RawHeaders) {
  const { statusCode = 502, httpVersion } = answer
  const isNamed = httpVersion !== '2.0'
  const statusMessage = (isNamed ? answer.statusMessage : STATUS_CODES[statusCode]) ?? ''
  const codings = listed(answer.rawHeaders, 'transfer-encoding')
  if (codings.length > 0 && !/^chunked$/i.test(codings.join(',').trim())) {
    answer.destroy()
    throw invalidAnswer(new SyntaxError(`the transfer coding ${codings}`))
  }
  try {
    if (isHttp2(response) && answer.isHeadOnly) setHead(response, statusCode, headers)
    else if (isHttp2(response)) response.writeHead(statusCode, http2Head(statusCode, headers))
    else
      response.writeHead(statusCode, statusMessage, withoutLoneTrailer(answer, response, headers))
  } catch (cause) {
    answer.destroy()
    throw invalidAnswer(cause)
  }
}

/** It goes out when the answer ends, and ends it. */
function setHead(response: Http2ServerResponse, statusCode: number, headers: RawHeaders) {
  response.statusCode = statusCode
  for (const [name, value] of Object.entries(http2Head(statusCode, headers))) {
    response.setHeader(name, value)
  }
}

/** Announced trailers cannot follow a body that is not chunked; node:http refuses to say they will. */
function withoutLoneTrailer(answer: IncomingAnswer, response: ServerResponse, headers: RawHeaders) {
  const isChunked =
    response.req.method !== 'HEAD' &&
    response.req.httpVersion !== '1.0' &&
    answer.headers['content-length'] === undefined &&
    ![204, 304].includes(answer.statusCode ?? 0)
  if (isChunked) return headers
  const kept: RawHeaders = []
  copyHeaders(headers, kept, (name) => name === 'trailer')
  return kept
}

/** An answer without content has no length (RFC 9110 §8.6), and clients of HTTP/2 insist on that. */
function http2Head(statusCode: number, headers: RawHeaders) {
  const { 'content-length': length, ...fields } = http2Fields(headers)
  return statusCode === 204 || length === undefined
    ? fields
    : { ...fields, 'content-length': length }
}

function isHttp2(response: unknown): response is Http2ServerResponse {
  return 'stream' in (response as object)
}

/** Breaks an answer off, so that the client can tell that it is not complete. */
function cut(response: ServerResponse) {
  if (response.writableFinished || response.destroyed) return
  if (isHttp2(response)) return response.stream.close(2)
  if (!response.writableEnded) sendHead(response)
  response.destroy()
}
