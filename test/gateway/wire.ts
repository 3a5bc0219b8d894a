import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What came over the wire for one request. */
export interface Answer {
  /** Interim answers, each as its status line and fields. */
  interim: string[][]
  statusLine: string
  headers: [name: string, value: string][]
  /** As a text of one byte per character. */
  body: string
  trailers: string[]
  /** Whether it came to the end that it announced. */
  isComplete: boolean
}

/** Sends bytes as they are, and reads to the end of the connection. */
export async function exchange(
  port: number,
  request: string | Buffer | ((socket: Socket) => Promise<void> | void),
  method = 'GET'
): Promise<Answer> {
  return parseAnswer(await exchangeBytes(port, request), method)
}

/** The same, with the answer as it came. */
export async function exchangeBytes(
  port: number,
  request: string | Buffer | ((socket: Socket) => Promise<void> | void)
): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const chunks: Buffer[] = []
  socket.on('error', () => {})
  // `once` would reject where the other side cuts what is still being written.
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('end', () => socket.end())
  await once(socket, 'connect')
  if (typeof request === 'function') await request(socket)
  else socket.write(request)
  await closed
  return Buffer.concat(chunks)
}

/** Reads an answer by RFC 9112, and nothing more lenient. */
export function parseAnswer(bytes: Buffer, method = 'GET'): Answer {
  let text = bytes.toString('latin1')
  const interim: string[][] = []
  for (;;) {
    const end = text.indexOf('\r\n\r\n')
    const [statusLine = '', ...lines] = text.slice(0, end === -1 ? 0 : end).split('\r\n')
    const rest = text.slice(end + 4)
    if (/^HTTP\/1.1 1(?!01)/.test(statusLine)) {
      interim.push([statusLine, ...lines])
      text = rest
      continue
    }
    const headers = lines.map((line): [string, string] => {
      const at = line.indexOf(':')
      return [line.slice(0, at), line.slice(at + 1).trim()]
    })
    return { interim, statusLine, headers, ...parseBody(rest, headers, statusLine, method) }
  }
}

export function fieldOf(headers: Answer['headers'], name: string): string | undefined {
  return headers.find(([other]) => other.toLowerCase() === name)?.[1]
}

function parseBody(
  text: string,
  headers: Answer['headers'],
  statusLine: string,
  method: string
): Pick<Answer, 'body' | 'trailers' | 'isComplete'> {
  const length = fieldOf(headers, 'content-length')
  if (method === 'HEAD' || / (204|304) /.test(statusLine)) {
    return { body: text, trailers: [], isComplete: statusLine !== '' && text === '' }
  }
  if (/chunked/i.test(fieldOf(headers, 'transfer-encoding') ?? '')) return parseChunks(text)
  const isComplete = statusLine !== '' && (length === undefined || Number(length) === text.length)
  return { body: text, trailers: [], isComplete }
}

function parseChunks(text: string): Pick<Answer, 'body' | 'trailers' | 'isComplete'> {
  const parts: string[] = []
  let at = 0
  for (;;) {
    const end = text.indexOf('\r\n', at)
    const size = end === -1 ? Number.NaN : Number.parseInt(text.slice(at, end), 16)
    if (Number.isNaN(size)) return { body: parts.join(''), trailers: [], isComplete: false }
    if (size === 0) {
      const trailers = text.slice(end + 2).split('\r\n')
      const isComplete = trailers.at(-1) === '' && trailers.at(-2) === ''
      return { body: parts.join(''), trailers: trailers.filter(Boolean), isComplete }
    }
    parts.push(text.slice(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
}
