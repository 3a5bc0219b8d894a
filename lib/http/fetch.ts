import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { responseOf, wholeResponseOf } from './fetch-response.js'
import { hasIntegrity } from './integrity.js'

/** The body of a request. */
interface Payload {
  /** In bytes; null if it is not known beforehand. */
  length: number | null
  bytes: Uint8Array | Blob | ReadableStream
}

/** One request of those that a fetch makes while it follows redirects. */
interface Exchange {
  url: URL
  method: string
  headers: Headers
  payload: Payload | null
  signal: AbortSignal
}

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

const REDIRECTS = new Set([301, 302, 303, 307, 308])
const MAX_REDIRECTS = 20
/**
 * The fields that are about the body, which a redirect without a body drops (Fetch standard, "request-body-header
 * name").
 */
const OF_BODY = ['content-encoding', 'content-language', 'content-location', 'content-type']
/** Fields that Node's own fetch sends if the caller does not set them. */
const DEFAULTS: [name: string, value: string][] = [
  ['accept', '*/*'],
  ['accept-language', '*'],
  ['user-agent', 'node']
]
const CODINGS = 'gzip, deflate, br'

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
    const headers = new Headers(request.headers)
    for (const [name, value] of DEFAULTS) if (!headers.has(name)) headers.set(name, value)
    if (!headers.has('accept-encoding')) {
      // A part of compressed bytes is of no use, so with a range no compression is asked for.
      headers.set('accept-encoding', headers.has('range') ? 'identity' : CODINGS)
    }
    headers.set('sec-fetch-mode', request.mode)
    const url = new URL(request.url)
    if (!/^https?:$/.test(url.protocol)) throw new TypeError(`${url.protocol} cannot be fetched`)
    const payload = await payloadOf(request, init?.body)
    let exchange: Exchange = { url, method: request.method, headers, payload, signal }
    for (let redirects = 0; ; redirects++) {
      const answer = await ask(agent, exchange)
      const { statusCode = 0, headers } = answer
      const isRedirect = REDIRECTS.has(statusCode) && headers.location !== undefined
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
      exchange = redirected(exchange, statusCode, String(headers.location))
    }
  }
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
        ...(length !== null && { 'content-length': length })
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
    if (!(body instanceof ReadableStream)) return void asking.end(body)
    const reader = body.getReader()
    // The source of the body is told that no more is needed, even while a piece of it is awaited.
    asking.once('close', () => reader.cancel(signal.reason).catch(() => {}))
    // A failed pipeline destroys the request before it says why, so the error is passed on first.
    pipeline(chunksOf(reader, fail), asking).catch(fail)
  })
}

async function payloadOf(request: Request, body: unknown): Promise<Payload | null> {
  if (request.body === null) return null
  if (body instanceof Blob) return { length: body.size, bytes: body }
  if (body === undefined || body === null) return payloadAtOnce(request.body)
  if (isIterable(body)) return { length: null, bytes: request.body }
  if (body instanceof FormData) {
    const length = await encodedLength(body, request.headers.get('content-type'))
    return { length, bytes: request.body }
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
 * The body of a Request, which does not tell what it was made of. Text and bytes come at once and in one piece, so they are
 * recognized by that and are sent with their length; all else is streamed.
 */
async function payloadAtOnce(body: ReadableStream): Promise<Payload> {
  const reader = body.getReader()
  const reads: ReturnType<typeof reader.read>[] = []
  const turn = new Promise<null>((resolve) => setImmediate(resolve, null))
  const next = () => {
    const read = reader.read()
    reads.push(read)
    return Promise.race([read, turn]).catch(() => null)
  }
  const value = (await next())?.value
  if (value instanceof Uint8Array && (await next())?.done) {
    return { length: value.byteLength, bytes: value }
  }
  const pull = async (controller: ReadableStreamDefaultController) => {
    const { done, value } = await (reads.shift() ?? reader.read())
    if (done) controller.close()
    else controller.enqueue(value)
  }
  return { length: null, bytes: new ReadableStream({ pull, cancel: (why) => reader.cancel(why) }) }
}

function isIterable(body: unknown): boolean {
  return body instanceof ReadableStream || Symbol.asyncIterator in Object(body)
}

async function* chunksOf(
  body: ReadableStreamDefaultReader,
  onfailure: (error: unknown) => void
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = await readChunk(body).catch((error) => {
      onfailure(error)
      throw error
    })
    if (chunk === null) return
    yield chunk
  }
}

async function readChunk(body: ReadableStreamDefaultReader): Promise<Uint8Array | null> {
  const { done, value } = await body.read()
  if (done || value instanceof Uint8Array) return done ? null : value
  throw new TypeError('a chunk of the body is no Uint8Array')
}

/** The request that follows a redirect (Fetch standard, "HTTP-redirect fetch"). */
function redirected(before: Exchange, status: number, location: string): Exchange {
  const { url, method, headers, payload } = before
  if (!URL.canParse(location, url.href)) throw failed(`${location} is no URL to redirect to`)
  const to = new URL(location, url)
  if (to.origin !== url.origin) {
    throw failed(`the redirect leads away from the service, to ${to}: ask with redirect: 'manual'`)
  }
  const becomesGet =
    (status === 303 && method !== 'GET' && method !== 'HEAD') ||
    (status <= 302 && method === 'POST')
  if (becomesGet) {
    const kept = new Headers(headers)
    for (const name of OF_BODY) kept.delete(name)
    return { ...before, url: to, method: 'GET', headers: kept, payload: null }
  }
  if (payload?.bytes instanceof ReadableStream && status !== 303) {
    throw failed('a body that is a stream cannot be sent again to where the service redirects')
  }
  return { ...before, url: to }
}

/** A network error, as the standard has it; `cause` is why, and `code` is the cause's. */
function failed(cause: unknown): TypeError {
  const reason = cause instanceof Error ? cause : new Error(String(cause))
  const { code } = reason as NodeJS.ErrnoException
  const error = new TypeError('fetch failed', { cause: reason })
  return code === undefined ? error : Object.assign(error, { code })
}
