import {
  IncomingMessage,
  type InformationEvent,
  type ServerResponse,
  STATUS_CODES
} from 'node:http'
import type { Http2ServerResponse } from 'node:http2'
import { SeaportError } from '../core/errors.js'
import { guarded } from '../http/guarded.js'
import { copyHeaders, listed, responseHeaders, trailersOf } from '../http/headers.js'
import { fitsHttp2, http2Fields, http2Trailers } from '../http/http2-fields.js'
import type { IncomingAnswer } from '../http/http2-request.js'
import { fieldLines, type RawHeaders } from '../http/message-head.js'
import { pairs } from '../http/request-body.js'
import { isClosed, isHttp2Response as isHttp2, isSent } from './client-response.js'

export interface RelayOptions {
  /** The method of the request. */
  method: string
  /** Our entry in Via. */
  pseudonym: string
  /** Changes the header section of the answer. */
  amend: (headers: RawHeaders) => RawHeaders
}

/**
 * Passes an answer on to the client, as it comes. Resolves with the bytes of its body when it is over; a
 * cut at either end is passed on to the other.
 *
 * @throws BAD_GATEWAY, before anything was passed on
 */
export function relay(
  answer: IncomingAnswer,
  response: ServerResponse,
  { method, pseudonym, amend }: RelayOptions
): Promise<number> {
  writeHead(answer, response, amend(responseHeaders(answer, pseudonym)))
  // With gRPC, an answer without a body and one with an empty body are different things.
  const isHeadOnly = answer.isHeadOnly === true && isHttp2(response)
  return new Promise((resolve) => {
    let bytes = 0
    const onclose = () => {
      if (!isSent(response)) answer.destroy()
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
      if (isCutShort(answer, method)) return cut(response)
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
    if (isClosed(response)) onclose()
    else response.on('close', onclose)
    // The head is sent with the first piece of the body, or at the end of this turn: so most answers need one packet.
    setImmediate(() => {
      if (bytes === 0 && !isHeadOnly && !response.writableEnded && !response.destroyed)
        sendHead(response)
    })
  })
}

/**
 * Sends the head before any of the body. `flushHeaders` of node:http would encode it as UTF-8, and so turn each byte
 * beyond ASCII into two.
 */
function sendHead(response: ServerResponse) {
  if (isHttp2(response)) return response.flushHeaders()
  response.write('', 'latin1')
  // Node would hold it back until the end of this turn, and lose it if the answer was cut before.
  response.socket?.uncork()
}

/** The error for an answer that cannot be parsed. */
export function invalidAnswer(cause: unknown): SeaportError {
  return SeaportError.BAD_GATEWAY('the answer of the instance is not valid HTTP', cause)
}

/** Passes on an interim answer (RFC 9110 §15.2). 100 goes only to a client that waits for it. */
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
    if (!fitsHttp2(headers)) return
    response.stream.additionalHeaders({ ':status': statusCode, ...http2Fields(headers) })
    return
  }
  const head = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${fieldLines(headers)}\r\n`
  // It has no socket as long as earlier answers on the connection are still to be sent.
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
  if (isHttp2(response)) {
    if (!fitsHttp2(trailers)) throw new SyntaxError('trailers too large for HTTP/2')
    response.addTrailers(http2Trailers(trailers))
  } else response.addTrailers(pairs(trailers))
}

function writeHead(answer: IncomingAnswer, response: ServerResponse, headers: RawHeaders) {
  const { statusCode = 502, httpVersion } = answer
  const isNamed = httpVersion !== '2.0'
  const statusMessage = (isNamed ? answer.statusMessage : STATUS_CODES[statusCode]) ?? ''
  const isTooLarge = isHttp2(response) && !fitsHttp2(headers)
  const fault = isTooLarge ? 'a head too large for HTTP/2' : faultOf(answer)
  if (fault !== null) {
    answer.destroy()
    throw invalidAnswer(new SyntaxError(fault))
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

/** Why the head of an answer is passed on to no client; null if it may be. */
function faultOf(answer: IncomingAnswer): string | null {
  const { statusCode = 502, httpVersion, rawHeaders } = answer
  if (answer instanceof IncomingMessage && !/^1\.[01]$/.test(httpVersion)) {
    return `HTTP/${httpVersion} was not asked for`
  }
  const codings = listed(rawHeaders, 'transfer-encoding')
  if (codings.length > 0 && !/^chunked$/i.test(codings.join(',').trim())) {
    return `the transfer coding ${codings}`
  }
  if (statusCode === 101) return 'it switches protocols, which nobody asked for'
  return statusCode < 100 ? `the status ${statusCode}` : null
}

/** Sets the head of an answer without a body. It is sent when the answer ends, as the last frame. */
function setHead(response: Http2ServerResponse, statusCode: number, headers: RawHeaders) {
  response.statusCode = statusCode
  for (const [name, value] of Object.entries(http2Head(statusCode, headers))) {
    response.setHeader(name, value)
  }
}

/**
 * Drops the Trailer field of an answer that is not chunked: it cannot have trailers, and node:http refuses to announce
 * them.
 */
function withoutLoneTrailer(answer: IncomingAnswer, response: ServerResponse, headers: RawHeaders) {
  const { method = 'GET', httpVersion } = response.req
  if (httpVersion !== '1.0' && isLengthUnknown(answer, method)) return headers
  const kept: RawHeaders = []
  copyHeaders(headers, kept, (name) => name === 'trailer')
  return kept
}

/** Whether an answer has a body, and its fields do not say how long that is. */
function isLengthUnknown({ statusCode = 0, headers }: IncomingAnswer, method: string): boolean {
  const hasBody = method !== 'HEAD' && ![204, 304].includes(statusCode)
  return hasBody && headers['content-length'] === undefined
}

/**
 * Whether an answer that goes on until its stream ends was cut before that. node:http takes every end of a stream for
 * the end of such an answer.
 */
function isCutShort(answer: IncomingAnswer, method: string): boolean {
  if (!(answer instanceof IncomingMessage) || !isLengthUnknown(answer, method)) return false
  return answer.headers['transfer-encoding'] === undefined && !answer.socket.readableEnded
}

/**
 * The fields for node:http2. Content-Length is dropped from an answer without content (RFC 9110 §8.6), because clients
 * of HTTP/2 insist on that. Node sends no content with 205 either.
 */
function http2Head(statusCode: number, headers: RawHeaders) {
  const { 'content-length': length, ...fields } = http2Fields(headers)
  return statusCode === 204 || statusCode === 205 || length === undefined
    ? fields
    : { ...fields, 'content-length': length }
}

/** Breaks an answer off, so that the client can tell that it is not complete. */
function cut(response: ServerResponse) {
  if (response.writableFinished || response.destroyed) return
  if (isHttp2(response)) return response.stream.close(2)
  if (!response.writableEnded) sendHead(response)
  response.destroy()
}
