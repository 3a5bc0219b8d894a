import { SeaportError } from '../../lib/core/errors.js'
import { AccessList } from '../../lib/gateway/access.js'
import { ChunkedBody } from '../../lib/gateway/fast-path/answer-body.js'
import { readAnswer, readRequest } from '../../lib/http/message-head.js'
import type { Target } from './mutants.js'

const REQUEST =
  'GET /role/api@1.x/a?b=%20c HTTP/1.1\r\nHost: a.example:80\r\nX-Empty:\r\nAccept: */*\r\n\r\n'
const ANSWER =
  'HTTP/1.1 200 All is well\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nset-cookie: c\r\n\r\n'
const CHUNKS = ['5;x=y\r\nhello\r\n1', '0\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n', '\r\nexcess']
const HASH = 'a'.repeat(43)
const ACCESS = `# who may\nbearer:ci:${HASH}:api@^2,web\nbearer:all:${HASH}:*\n`

/** Nothing that would end a line, or begin another message, may have gone into a field. */
const NO_CONTROLS = /^[\t\x20-\x7e\x80-\xff]*$/

interface Head {
  rawHeaders: string[]
  rest: string[]
  byteLength: number
  isWhole: boolean
}

/** Reads a head, alone and after another one: what is remembered of that must make no difference. */
function head(
  before: string,
  read: (text: string, after: string | null) => Omit<Head, 'isWhole'> | null
): Target['read'] {
  return ([input]) => {
    const text = (input as Buffer).toString('latin1')
    const alone = read(text, null)
    for (const other of [before, text]) {
      const again = read(text, other)
      if (JSON.stringify(again) !== JSON.stringify(alone)) {
        throw new Error(`read otherwise after ${JSON.stringify(other)}`)
      }
    }
    if (alone === null) throw SeaportError.BAD_MESSAGE('not whole, or not plain')
    return { ...alone, isWhole: text.slice(0, alone.byteLength).endsWith('\r\n\r\n') }
  }
}

function isHead(accepted: unknown): boolean {
  const { rawHeaders, rest, isWhole } = accepted as Head
  return isWhole && [...rawHeaders, ...rest].every((text) => NO_CONTROLS.test(text))
}

/** @throws BAD_MESSAGE for what is no HTTP */
function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof SyntaxError) throw SeaportError.BAD_MESSAGE(error.message)
    throw error
  }
}

export const edgeTargets: Record<string, Target> = {
  'head of a request': {
    valid: [Buffer.from(REQUEST, 'latin1')],
    read: head(REQUEST, (text, after) => {
      const known = after === null ? null : readRequest(after, null)
      const found = readRequest(text, known?.fields ?? null)
      if (found === null) return null
      const { method, url, fields, byteLength } = found
      return { rawHeaders: fields.raw, rest: [method, url], byteLength }
    }),
    mayAccept: isHead
  },
  'head of an answer': {
    valid: [Buffer.from(ANSWER, 'latin1')],
    read: head(ANSWER, (text, after) =>
      refusing(() => {
        const known = after === null ? null : readAnswer(after, null)
        const found = readAnswer(text, known)
        if (found === null) return null
        const { statusCode, statusMessage, httpVersion, rawHeaders } = found
        const rest = [`${statusCode}`, statusMessage, httpVersion]
        return { rawHeaders, rest, byteLength: found.text.length }
      })
    ),
    mayAccept: isHead
  },
  'chunked body': {
    valid: CHUNKS.map((text) => Buffer.from(text, 'latin1')),
    read: (pieces) =>
      refusing(() => {
        const whole = new ChunkedBody()
        const split = new ChunkedBody()
        const bodies: Buffer[][] = [[], []]
        const all = Buffer.concat(pieces)
        whole.take(all, (bytes) => bodies[0]?.push(bytes))
        for (const byte of all) {
          if (!split.isOver) split.take(Buffer.of(byte), (bytes) => bodies[1]?.push(bytes))
        }
        const [one, other] = bodies.map((parts) => Buffer.concat(parts))
        if (!one?.equals(other as Buffer) || whole.isOver !== split.isOver) {
          throw new Error('how the bytes come makes a difference')
        }
        if (!whole.isOver) throw SeaportError.BAD_MESSAGE('not over')
        return whole.trailers
      }),
    mayAccept: (trailers) =>
      (trailers as string).split('\r\n').every((one) => NO_CONTROLS.test(one))
  },
  'access file': {
    valid: [Buffer.from(ACCESS)],
    read: ([input]) => new AccessList({ text: `${input}` })
  }
}
