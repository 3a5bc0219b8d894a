import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Dialer } from '../dialing/dialer.js'
import type { LinkPool } from '../link/pool.js'
import type { Directory } from '../registry/replica/directory.js'
import { StreamAgent, type StreamRequestOptions } from './agent.js'
import { isIdempotent } from './idempotent.js'
import { welcomedBy } from './idle-streams.js'
import { KeptStreams } from './kept-streams.js'
import { pairs } from './request-body.js'

export interface StreamClientOptions {
  dialer: Dialer
  pool: Pick<LinkPool, 'open'>
  directory: Pick<Directory, 'watch' | 'statusOf'>
  /** What goes into Host where a caller gives only a path. */
  host: string
}

/** Answers that have no body (Fetch standard). */
const BODILESS = new Set([101, 204, 205, 304])

/** HTTP to the instances of a role over streams, without a local port. */
export class StreamClient {
  /** For `http.request` and whatever takes an agent. An instance is chosen for each request. */
  readonly agent: Agent

  readonly #kept: KeptStreams
  readonly #stopWatching: () => void
  readonly #host: string

  constructor({ dialer, pool, directory, host }: StreamClientOptions) {
    const kept = new KeptStreams({ pool, isWelcome: welcomedBy(directory) })
    this.#kept = kept
    this.#stopWatching = directory.watch(kept.forget)
    this.#host = host
    this.agent = new StreamAgent({
      // What must not be sent twice goes over a new stream: a kept one may just be closing.
      dial: ({ signal, method }) =>
        dialer.dial({ signal, open: isIdempotent(method) ? kept.open : kept.openFresh })
    })
  }

  /**
   * The standard's `fetch`, to a path or a URL whose host counts only for the Host field. Redirects are
   * not followed, and nothing is retried.
   *
   * @throws NO_INSTANCE with what each instance answered, or what broke the exchange
   */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const given = typeof input === 'string' ? new URL(input, `http://${this.#host}/`) : input
    const request = new Request(given, init)
    const url = new URL(request.url)
    const { signal } = request
    signal.throwIfAborted()
    const options: StreamRequestOptions = {
      agent: this.agent,
      dialSignal: signal,
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, ...Object.fromEntries(request.headers) }
    }
    const asking = httpRequest(options)
    const onabort = () => asking.destroy(signal.reason)
    signal.addEventListener('abort', onabort)
    asking.once('close', () => signal.removeEventListener('abort', onabort))
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      asking.on('response', resolve)
      asking.on('error', reject)
    })
    if (request.body === null) asking.end()
    // Its failure is the request's, and told there.
    else pipeline(Readable.fromWeb(request.body as never), asking).catch(() => {})
    return toResponse(await answered)
  }

  /** Gives up the streams that are not in use. */
  close() {
    this.#stopWatching()
    this.#kept.close()
  }
}

function toResponse(answer: IncomingMessage): Response {
  const { statusCode = 502, statusMessage = '', rawHeaders } = answer
  const isBodiless = BODILESS.has(statusCode)
  if (isBodiless) answer.resume()
  const body = isBodiless ? null : (Readable.toWeb(answer) as ReadableStream)
  return new Response(body, {
    status: statusCode,
    statusText: statusMessage,
    headers: pairs(rawHeaders)
  })
}
