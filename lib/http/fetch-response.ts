import type { IncomingMessage } from 'node:http'
import { type Duplex, pipeline, type Readable } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip } from 'node:zlib'
import { Inflate } from './inflate.js'
import { pairs } from './request-body.js'

/** What a response has to know of its request. */
export interface Asked {
  url: URL
  method: string
  redirects: number
  signal: AbortSignal
}

/** Answers that have no body (Fetch standard). */
const BODILESS = new Set([101, 103, 204, 205, 304])
/** A body that was cut is decoded as far as it goes, as Node's own fetch does. */
const LENIENT = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }
const LENIENT_BROTLI = {
  flush: constants.BROTLI_OPERATION_FLUSH,
  finishFlush: constants.BROTLI_OPERATION_FLUSH
}
const DECODERS: Record<string, () => Duplex> = {
  gzip: () => createGunzip(LENIENT),
  'x-gzip': () => createGunzip(LENIENT),
  deflate: () => new Inflate(LENIENT),
  br: () => createBrotliDecompress(LENIENT_BROTLI)
}
/** More than this the standard's constructor refuses, but a service may answer so, and Node's own fetch says so. */
const MAX_STATUS = 599
/** More codings than these, one in the other, have no use but to fill our memory. */
const MAX_CODINGS = 5

/**
 * An answer as the standard's Response.
 *
 * @throws TypeError if it can be none
 */
export function responseOf(answer: IncomingMessage, asked: Asked): Response {
  const { statusCode = 0, statusMessage = '', rawHeaders } = answer
  const isBodiless = BODILESS.has(statusCode) || asked.method === 'HEAD'
  // An error reaches whoever reads the body; this listener only keeps it from being thrown.
  answer.on('error', () => {})
  try {
    const init = { status: statusCode, statusText: statusMessage, headers: pairs(rawHeaders) }
    if (!isBodiless) return responseWith(bodyOf(answer, asked.signal), init, asked)
    answer.resume()
    return responseWith(null, init, asked)
  } catch (cause) {
    answer.destroy()
    throw new TypeError('fetch failed', { cause })
  }
}

/**
 * An answer whose body has come as a whole.
 *
 * @throws TypeError if it can be none, or breaks off; or the signal's reason
 */
export async function wholeResponseOf(answer: IncomingMessage, asked: Asked) {
  const incoming = responseOf(answer, asked)
  const bytes = new Uint8Array(await incoming.arrayBuffer())
  const { status, statusText, headers } = incoming
  const body = incoming.body && bytes
  return { bytes, response: responseWith(body, { status, statusText, headers }, asked) }
}

function responseWith(
  body: ReadableStream | Uint8Array<ArrayBuffer> | null,
  { status, ...init }: ResponseInit & { status: number },
  asked: Asked
): Response {
  const response = new Response(body, { ...init, status: status > MAX_STATUS ? 500 : status })
  return dress(response, asked, status)
}

/** Sets what the standard's constructor has no options for. */
function dress(response: Response, asked: Asked, status: number): Response {
  const url = new URL(asked.url)
  url.hash = ''
  const value = () => {
    throw new TypeError('the headers of an answer cannot be changed')
  }
  Object.defineProperties(response.headers, {
    append: { value },
    delete: { value },
    set: { value }
  })
  return Object.defineProperties(response, {
    url: { value: url.href },
    redirected: { value: asked.redirects > 0 },
    type: { value: 'basic' },
    status: { value: status },
    clone: { value: () => dress(Response.prototype.clone.call(response), asked, status) }
  })
}

/** The decoded bytes of an answer. When the signal is aborted, the stream fails with its reason. */
function bodyOf(answer: IncomingMessage, signal: AbortSignal): ReadableStream {
  const source = decoded(answer)
  const chunks = source[Symbol.asyncIterator]()
  let onabort = () => {}
  const forget = () => signal.removeEventListener('abort', onabort)
  return new ReadableStream({
    type: 'bytes',
    start(controller) {
      onabort = () => {
        controller.error(signal.reason)
        answer.destroy(signal.reason)
      }
      if (signal.aborted) return onabort()
      signal.addEventListener('abort', onabort)
      answer.once('close', () => {
        // All bytes have arrived and only have to be decoded, so an abort would have nothing to end.
        if (answer.complete) forget()
      })
    },
    async pull(controller) {
      try {
        const { done, value } = await chunks.next()
        if (signal.aborted) return
        if (!done) return controller.enqueue(new Uint8Array(value))
        forget()
        controller.close()
        controller.byobRequest?.respond(0)
      } catch (cause) {
        if (signal.aborted) return
        forget()
        const { code } = cause as NodeJS.ErrnoException
        controller.error(Object.assign(new TypeError('terminated', { cause }), code && { code }))
      }
    },
    cancel() {
      forget()
      answer.destroy()
    }
  })
}

function decoded(answer: IncomingMessage): Readable {
  const names = String(answer.headers['content-encoding'] ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter(Boolean)
  const makers = names.map((name) => DECODERS[name]).filter((make) => make !== undefined)
  // If one of the codings is unknown, the bytes stay as they are.
  if (makers.length < names.length || names.length === 0) return answer
  if (names.length > MAX_CODINGS) throw new RangeError('there are too many content codings')
  const decoders = makers.reverse().map((make) => make())
  // An error of any of them destroys the last one, which the caller reads.
  return pipeline([answer, ...decoders], () => {}) as unknown as Readable
}
