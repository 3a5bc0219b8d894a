import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { SeaportError } from '../core/errors.js'
import type { StreamRequestOptions } from '../http/agent.js'
import type { Forwarded } from '../http/forwarded.js'
import { hasBody, requestHeaders, responseHeaders } from '../http/headers.js'
import { fieldLines, isReason, type RawHeaders } from '../http/message-head.js'
import { pairs } from '../http/request-body.js'
import { cut, pipe } from '../link/pipe.js'
import type { ForwardingContext } from './forwarding.js'
import { invalidAnswer } from './relay.js'
import type { Upstream } from './upstream.js'

export interface UpgradeOptions {
  request: IncomingMessage
  socket: Duplex
  upstream: Upstream
  path: string
  forwarded: Forwarded
  /** How long the answer may take to begin, in ms. */
  timeout: number
  dropAuthorization: boolean
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
): Promise<{ status: number; instance: string; firstByteMs: number }> {
  const { socket, upstream, timeout } = options
  const startedAt = performance.now()
  const ending = new AbortController()
  const onclose = () => ending.abort(SeaportError.CLOSED('the client left'))
  const late = SeaportError.TOO_SLOW(
    `the service did not begin to answer within ${timeout / 1000} s`
  )
  const timer = setTimeout(() => ending.abort(late), timeout)
  socket.once('close', onclose)
  try {
    const { signal } = ending
    const stream = await upstream.dialer.dial({ signal, open: context.kept.openFresh })
    const instance = context.kept.keyOf(stream)
    const answer = await ask(context, options, stream, signal)
    clearTimeout(timer)
    const firstByteMs = performance.now() - startedAt
    if (!isReason(answer.statusMessage ?? '')) {
      answer.destroy()
      stream.destroy()
      throw invalidAnswer(new SyntaxError('a reason phrase with control characters'))
    }
    if (answer.statusCode === 101) await join(context, options, answer, stream)
    else await refuse(context, options, answer)
    return { status: answer.statusCode ?? 502, instance, firstByteMs }
  } finally {
    clearTimeout(timer)
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
  stream: Duplex,
  signal: AbortSignal
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { upgrade } = request.headers
    const asking: StreamRequestOptions = {
      agent,
      stream,
      path,
      method: request.method ?? 'GET',
      headers: requestHeaders(request, { forwarded, pseudonym, upgrade, dropAuthorization }),
      setHost: false
    }
    const attempt: ClientRequest = httpRequest(asking)
    const onabort = () => attempt.destroy(signal.reason)
    signal.addEventListener('abort', onabort)
    attempt.on('upgrade', (answer, _stream, head) => {
      if (head.byteLength > 0) stream.unshift(head)
      resolve(answer)
    })
    attempt.on('response', resolve)
    attempt.on('error', (cause) =>
      reject(
        signal.aborted ? signal.reason : SeaportError.BAD_GATEWAY('the instance broke off', cause)
      )
    )
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
 * Passes on an answer that does not switch protocols. The client's connection has left node:http by now, so the answer
 * is written by hand, and the connection ends with it.
 */
async function refuse(
  { pseudonym }: ForwardingContext,
  { socket }: UpgradeOptions,
  answer: IncomingMessage
) {
  const headers = responseHeaders(answer, pseudonym)
  headers.push('Connection', 'close')
  socket.write(headOf(answer, headers), 'latin1')
  const closed = new Promise((resolve) => socket.once('close', resolve))
  answer.on('error', (error) => cut(socket, error))
  answer.pipe(socket)
  socket.resume()
  await closed
  answer.destroy()
}

function headOf({ statusCode, statusMessage }: IncomingMessage, headers: RawHeaders): string {
  return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${fieldLines(headers)}\r\n`
}
