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
  socket: { remoteAddress?: string | undefined }
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
  text: string
  raw: RawHeaders
  /** By name in lower case; of several under one name, the last. */
  byName: Readonly<Record<string, string>>
  hasDuplicates: boolean
  /** What they became when they were passed on last, for who does that. */
  passedOn?: string
}

const HEAD_END = '\r\n\r\n'
const LINE_END = '\r\n'
const NAME = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
/** Anything but control characters; what is beyond ASCII goes on as it came. */
const VALUE = '[\\t\\x20-\\x7e\\x80-\\xff]*'
/** RFC 9112 §5, without its leniences: no folded lines, no space before a colon, no bare CR or LF. */
const FIELD_LINES = new RegExp(`^(?:${NAME}:${VALUE}\\r\\n)*$`)
const REQUEST_LINE = /^([A-Z]+) (\/[\x21-\x7e]*) HTTP\/1\.1$/
const STATUS_LINE = new RegExp(`^HTTP/(1\\.[01]) ([1-9]\\d\\d)(?: (${VALUE}))?$`)

/** What was read, and how many bytes it took. */
export interface Read<T> {
  head: T
  byteLength: number
}

/**
 * Reads the beginning of a request of HTTP/1.1 for a path. Null means that it is not there as a whole, or not as
 * plain as can be: then node:http is to read it, and to judge.
 *
 * @param text a byte a character
 * @param known the fields of the request before, to be used again if they are the same
 */
export function readRequest(
  text: string,
  known: Fields | null
): Read<{ method: string; url: string; fields: Fields }> | null {
  const end = text.indexOf(HEAD_END)
  if (end === -1) return null
  const lineEnd = text.indexOf(LINE_END)
  const line = REQUEST_LINE.exec(text.slice(0, lineEnd))
  if (line === null) return null
  const fields = readFields(text.slice(lineEnd + LINE_END.length, end + LINE_END.length), known)
  if (fields === null) return null
  const head = { method: line[1] as string, url: line[2] as string, fields }
  return { head, byteLength: end + HEAD_END.length }
}

/**
 * Reads the beginning of an answer: null if it is not there as a whole.
 *
 * @param text a byte a character
 * @param known the fields of the answer before
 * @throws SyntaxError
 */
export function readAnswer(
  text: string,
  known: Fields | null
): Read<AnswerHead & { statusCode: number; statusMessage: string; fields: Fields }> | null {
  const end = text.indexOf(HEAD_END)
  if (end === -1) return null
  const lineEnd = text.indexOf(LINE_END)
  const line = STATUS_LINE.exec(text.slice(0, lineEnd))
  const fields = readFields(text.slice(lineEnd + LINE_END.length, end + LINE_END.length), known)
  if (line === null || fields === null) throw new SyntaxError('not the beginning of an answer')
  const [, httpVersion = '', statusCode = '', statusMessage = ''] = line
  return {
    head: {
      httpVersion,
      statusCode: Number(statusCode),
      statusMessage,
      rawHeaders: fields.raw,
      fields
    },
    byteLength: end + HEAD_END.length
  }
}

/** Reads lines of fields, each with its end: null if there is anything else among them. */
export function readFields(text: string, known: Fields | null = null): Fields | null {
  if (known !== null && known.text === text) return known
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

/** Without the spaces and tabs around it, which `trim` would take more than. */
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
