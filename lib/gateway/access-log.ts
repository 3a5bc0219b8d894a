import { printableJson } from '../core/printable.js'
import type { RequestHead } from '../http/message-head.js'

/** One request, as the access log tells it. */
export class AccessEntry {
  /** The principal that the credentials name. */
  principal = ''
  /** The target, as in `couchdb@3.x`; empty for a page of the gateway's own. */
  upstream = ''
  role = ''
  /** The key of the instance in hex; empty if none was asked. */
  instance = ''
  attempts = 0
  /** 499 if the client left before an answer began. */
  status = 0
  /** The code of the error, if there was no answer to pass on. */
  error: string | undefined
  bytesIn = 0
  bytesOut = 0
  /** The time until the answer began, in ms. */
  firstByteMs = 0
  /** The time until the request was over, in ms. */
  ms = 0
  /** When the request came, by the process's monotonic clock, in ms. */
  readonly startedAt = performance.now()

  readonly #request: RequestHead
  readonly #at = Date.now()

  constructor(request: RequestHead) {
    this.#request = request
  }

  /** ISO 8601. */
  get time(): string {
    return new Date(this.#at).toISOString()
  }

  /** Address of the client, or of the proxy in front. */
  get client(): string {
    return addressOf(this.#request.socket)
  }

  /** What a proxy in front said of the client. */
  get forwardedFor(): string | undefined {
    return text(this.#request.headers['x-forwarded-for'])
  }

  get method(): string {
    return this.#request.method ?? ''
  }

  get host(): string {
    const { headers } = this.#request
    return text(headers[':authority']) ?? headers.host ?? ''
  }

  /** As it came, but for a user and a password, which are nobody's business. */
  get url(): string {
    return this.#request.url?.replace(/^(https?:\/\/)[^/?#]*@/i, '$1') ?? ''
  }

  get httpVersion(): string {
    return this.#request.httpVersion
  }

  get userAgent(): string | undefined {
    return this.#request.headers['user-agent']
  }

  /** The request's place in a distributed trace (W3C Trace Context). */
  get traceparent(): string | undefined {
    return text(this.#request.headers.traceparent)
  }

  toJSON() {
    const { time, client, forwardedFor, principal: viewer } = this
    const { method, host, url, httpVersion, userAgent } = this
    const { traceparent, upstream, role, instance, attempts, status, error } = this
    const { bytesIn, bytesOut, firstByteMs, ms } = this
    const asked = { time, client, forwardedFor, viewer, method, host, url, httpVersion, userAgent }
    const found = { traceparent, upstream, role, instance, attempts, status, error }
    return { ...asked, ...found, bytesIn, bytesOut, firstByteMs, ms }
  }
}

/** One line of JSON. */
export function toJson(entry: AccessEntry): string {
  return printableJson(entry)
}

/** One line for people. */
export function toLine(entry: AccessEntry): string {
  const { time, client, method, url, status, upstream, instance, error, ms, bytesOut } = entry
  const to = upstream === '' ? '' : ` → ${upstream}${instance && ` ${instance.slice(0, 8)}`}`
  return `${time} ${client} ${method} ${clean(url)} ${status}${error ? ` ${error}` : ''}${to} ${bytesOut} B ${ms} ms`
}

/** The address at the other end of a connection. */
export function addressOf({ remoteAddress = '' }: RequestHead['socket']): string {
  return remoteAddress.replace(/^::ffff:/, '')
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

/** Makes a URL printable: it comes from outside, and the line goes to a terminal. */
function clean(url: string): string {
  return url.replaceAll(/[^\x21-\x7e]/g, '?')
}
