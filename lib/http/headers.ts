import type { Http2ServerRequest } from 'node:http2'
import { type Forwarded, forwardingHeaders, isForwardingField } from './forwarded.js'
import { type AnswerHead, isOverHttp2, type RawHeaders, type RequestHead } from './message-head.js'

export interface RequestHeadersOptions {
  forwarded: Forwarded
  /** Our entry in Via, without the version. */
  pseudonym: string
  /** The protocol to ask the instance to switch to. */
  upgrade?: string | undefined
  /** Whether the client's Authorization was for the gateway, and is not passed on. */
  dropAuthorization?: boolean | undefined
}

/**
 * Fields that are about one connection and not about the message (RFC 9110 §7.6.1). The last two are for the proxy
 * itself (§11.7).
 */
const HOP_BY_HOP = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'proxy-authenticate',
  'proxy-authorization'
])

/** Fields that belong to the message, even if a Connection field names them. */
const NEVER_NAMED = new Set(['host', 'content-length'])

/** The header section of a request as the instance gets it. */
export function requestHeaders(
  request: RequestHead,
  { forwarded, pseudonym, upgrade, dropAuthorization = false }: RequestHeadersOptions
): RawHeaders {
  const dropped = namedByConnection(request.rawHeaders)
  // `Proxy` is no field of HTTP. Programs under CGI would take it for the proxy that they are to use (httpoxy).
  dropped.add('via').add('host').add('proxy')
  if (dropAuthorization) dropped.add('authorization')
  const frame = framing(request)
  // Only a chunked body can have trailers, and node:http refuses to announce them for any other.
  if (!frame.includes('Transfer-Encoding')) dropped.add('trailer')

  const overHttp2 = isOverHttp2(request)
  const headers: RawHeaders = ['Host', forwarded.host]
  copyHeaders(
    request.rawHeaders,
    headers,
    (name) =>
      dropped.has(name) ||
      (overHttp2 && name === 'cookie') ||
      isForwardingField(name, forwarded.isTrusted)
  )
  // HTTP/2 may split cookies over several fields, HTTP/1.1 may not (RFC 9113 §8.2.3).
  if (overHttp2 && request.headers.cookie) headers.push('Cookie', request.headers.cookie)
  headers.push(...frame)
  if (/\btrailers\b/i.test(String(request.headers.te ?? ''))) headers.push('TE', 'trailers')
  if (upgrade !== undefined) headers.push('Connection', 'Upgrade', 'Upgrade', upgrade)
  const said = (name: string) => listed(request.rawHeaders, name)
  headers.push(...forwardingHeaders(forwarded, said), 'Via', via(request, pseudonym))
  return headers
}

/** The header section of an answer as the client gets it. */
export function responseHeaders(response: AnswerHead, pseudonym: string): RawHeaders {
  const dropped = namedByConnection(response.rawHeaders)
  // An answer that never has a body may not say how long that is (RFC 9110 §8.6).
  if (response.statusCode === 204 || response.statusCode === 101) dropped.add('content-length')
  const headers: RawHeaders = []
  copyHeaders(response.rawHeaders, headers, (name) => dropped.has(name))
  headers.push('Via', `${response.httpVersion} ${pseudonym}`)
  return headers
}

/**
 * Fields that no trailer may set: how long a message is and whom it is for has to be known before its body (RFC 9110
 * §6.5.1).
 */
const NO_TRAILERS = new Set(['content-length', 'host', 'trailer'])

/** The trailers that are passed on. */
export function trailersOf(raw: readonly string[]): RawHeaders {
  const trailers: RawHeaders = []
  copyHeaders(raw, trailers, (name) => NO_TRAILERS.has(name))
  return trailers
}

/** Copies the end-to-end fields. */
export function copyHeaders(
  from: readonly string[],
  to: RawHeaders,
  isDropped: (name: string) => boolean
) {
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string
    const lowerName = name.toLowerCase()
    if (HOP_BY_HOP.has(lowerName) || lowerName.startsWith(':') || isDropped(lowerName)) continue
    to.push(name, from[i + 1] as string)
  }
}

/** All values of a field, as one list. */
export function listed(headers: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === name) values.push(headers[i + 1] as string)
  }
  return values
}

/** Whether a request announces a body. */
export function hasBody(request: RequestHead): boolean {
  if (isOverHttp2(request)) return !isEmptyOverHttp2(request)
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  return coding !== undefined || (length !== undefined && Number(length) > 0)
}

/** HTTP/2 requests come through node's compatibility layer, which adds the stream. */
function isEmptyOverHttp2(request: RequestHead): boolean {
  return (request as unknown as Http2ServerRequest).stream.endAfterHeaders
}

/** The fields that a Connection field declares to be about this connection only. */
function namedByConnection(headers: readonly string[]): Set<string> {
  const named = new Set<string>()
  for (const value of listed(headers, 'connection')) {
    for (const option of value.split(',')) {
      const name = option.trim().toLowerCase()
      if (!NEVER_NAMED.has(name)) named.add(name)
    }
  }
  return named
}

/**
 * The fields that frame the body. They are written anew, because the transfer coding of one connection does not hold
 * for the next.
 */
function framing(request: RequestHead): RawHeaders {
  const length = request.headers['content-length']
  if (length !== undefined) return []
  if (hasBody(request)) return ['Transfer-Encoding', 'chunked']
  // For a method that expects a body, its absence is stated (RFC 9110 §8.6).
  return ['POST', 'PUT', 'PATCH'].includes(request.method ?? '') ? ['Content-Length', '0'] : []
}

/** The Via field: the entries that came, and ours after them. */
function via(request: RequestHead, pseudonym: string): string {
  const version = isOverHttp2(request) ? '2.0' : request.httpVersion
  return [...listed(request.rawHeaders, 'via'), `${version} ${pseudonym}`].join(', ')
}
