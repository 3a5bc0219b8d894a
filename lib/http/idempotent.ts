/** The idempotent methods of RFC 9110 §9.2.2 and of WebDAV. */
const IDEMPOTENT = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
  'PROPFIND',
  'REPORT',
  'SEARCH'
])

/** Whether a request may be sent again when nobody knows what became of it. */
export function isIdempotent(method: string): boolean {
  return IDEMPOTENT.has(method)
}
