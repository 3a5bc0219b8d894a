import type { IncomingHttpHeaders } from 'node:http'

/** Header fields as they came: names and values by turns, duplicates and case kept. */
export type RawHeaders = string[]

/** A `maxHeadersCount`. By its own, node:http leaves fields out and says nothing; their size is bounded instead. */
export const UNCOUNTED = 0

/** The beginning of a request, as node:http reads it or as it is read here. */
export interface RequestHead {
  method?: string | undefined
  url?: string | undefined
  httpVersion: string
  rawHeaders: RawHeaders
  headers: IncomingHttpHeaders
  socket: {
    remoteAddress?: string | undefined
    localAddress?: string | undefined
    localPort?: number | undefined
  }
}

/** The beginning of an answer, as node:http reads it or as it is read here. */
export interface AnswerHead {
  statusCode?: number | undefined
  statusMessage?: string | undefined
  httpVersion: string
  rawHeaders: RawHeaders
}

/** Header fields. Where the same ones come again and again, one object stands for them, and they are read once. */
export interface Fields {
  /** Their lines, as they came. */
  text: string
  raw: RawHeaders
  /** Values by name in lower case. If a name comes several times, the last value. */
  byName: Readonly<Record<string, string>>
  hasDuplicates: boolean
}

/** The beginning of a request that was read here. */
export interface PlainRequest {
  method: string
  url: string
  fields: Fields
  /** How many bytes of the input it takes. */
  byteLength: number
}

/** The beginning of an answer that was read here. */
export interface PlainAnswer extends AnswerHead {
  /** As it came, up to and including the empty line. */
  text: string
  statusCode: number
  statusMessage: string
  fields: Fields
}

/**
 * Whether a message belongs to a connection that speaks HTTP/2. The version that a request names does not tell that: a
 * client may write `GET / HTTP/2.0` on a connection of HTTP/1.1, and node:http lets it through.
 */
export function isOverHttp2(message: object): boolean {
  return 'stream' in message
}

const HEAD_END = '\r\n\r\n'
const LINE_END = '\r\n'
const NAME = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
/** Any characters but control characters. Those beyond ASCII are passed on as they came. */
const VALUE = '[\\t\\x20-\\x7e\\x80-\\xff]*'
/** The lines of fields (RFC 9112 §5) at their strictest: no folded lines, no space before a colon, no bare CR or LF. */
const FIELD_LINES = new RegExp(`^(?:${NAME}:${VALUE}\\r\\n)*$`)
const REQUEST_LINE = /^([A-Z]+) (\/[\x21-\x7e]*) HTTP\/1\.1$/
const PROTOCOL = 'HTTP/1.'
const STATUS = 'HTTP/1\\.[01] [1-9]\\d\\d'
/**
 * A text that may still become the beginning of an answer: a part of its first line, or that line and some of the next.
 */
const PARTIAL_ANSWER = new RegExp(
  `^(?:HTTP/1\\.[01](?: (?:[1-9]\\d?)?)?|${STATUS}(?: [^\\r\\n]*)?\\r?|` +
    `${STATUS}(?: [^\\r\\n]*)?\\r\\n(?:${NAME}:${VALUE}\\r\\n)*(?:${NAME}(?::${VALUE}\\r?)?|\\r)?)$`
)
const REASON = new RegExp(`^${VALUE}$`)
const STATUS_LINE = new RegExp(`^HTTP/(1\\.[01]) ([1-9]\\d\\d)(?: (${VALUE}))?$`)

/**
 * Reads the beginning of a request of HTTP/1.1 for a path. Null means that it is incomplete, or that it has anything
 * unusual. Then node:http is to read and judge it.
 *
 * @param text one character for each byte
 * @param known the fields of the request before, to be used again if they are the same
 */
export function readRequest(text: string, known: Fields | null): PlainRequest | null {
  const lineEnd = text.indexOf(LINE_END)
  if (lineEnd === -1) return null
  const line = REQUEST_LINE.exec(text.slice(0, lineEnd))
  if (line === null) return null
  const fields = readFieldsAt(text, lineEnd + LINE_END.length, known)
  if (fields === null) return null
  const byteLength = lineEnd + fields.text.length + 2 * LINE_END.length
  return { method: line[1] as string, url: line[2] as string, fields, byteLength }
}

/**
 * Reads the beginning of an answer. Returns null if it is incomplete, and may still become one.
 *
 * @param text one character for each byte
 * @param known the answer before on this stream, which is returned again if it is the same
 * @throws SyntaxError
 */
export function readAnswer(text: string, known: PlainAnswer | null): PlainAnswer | null {
  if (known !== null && text.startsWith(known.text)) return known
  if (!text.includes(HEAD_END)) {
    if (PROTOCOL.startsWith(text) || PARTIAL_ANSWER.test(text)) return null
    throw new SyntaxError('not the beginning of an answer')
  }
  const lineEnd = text.indexOf(LINE_END)
  const line = STATUS_LINE.exec(text.slice(0, lineEnd))
  const fields = readFieldsAt(text, lineEnd + LINE_END.length, known?.fields ?? null)
  if (line === null || fields === null) throw new SyntaxError('not the beginning of an answer')
  const [statusLine, httpVersion = '', statusCode = '', statusMessage = ''] = line
  return {
    text: `${statusLine}${LINE_END}${fields.text}${LINE_END}`,
    httpVersion,
    statusCode: Number(statusCode),
    statusMessage,
    rawHeaders: fields.raw,
    fields
  }
}

/**
 * Whether a text is a valid reason phrase. node:http's client lets control characters through, which must not be passed
 * on.
 */
export function isReason(text: string): boolean {
  return REASON.test(text)
}

/** Reads fields up to the empty line after them. Returns null if that line is missing, or a line is not a field. */
function readFieldsAt(text: string, start: number, known: Fields | null): Fields | null {
  if (known !== null && text.startsWith(known.text, start)) {
    if (text.startsWith(LINE_END, start + known.text.length)) return known
  }
  // If there are no fields, the end of the first line is the first half of the end of the head.
  const end = text.indexOf(HEAD_END, start - LINE_END.length)
  return end === -1 ? null : readFields(text.slice(start, end + LINE_END.length))
}

/** Reads lines of fields, each with its line end. Returns null if there is anything else among them. */
export function readFields(text: string): Fields | null {
  if (!FIELD_LINES.test(text)) return null
  const raw: RawHeaders = []
  const byName: Record<string, string> = Object.create(null)
  let hasDuplicates = false
  for (let at = 0; at < text.length; ) {
    const colon = text.indexOf(':', at)
    const end = text.indexOf(LINE_END, colon)
    const name = text.slice(at, colon)
    const value = trim(text, colon + 1, end)
    const lowerName = name.toLowerCase()
    raw.push(name, value)
    hasDuplicates ||= lowerName in byName
    byName[lowerName] = value
    at = end + LINE_END.length
  }
  return { text, raw, byName, hasDuplicates }
}

/** The lines of fields, as they are sent. */
export function fieldLines(headers: readonly string[]): string {
  let text = ''
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  return text
}

/**
 * The same text as one flat string. V8 keeps a concatenated string as a tree, and would walk through it whenever it is
 * sent.
 */
export function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}

/** The text without spaces and tabs around it. `trim` would remove other white space as well. */
function trim(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
