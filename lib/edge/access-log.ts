import type { IncomingMessage } from 'node:http'

/** One request, as the access log tells it. */
export interface AccessEntry {
  /** ISO 8601. */
  time: string
  /** Address of the client, or of the proxy in front. */
  client: string
  /** What a proxy in front said of the client. */
  forwardedFor: string | undefined
  /** Who it was, by their credentials. */
  viewer: string
  method: string
  host: string
  url: string
  httpVersion: string
  userAgent: string | undefined
  /** The request's place in a distributed trace (W3C Trace Context). */
  traceparent: string | undefined
  /** What it was for, as in `couchdb@3.x`; empty for a page of the gateway's own. */
  upstream: string
  role: string
  /** Hex, or empty. */
  instance: string
  attempts: number
  /** 499 if the client left before an answer began. */
  status: number
  /** Why there was no answer to pass on. */
  error: string | undefined
  bytesIn: number
  bytesOut: number
  /** Until the answer began, in ms. */
  firstByteMs: number
  /** Until all was over, in ms. */
  ms: number
  /** By the process's own clock, in ms. */
  startedAt: number
}

export function accessEntry(request: IncomingMessage): AccessEntry {
  const { headers, method = '', url = '', httpVersion, socket } = request
  return {
    time: new Date().toISOString(),
    client: (socket.remoteAddress ?? '').replace(/^::ffff:/, ''),
    forwardedFor: text(headers['x-forwarded-for']),
    viewer: '',
    method,
    host: headers.host ?? text(headers[':authority']) ?? '',
    url,
    httpVersion,
    userAgent: headers['user-agent'],
    traceparent: text(headers.traceparent),
    upstream: '',
    role: '',
    instance: '',
    attempts: 0,
    status: 0,
    error: undefined,
    bytesIn: 0,
    bytesOut: 0,
    firstByteMs: 0,
    ms: 0,
    startedAt: performance.now()
  }
}

/** One line of JSON. */
export function toJson({ startedAt: _startedAt, ...entry }: AccessEntry): string {
  return JSON.stringify(entry)
}

/** One line for people. */
export function toLine(entry: AccessEntry): string {
  const { time, client, method, url, status, upstream, instance, error, ms, bytesOut } = entry
  const to = upstream === '' ? '' : ` → ${upstream}${instance && ` ${instance.slice(0, 8)}`}`
  return `${time} ${client} ${method} ${clean(url)} ${status}${error ? ` ${error}` : ''}${to} ${bytesOut} B ${ms} ms`
}

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

/** A URL comes from outside, and the line goes to a terminal. */
function clean(url: string): string {
  return url.replaceAll(/[^\x21-\x7e]/g, '?')
}
