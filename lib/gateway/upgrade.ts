import {
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type InformationEvent,
  ServerResponse
} from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import { startTimer } from '../core/timer.js'
import type { StreamRequestOptions } from '../http/agent.js'
import type { Forwarded } from '../http/forwarded.js'
import { guarded } from '../http/guarded.js'
import { hasBody, requestHeaders, responseHeaders } from '../http/headers.js'
import { fieldLines, isReason, type RawHeaders } from '../http/message-head.js'
import { pairs } from '../http/request-body.js'
import { pipe } from '../link/pipe.js'
import {
  brokenOff,
  type ForwardingContext,
  MAX_ANSWER_HEADER_BYTES,
  tooSlow
} from './forwarding.js'
import { InterimAnswers } from './interim.js'
import { linger } from './linger.js'
import { inform, invalidAnswer, relay } from './relay.js'
import type { Upstream } from './upstream.js'

export interface UpgradeOptions {
  request: IncomingMessage
  socket: Socket
  upstream: Upstream
  path: string
  forwarded: Forwarded
  /** How long the answer may take to begin, in ms. */
  timeout: number
  dropAuthorization: boolean
  /** Changes the header section of an answer that does not switch protocols. */
  amend: (headers: RawHeaders) => RawHeaders
}

/**
 * Passes on a request to switch protocols (RFC 9110 §7.8). If the instance agrees, bytes go both ways
 * until both have ended; if not, its answer is passed on and the connection closed. Resolves when all
 * is over.
 *
 * @throws NO_INSTANCE, BAD_GATEWAY or TOO_SLOW if there is no answer
 */
export async function forwardUpgrade(
  context: ForwardingContext,
  options: UpgradeOptions
): Promise<{ status: number; instance: string; firstByteMs: number; bytesOut: number }> {
  const { request, socket, upstream, timeout } = options
  const startedAt = performance.now()
  const ending = new AbortController()
  const onclose = () => ending.abort(SeaportError.CLOSED('the client left'))
  const timer = startTimer(() => ending.abort(tooSlow(timeout)), timeout)
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  socket.once('close', onclose)
  let stream: Duplex | null = null
  try {
    const { signal } = ending
    stream = await upstream.dialer.dial<Duplex>({ signal, open: context.kept.openFresh })
    const instance = context.kept.keyOf(stream)
    const answer = await ask(context, options, { stream, response, signal })
    clearTimeout(timer)
    const firstByteMs = performance.now() - startedAt
    const { statusCode: status = 502, statusMessage = '' } = answer
    if (!isReason(statusMessage)) {
      throw invalidAnswer(new SyntaxError('a reason phrase with control characters'))
    }
    let bytesOut = 0
    if (status === 101) {
      response.detachSocket(socket)
      await join(context, options, answer, stream)
    } else bytesOut = await refuse(context, options, answer, response)
    return { status, instance, firstByteMs, bytesOut }
  } catch (error) {
    stream?.destroy()
    throw error
  } finally {
    clearTimeout(timer)
    if (response.socket) response.detachSocket(socket)
    socket.off('close', onclose)
  }
}

/**
 * Whether an upgrade can be passed on. One to HTTP/2 in clear text is about this connection only, and a request with a
 * body would mix that with the bytes of the new protocol.
 */
export function isForwardableUpgrade(request: IncomingMessage): boolean {
  return !hasBody(request) && !/\bh2c?\b/i.test(request.headers.upgrade ?? '')
}

/** The bytes of a request without its wish for another protocol, which a server may ignore. */
export function withoutUpgrade(request: IncomingMessage): Buffer {
  const { method, url, httpVersion, rawHeaders } = request
  const kept = pairs(rawHeaders).filter(
    ([name]) => !/^(upgrade|http2-settings|connection)$/i.test(name)
  )
  const text = `${method} ${url} HTTP/${httpVersion}\r\n${fieldLines(kept.flat())}\r\n`
  return Buffer.from(text, 'latin1')
}

function ask(
  { agent, pseudonym }: ForwardingContext,
  { request, path, forwarded, dropAuthorization }: UpgradeOptions,
  { stream, response, signal }: { stream: Duplex; response: ServerResponse; signal: AbortSignal }
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { upgrade } = request.headers
    const asking: StreamRequestOptions = {
      agent,
      stream,
      path,
      method: request.method ?? 'GET',
      headers: requestHeaders(request, { forwarded, pseudonym, upgrade, dropAuthorization }),
      setHost: false,
      maxHeaderSize: MAX_ANSWER_HEADER_BYTES
    }
    const attempt: ClientRequest = httpRequest(asking)
    const interim = new InterimAnswers()
    const onabort = () => attempt.destroy(signal.reason)
    const oninformation = (information: InformationEvent) => {
      if (interim.admit(1)) inform(request, response, information)
    }
    const onfailure = (cause: Error) => {
      reject(invalidAnswer(cause))
      attempt.destroy()
    }
    signal.addEventListener('abort', onabort)
    attempt.on('information', guarded(oninformation, onfailure))
    attempt.on('upgrade', (answer, _stream, head) => {
      if (head.byteLength > 0) stream.unshift(head)
      resolve(answer)
    })
    attempt.on('response', (answer) => {
      // node:http takes what follows for another answer, so the first bytes of the new protocol are lost.
      if (answer.statusCode === 101) onfailure(new SyntaxError('a switch without Connection'))
      else resolve(answer)
    })
    attempt.on('error', (cause) => reject(signal.aborted ? signal.reason : brokenOff(cause)))
    attempt.on('close', () => signal.removeEventListener('abort', onabort))
    attempt.end()
  })
}

async function join(
  { pseudonym }: ForwardingContext,
  { socket }: UpgradeOptions,
  answer: IncomingMessage,
  stream: Duplex
) {
  const headers = responseHeaders(answer, pseudonym)
  headers.push('Connection', 'Upgrade', 'Upgrade', answer.headers.upgrade ?? '')
  socket.write(headOf(answer, headers), 'latin1')
  await pipe(socket, stream)
}

/**
 * Passes on an answer that does not switch protocols. node:http has let go of the client's connection by now, so the
 * connection ends with the answer.
 */
async function refuse(
  { pseudonym }: ForwardingContext,
  { request: { method = 'GET' }, socket, amend }: UpgradeOptions,
  answer: IncomingMessage,
  response: ServerResponse
): Promise<number> {
  const ondrain = () => response.emit('drain')
  socket.on('drain', ondrain)
  response.once('finish', () => {
    response.detachSocket(socket)
    linger(socket)
    response.emit('close')
  })
  socket.resume()
  const bytes = await relay(answer, response, { method, pseudonym, amend })
  socket.off('drain', ondrain)
  return bytes
}

function headOf({ statusCode, statusMessage }: IncomingMessage, headers: RawHeaders): string {
  return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${fieldLines(headers)}\r\n`
}
