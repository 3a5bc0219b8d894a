import type { IncomingHttpHeaders } from 'node:http'

/** Header fields as they came: names and values by turns, duplicates and case kept. */
export type RawHeaders = string[]

/** The beginning of a request, as node:http reads it or as it is read here. */
export interface RequestHead {
  method?: string | undefined
  url?: string | undefined
  httpVersion: string
  httpVersionMajor: number
  rawHeaders: RawHeaders
  headers: IncomingHttpHeaders
  socket: {
    remoteAddress?: string | undefined
    localAddress?: string | undefined
    localPort?: number | undefined
  }
}

/** The beginning of an answer, likewise. */
export interface AnswerHead {
  statusCode?: number | undefined
  statusMessage?: string | undefined
  httpVersion: string
  rawHeaders: RawHeaders
}

/** Fields, read once where the same ones come again and again. */
export interface Fields {
  /** Their lines, as they came. */
  text: string
  raw: RawHeaders
  /** By name in lower case; of several under one name, the last. */
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
  /** As it came, to the empty line and with it. */
  text: string
  statusCode: number
  statusMessage: string
  fields: Fields
}

const HEAD_END = '\r\n\r\n'
const LINE_END = '\r\n'
const NAME = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
/** Anything but control characters; what is beyond ASCII goes on as it came. */
const VALUE = '[\\t\\x20-\\x7e\\x80-\\xff]*'
/** RFC 9112 §5, without its leniences: no folded lines, no space before a colon, no bare CR or LF. */
const FIELD_LINES = new RegExp(`^(?:${NAME}:${VALUE}\\r\\n)*$`)
const REQUEST_LINE = /^([A-Z]+) (\/[\x21-\x7e]*) HTTP\/1\.1$/
const PROTOCOL = 'HTTP/1.'
const STATUS = 'HTTP/1\\.[01] [1-9]\\d\\d'
/** What may become the beginning of an answer: a part of its first line, or that line and some of the next. */
const PARTIAL_ANSWER = new RegExp(
  `^(?:HTTP/1\\.[01](?: (?:[1-9]\\d?)?)?|${STATUS}(?: [^\\r\\n]*)?\\r?|` +
    `${STATUS}(?: [^\\r\\n]*)?\\r\\n(?:${NAME}:${VALUE}\\r\\n)*(?:${NAME}(?::${VALUE}\\r?)?|\\r)?)$`
)
const REASON = new RegExp(`^${VALUE}$`)
const STATUS_LINE = new RegExp(`^HTTP/(1\\.[01]) ([1-9]\\d\\d)(?: (${VALUE}))?$`)

/**
 * Reads the beginning of a request of HTTP/1.1 for a path. Null means that it is not there as a whole, or not as
 * plain as can be: then node:http is to read it, and to judge.
 *
 * @param text a byte a character
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
 * Reads the beginning of an answer: null if it is not there as a whole, and may become one.
 *
 * @param text a byte a character
 * @param known the answer before
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

/** Whether a text may stand behind a status: node:http's client lets control characters through, for us to pass on. */
export function isReason(text: string): boolean {
  return REASON.test(text)
}

/** Reads fields up to the empty line after them: null if that is not there, or is not all. */
function readFieldsAt(text: string, start: number, known: Fields | null): Fields | null {
  if (known !== null && text.startsWith(known.text, start)) {
    if (text.startsWith(LINE_END, start + known.text.length)) return known
  }
  // The end of the first line may be that of the last.
  const end = text.indexOf(HEAD_END, start - LINE_END.length)
  return end === -1 ? null : readFields(text.slice(start, end + LINE_END.length))
}

/** Reads lines of fields, each with its end: null if there is anything else among them. */
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
    const folded = name.toLowerCase()
    raw.push(name, value)
    hasDuplicates ||= folded in byName
    byName[folded] = value
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

/** The same text in one piece: V8 keeps what was added up as a tree, and goes through it whenever it is sent. */
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
