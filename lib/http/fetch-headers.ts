/** Fields that Node's own fetch sends if the caller does not set them. */
const DEFAULTS: [name: string, value: string][] = [
  ['accept', '*/*'],
  ['accept-language', '*'],
  ['user-agent', 'node']
]
const CODINGS = 'gzip, deflate, br'
/** Fields about the connection, which is not the caller's: where a message ends would be said by two. */
const REFUSED = ['transfer-encoding', 'keep-alive', 'upgrade']
/** Who asks by one of these has a cache of its own, so that no other is to answer. */
const CONDITIONS = [
  'if-modified-since',
  'if-none-match',
  'if-unmodified-since',
  'if-match',
  'if-range'
]
/** In bytes. Of what is longer only the origin is told. */
const MAX_REFERRER = 4096
const POLICIES = new Set([
  'no-referrer',
  'no-referrer-when-downgrade',
  'same-origin',
  'origin',
  'strict-origin',
  'origin-when-cross-origin',
  'strict-origin-when-cross-origin',
  'unsafe-url'
])
const OF_CONNECTION = new Set(['close', 'keep-alive'])

/** Why a request cannot be sent, with the code that Node's own fetch has for it. */
export class InvalidRequestError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }

  static INVALID_FIELD(name: string) {
    return new InvalidRequestError('UND_ERR_INVALID_ARG', `invalid ${name} header`)
  }

  static NOT_SUPPORTED(name: string) {
    return new InvalidRequestError('UND_ERR_NOT_SUPPORTED', `${name} header not supported`)
  }

  static LENGTH_MISMATCH() {
    return new InvalidRequestError(
      'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
      'the body is not as long as the content-length header says'
    )
  }
}

/**
 * The fields that a request of `fetch` is sent with, without `content-length`, which is given apart: what the caller says
 * of it is null if nothing is said.
 *
 * @throws InvalidRequestError if Node's own fetch refuses one of them
 */
export function fieldsOf(request: Request): { headers: Headers; declaredLength: number | null } {
  const headers = new Headers(request.headers)
  for (const name of REFUSED) {
    if (headers.has(name)) throw InvalidRequestError.INVALID_FIELD(name)
  }
  const connection = headers.get('connection')
  if (connection !== null && !OF_CONNECTION.has(connection.toLowerCase())) {
    throw InvalidRequestError.INVALID_FIELD('connection')
  }
  if (headers.has('expect')) throw InvalidRequestError.NOT_SUPPORTED('expect')
  const declared = headers.get('content-length')
  if (declared !== null && !(/^\d+$/.test(declared) && Number.isSafeInteger(+declared))) {
    throw InvalidRequestError.INVALID_FIELD('content-length')
  }
  headers.delete('content-length')
  for (const [name, value] of DEFAULTS) if (!headers.has(name)) headers.set(name, value)
  if (!headers.has('accept-encoding')) {
    // A part of compressed bytes is of no use, so with a range no compression is asked for.
    headers.set('accept-encoding', headers.has('range') ? 'identity' : CODINGS)
  }
  headers.set('sec-fetch-mode', request.mode)
  for (const [name, value] of cacheFields(request)) {
    if (!headers.has(name)) headers.set(name, value)
  }
  const referrer = referrerOf(request)
  if (referrer !== null && !headers.has('referer')) headers.set('referer', referrer)
  return { headers, declaredLength: declared === null ? null : +declared }
}

/** What caches on the way are told (Fetch standard, "HTTP-network-or-cache fetch"). */
function cacheFields({ cache, headers }: Request): [name: string, value: string][] {
  if (cache === 'no-cache') return [['cache-control', 'max-age=0']]
  const isConditional = cache === 'default' && CONDITIONS.some((name) => headers.has(name))
  if (cache !== 'no-store' && cache !== 'reload' && !isConditional) return []
  return [
    ['pragma', 'no-cache'],
    ['cache-control', 'no-cache']
  ]
}

export type ReferrerPolicy = Request['referrerPolicy']

/** What decides on the `referer` of a request. */
type Referring = Pick<Request, 'referrer' | 'referrerPolicy' | 'url'>

/** The policy after an answer: the last one in its `Referrer-Policy` that is known, or the one before it. */
export function policyAfter(before: ReferrerPolicy, field: string | undefined): ReferrerPolicy {
  const known = (name: string): name is ReferrerPolicy => POLICIES.has(name)
  const names = field?.split(',').map((name) => name.trim()) ?? []
  return names.findLast(known) ?? before
}

/** The page that the caller says it comes from, as far as the policy lets it be told (Referrer Policy, section 8.3). */
export function referrerOf({ referrer, referrerPolicy, url }: Referring): string | null {
  // The caller's own page is the default, and here there is none.
  if (!/^https?:/.test(referrer)) return null
  const whole = new URL(referrer)
  Object.assign(whole, { username: '', password: '', hash: '' })
  const isSame = whole.origin === new URL(url).origin
  const isLess = whole.protocol === 'https:' && !url.startsWith('https:')
  const origin = `${whole.origin}/`
  if (whole.href.length > MAX_REFERRER) whole.href = origin
  const byPolicy: Record<string, string | null> = {
    '': isSame ? whole.href : isLess ? null : origin,
    'strict-origin-when-cross-origin': isSame ? whole.href : isLess ? null : origin,
    'origin-when-cross-origin': isSame ? whole.href : origin,
    'same-origin': isSame ? whole.href : null,
    'strict-origin': isLess ? null : origin,
    origin,
    'no-referrer-when-downgrade': isLess ? null : whole.href,
    'unsafe-url': whole.href,
    'no-referrer': null
  }
  return byPolicy[referrerPolicy] ?? null
}
