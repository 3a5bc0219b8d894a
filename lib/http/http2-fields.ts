import type { RawHeaders } from './message-head.js'

/**
 * Fields that node:http2 takes in one line only. Several lines of them mean one list (RFC 9110 §5.3), so they are
 * joined.
 */
const LISTS = new Set(['content-encoding', 'content-language', 'if-match', 'if-none-match'])

/** Fields with one value, which node:http2 refuses to send twice. */
const SINGLE = new Set([
  'access-control-allow-credentials',
  'access-control-allow-origin',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-disposition',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options'
])

/** Fields that HTTP/2 forbids, as they are about one connection of HTTP/1.1 (RFC 9113 §8.2.2). */
const FORBIDDEN = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade'
])

/**
 * The largest section of fields that node:http2 sends, in bytes, less what it adds itself. It ends the session on any that
 * is larger, and with it all that others ask over it.
 */
const MAX_SECTION_BYTES = 64 * 1024 - 512
/** What nghttp2 counts for each field beside its name and value, in bytes (`nghttp2_hd_deflate_bound`). */
const FIELD_BYTES = 12

/** Whether node:http2 can send fields as one section: a head, an interim answer, or trailers. */
export function fitsHttp2(headers: RawHeaders): boolean {
  const bytes = headers.reduce((sum, text) => sum + text.length, 0)
  return bytes + (headers.length / 2) * FIELD_BYTES <= MAX_SECTION_BYTES
}

/**
 * Fields as node:http2 takes them: by name, with all values of that name together. If a field may come only once, its
 * first value counts, as with nginx. Fields that HTTP/2 forbids are left out.
 */
export function http2Fields(headers: RawHeaders): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase()
    const value = headers[i + 1] as string
    const known = fields[name]
    if (FORBIDDEN.has(name) || name.startsWith(':')) continue
    if (known === undefined) fields[name] = value
    else if (LISTS.has(name)) fields[name] = `${known}, ${value}`
    else if (!SINGLE.has(name)) fields[name] = [known, value].flat()
  }
  return fields
}

/** Trailers as node:http2 takes them, one line of each. */
export function http2Trailers(trailers: RawHeaders): Record<string, string> {
  const fields = Object.entries(http2Fields(trailers))
  return Object.fromEntries(
    fields.map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value])
  )
}
