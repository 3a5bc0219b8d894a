import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { SeaportError } from '../core/errors.js'
import { httpDate } from '../http/date.js'
import { hasBody } from '../http/headers.js'
import { fieldLines, isOverHttp2, type RequestHead } from '../http/message-head.js'
import { connectionLines } from './gateway-server.js'

/** The gateway's own answer, where there is none to pass on. */
export interface Refusal {
  status: number
  code: string
  /** The text for the client: true, and without what only the owner should know. */
  text: string
  headers: Record<string, string>
}

const STATUSES: Record<string, number> = {
  BAD_REQUEST: 400,
  BAD_ROLE: 400,
  BAD_KEY: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  TOO_LARGE: 413,
  TOO_MANY_GUESSES: 429,
  NOT_IMPLEMENTED: 501,
  BAD_GATEWAY: 502,
  NO_INSTANCE: 503,
  CLOSED: 503,
  TOO_SLOW: 504,
  LOOP: 508
}

const TITLES: Record<number, string> = {
  400: 'Bad request',
  401: 'Who are you?',
  403: 'Not for you',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Too slow',
  413: 'Too large',
  429: 'Too many guesses',
  431: 'Too large',
  500: 'Something broke in the gateway',
  501: 'Not implemented',
  502: 'The service is broken',
  503: 'The service is away',
  504: 'The service is too slow',
  508: 'Going round in circles'
}

export const LARGE_HEAD: Refusal = {
  status: 431,
  code: 'TOO_LARGE',
  text: 'the head of the request is too large',
  headers: {}
}

/** Codes of instances that were reached and could not do their work. */
const BROKEN = new Set(['BACKEND_UNREACHABLE', 'NOT_ALLOWED', 'BAD_MESSAGE'])
/** After these errors nobody knows where the next request begins, so the connection is closed (RFC 9112 §11.2). */
const DISTRUSTED = new Set(['BAD_REQUEST', 'NOT_IMPLEMENTED'])
const RETRY_AFTER_S = 1

/**
 * The refusal for an error. The error of a dial names every instance and its backend, which is for the log; a client
 * only learns the kind of failure.
 */
export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof SeaportError)) {
    return {
      status: 500,
      code: 'INTERNAL',
      text: 'the gateway failed, its log says more',
      headers: {}
    }
  }
  const { code, text } = error
  if (code === 'NO_INSTANCE' && error.cause instanceof SeaportError) return unreached(error.cause)
  const status = STATUSES[code] ?? 502
  const headers: Record<string, string> = {}
  if (status === 401)
    headers['WWW-Authenticate'] = 'Bearer, Basic realm="hyperseaport", charset="UTF-8"'
  if (status === 405) headers.Allow = /with (GET|POST)$/.exec(text)?.[1] ?? 'GET, HEAD'
  if (status === 429) headers['Retry-After'] = /(\d+) s$/.exec(text)?.[1] ?? `${RETRY_AFTER_S}`
  if (status === 503) headers['Retry-After'] = `${RETRY_AFTER_S}`
  return { status, code, text, headers }
}

/** Writes a refusal, as HTML for clients that prefer that (browsers), and else as JSON. */
export function refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal) {
  const { headers, body } = messageOf(refusal, request)
  // The rest of the request would be read only to be dropped, so the connection is closed.
  const isRead = request.complete || !hasBody(request)
  const isTrusted = isRead && !DISTRUSTED.has(refusal.code)
  if (!isOverHttp2(request) && !isTrusted) headers.Connection = 'close'
  // The response may still have fields and a reason of an answer that could not be passed on.
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  if (!isOverHttp2(request)) response.statusMessage = STATUS_CODES[refusal.status] ?? ''
  response.writeHead(refusal.status, headers)
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** The bytes of a refusal, for a connection that node:http does not serve. */
export function refusalText(refusal: Refusal, request: RequestHead, isKept = false): string {
  const { headers, body } = messageOf(refusal, request)
  const fields = Object.entries({ ...headers, Date: httpDate() }).flat()
  const lines = fieldLines(fields) + connectionLines(isKept)
  const head = `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n${lines}\r\n`
  return request.method === 'HEAD' ? head : head + body
}

function messageOf(refusal: Refusal, { headers }: RequestHead) {
  const { status, code, text } = refusal
  const isHtml = prefersHtml(String(headers.accept ?? ''))
  const body = isHtml
    ? page(refusal)
    : `${JSON.stringify({ error: code, status, message: text })}\n`
  const own: Record<string, string> = {
    'Content-Type': `${isHtml ? 'text/html' : 'application/json'}; charset=utf-8`,
    'Content-Length': `${Buffer.byteLength(body)}`,
    'Cache-Control': 'no-store'
  }
  return { headers: { ...own, ...refusal.headers }, body }
}

function unreached(cause: SeaportError): Refusal {
  return BROKEN.has(cause.code)
    ? {
        status: 502,
        code: cause.code,
        text: 'the service is there, but what it serves is not',
        headers: {}
      }
    : {
        status: 503,
        code: 'NO_INSTANCE',
        text: 'no instance of the service could be reached',
        headers: { 'Retry-After': `${RETRY_AFTER_S}` }
      }
}

/** Whether an Accept field prefers HTML to JSON (RFC 9110 §12.5.1). */
export function prefersHtml(accept: string): boolean {
  let html = 0
  let json = 0
  for (const part of accept.split(',')) {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase())
    const weight = Number(parameters.find((text) => text.startsWith('q='))?.slice(2) ?? 1)
    if (type === 'text/html') html = weight
    if (type === 'application/json') json = weight
  }
  return html > json
}

function page({ status, code, text }: Refusal): string {
  const title = TITLES[status] ?? code
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${status} ${title}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem}p{opacity:.75}</style>
<h1>${title}</h1>
<p>${escapeHtml(text)}</p>
<p><small>${status} ${code} · hyperseaport</small></p>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
