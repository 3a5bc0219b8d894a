import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import {
  fieldsOf,
  InvalidRequestError,
  policyAfter,
  type ReferrerPolicy,
  referrerOf
} from './fetch-headers.js'
import { responseOf, wholeResponseOf } from './fetch-response.js'
import { hasIntegrity } from './integrity.js'

/** The body of a request. */
interface Payload {
  /** In bytes; null if it is not known beforehand. */
  length: number | null
  bytes: Uint8Array | Blob | ReadableStream
  /** The caller gave a stream, so that it cannot be had again (Fetch standard, "source"). */
  isStream?: boolean
  /** What the bytes are of, if they can be encoded again. */
  form?: FormData
}

/** One request of those that a fetch makes while it follows redirects. */
interface Exchange {
  url: URL
  method: string
  headers: Headers
  payload: Payload | null
  signal: AbortSignal
  /** What the services on the way are told of where the caller comes from; null if the caller sets the field itself. */
  referrerPolicy: ReferrerPolicy | null
}

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

const REDIRECTS = new Set([301, 302, 303, 307, 308])
const MAX_REDIRECTS = 20
/** Of the body of a Request, to be sent with its length, and again after a redirect. */
const MAX_HELD_BYTES = 16 * 1024 * 1024
const ONCE_ONLY = 'a body that is a stream cannot be sent again to where the service redirects'
/**
 * The fields that are about the body, which a redirect without a body drops (Fetch standard, "request-body-header
 * name").
 */
const OF_BODY = ['content-encoding', 'content-language', 'content-location', 'content-type']

/**
 * The standard's `fetch` over the streams of an agent, as Node has it, with one exception: a redirect to another origin
 * is not followed, since the agent leads to one place only.
 *
 * @param host what paths are completed with
 */
export function fetchOver(agent: Agent, host: string): Fetch {
  return async (input, init) => {
    const given = typeof input === 'string' ? new URL(input, `http://${host}/`) : input
    const request = new Request(given, init)
    const { signal, redirect, integrity } = request
    if (signal.aborted) {
      request.body?.cancel(signal.reason).catch(() => {})
      throw signal.reason
    }
    const url = new URL(request.url)
    if (!/^https?:$/.test(url.protocol)) throw new TypeError(`${url.protocol} cannot be fetched`)
    const { headers, declaredLength } = fieldsAllowed(request)
    const payload = declaredAs(declaredLength, await payloadOf(request, init?.body))
    const referrerPolicy = request.headers.has('referer') ? null : request.referrerPolicy
    const { method } = request
    let exchange: Exchange = { url, method, headers, payload, signal, referrerPolicy }
    for (let redirects = 0; ; redirects++) {
      const answer = await ask(agent, exchange)
      const { statusCode = 0 } = answer
      // Several of them are one URL with commas in it, as for Node's own fetch, and most often lead nowhere.
      const location = answer.headersDistinct.location?.join(', ')
      const isRedirect =
        REDIRECTS.has(statusCode) && (location !== undefined || redirect === 'error')
      if (!isRedirect || redirect === 'manual') {
        const asked = { url: exchange.url, method: exchange.method, redirects, signal }
        if (integrity === '') return responseOf(answer, asked)
        const whole = await wholeResponseOf(answer, asked)
        if (hasIntegrity(whole.bytes, integrity)) return whole.response
        throw failed('the answer has none of the hashes that were asked for')
      }
      answer.on('error', () => {}).resume()
      if (redirect === 'error') throw failed(`${exchange.url} redirects`)
      if (redirects >= MAX_REDIRECTS) throw failed('there are too many redirects')
      const policy = answer.headersDistinct['referrer-policy']?.join()
      exchange = redirected(told(exchange, policy), statusCode, asUtf8(String(location)))
    }
  }
}

/** @throws TypeError if one of the fields is refused; nobody reads the body then */
function fieldsAllowed(request: Request) {
  try {
    return fieldsOf(request)
  } catch (error) {
    request.body?.cancel(error).catch(() => {})
    throw failed(error)
  }
}

/**
 * The body with the length that the caller says it has. Without a body, what is said of it counts for nothing.
 *
 * @throws TypeError if the length is known, and is another
 */
function declaredAs(length: number | null, payload: Payload | null): Payload | null {
  if (length === null || payload === null) return payload
  if (payload.length !== null && payload.length !== length) {
    throw failed(InvalidRequestError.LENGTH_MISMATCH())
  }
  return { ...payload, length }
}

/** Asks once. */
function ask(agent: Agent, { url, method, headers, payload, signal }: Exchange) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    signal.throwIfAborted()
    const length = payload?.length ?? null
    const asking = httpRequest({
      agent,
      method,
      path: `${url.pathname}${url.search}`,
      headers: {
        host: url.host,
        ...Object.fromEntries(headers),
        ...(length !== null && { 'content-length': length }),
        // For some methods, as DELETE, node:http would send it without saying where it ends.
        ...(payload !== null && length === null && { 'transfer-encoding': 'chunked' })
      }
    })
    const onabort = () => void asking.destroy(signal.reason)
    signal.addEventListener('abort', onabort)
    asking.once('close', () => signal.removeEventListener('abort', onabort))
    asking.on('response', resolve)
    const fail = (error: unknown) => reject(signal.aborted ? signal.reason : failed(error))
    asking.on('error', fail)
    asking.on('upgrade', (_answer, stream) => {
      stream.destroy()
      fail('the service switched to another protocol')
    })
    // A promise that is settled already takes no notice of it.
    asking.once('close', () => fail('the service broke off before it answered'))
    // It may be a large file, so it is streamed.
    const body = payload?.bytes instanceof Blob ? payload.bytes.stream() : payload?.bytes
    if (!(body instanceof ReadableStream)) {
      try {
        asking.end(body)
      } catch (error) {
        // node:http looks at the fields together only now.
        fail(error)
        asking.destroy()
      }
      return
    }
    const reader = body.getReader()
    // The source of the body is told that no more is needed, even while a piece of it is awaited.
    asking.once('close', () => reader.cancel(signal.reason).catch(() => {}))
    // A failed pipeline destroys the request before it says why, so the error is passed on first.
    pipeline(chunksOf(reader, length, fail), asking).catch(fail)
  })
}

async function payloadOf(request: Request, body: unknown): Promise<Payload | null> {
  if (request.body === null) return null
  if (body instanceof Blob) return { length: body.size, bytes: body }
  if (body === undefined || body === null) return payloadOfRequest(request, request.body)
  if (isIterable(body)) return { length: null, bytes: request.body, isStream: true }
  if (body instanceof FormData) {
    const length = await encodedLength(body, request.headers.get('content-type'))
    return { length, bytes: request.body, form: body }
  }
  const bytes = new Uint8Array(await request.arrayBuffer())
  return { length: bytes.byteLength, bytes }
}

/**
 * The length of an encoded form, in bytes: that of the same form with empty files, and the sizes of the files. No file is
 * read for it. It is null if the boundary between the parts is not as long in both.
 *
 * @param type the content type of the form, which has its boundary
 */
async function encodedLength(form: FormData, type: string | null): Promise<number | null> {
  const empty = new FormData()
  let ofFiles = 0
  for (const [name, value] of form) {
    if (typeof value === 'string') empty.append(name, value)
    else {
      empty.append(name, new File([], value.name, { type: value.type }))
      ofFiles += value.size
    }
  }
  const encoded = new Response(empty)
  if (encoded.headers.get('content-type')?.length !== type?.length) return null
  return ofFiles + (await encoded.arrayBuffer()).byteLength
}

/**
 * The body of a Request, which does not tell what it was made of. A stream is known by that no request without CORS may
 * have one (Fetch standard, "new Request"); all else has an end, and is sent with its length unless it is large.
 */
async function payloadOfRequest(request: Request, body: ReadableStream): Promise<Payload> {
  const copy = withoutCors(request)
  if (!copy?.body) return { length: null, bytes: body, isStream: true }
  const reader = copy.body.getReader()
  const pieces: Uint8Array[] = []
  for (let length = 0; length <= MAX_HELD_BYTES; ) {
    const { done, value } = await reader.read().catch((error) => Promise.reject(failed(error)))
    if (done) return { length, bytes: Buffer.concat(pieces) }
    pieces.push(value)
    length += value.byteLength
  }
  const pull = async (controller: ReadableStreamDefaultController) => {
    const piece = pieces.shift() ?? (await readChunk(reader))
    if (piece === null) controller.close()
    else controller.enqueue(piece)
  }
  return { length: null, bytes: new ReadableStream({ pull, cancel: (why) => reader.cancel(why) }) }
}

/** Takes over the body of a request. Null if that is a stream, which then is left as it was. */
function withoutCors(request: Request): Request | null {
  try {
    const allowed = { mode: 'no-cors', method: 'POST', cache: 'default', integrity: '' } as const
    return new Request(request, { ...allowed, signal: null })
  } catch {
    return null
  }
}

function isIterable(body: unknown): boolean {
  return body instanceof ReadableStream || Symbol.asyncIterator in Object(body)
}

/**
 * @param length what the body has to have, in bytes; null for any. The other side takes what comes after it for the next
 *   request, and waits for what is missing.
 */
async function* chunksOf(
  body: ReadableStreamDefaultReader,
  length: number | null,
  onfailure: (error: unknown) => void
): AsyncGenerator<Uint8Array> {
  let sent = 0
  try {
    for (;;) {
      const chunk = await readChunk(body)
      sent += chunk?.byteLength ?? 0
      const isWrong = length !== null && (chunk === null ? sent !== length : sent > length)
      if (isWrong) throw InvalidRequestError.LENGTH_MISMATCH()
      if (chunk === null) return
      yield chunk
    }
  } catch (error) {
    onfailure(error)
    throw error
  }
}

async function readChunk(body: ReadableStreamDefaultReader): Promise<Uint8Array | null> {
  const { done, value } = await body.read()
  if (done || value instanceof Uint8Array) return done ? null : value
  throw new TypeError('a chunk of the body is no Uint8Array')
}

/**
 * What is said of where the caller comes from may become less with each redirect, and never more (Fetch standard, "main
 * fetch"). All redirects stay with the service, so it does not matter where this one leads.
 */
function told(before: Exchange, policy: string | undefined): Exchange {
  if (before.referrerPolicy === null) return before
  const headers = new Headers(before.headers)
  const referrerPolicy = policyAfter(before.referrerPolicy, policy)
  const referrer = referrerOf({
    referrer: headers.get('referer') ?? '',
    referrerPolicy,
    url: before.url.href
  })
  if (referrer === null) headers.delete('referer')
  else headers.set('referer', referrer)
  return { ...before, headers, referrerPolicy }
}

/** The request that follows a redirect (Fetch standard, "HTTP-redirect fetch"). */
function redirected(before: Exchange, status: number, location: string): Exchange {
  const { url, method, headers, payload } = before
  if (!URL.canParse(location, url.href)) throw failed(`${location} is no URL to redirect to`)
  const to = new URL(location, url)
  if (to.origin !== url.origin) {
    throw failed(`the redirect leads away from the service, to ${to}: ask with redirect: 'manual'`)
  }
  if (payload?.isStream && status !== 303) throw failed(ONCE_ONLY)
  const becomesGet =
    (status === 303 && method !== 'GET' && method !== 'HEAD') ||
    (status <= 302 && method === 'POST')
  if (becomesGet) {
    const kept = new Headers(headers)
    for (const name of OF_BODY) kept.delete(name)
    return { ...before, url: to, method: 'GET', headers: kept, payload: null }
  }
  if (payload?.form) return { ...before, url: to, ...encodedAgain(before, payload.form) }
  if (payload?.bytes instanceof ReadableStream && status !== 303) {
    throw failed(ONCE_ONLY)
  }
  return { ...before, url: to }
}

/** The form of an exchange as it is sent again: each encoding of it has a boundary of its own, which its type names. */
function encodedAgain(before: Exchange, form: FormData): Pick<Exchange, 'headers' | 'payload'> {
  const encoded = new Response(form)
  const headers = new Headers(before.headers)
  const [old, type] = [headers.get('content-type'), encoded.headers.get('content-type') ?? '']
  if (old?.startsWith('multipart/form-data')) headers.set('content-type', type)
  const length = old?.length === type.length ? (before.payload?.length ?? null) : null
  return { headers, payload: { length, bytes: encoded.body as ReadableStream, form } }
}

/** The bytes of a field, each of which Node has made a character of. */
function asUtf8(text: string): string {
  return Buffer.from(text, 'latin1').toString()
}

/** A network error, as the standard has it; `cause` is why, and `code` is the cause's. */
function failed(cause: unknown): TypeError {
  const reason = cause instanceof Error ? cause : new Error(String(cause))
  const { code } = reason as NodeJS.ErrnoException
  const error = new TypeError('fetch failed', { cause: reason })
  return code === undefined ? error : Object.assign(error, { code })
}
