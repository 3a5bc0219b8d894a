import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import t from 'tap'
import { Harbor, portOf } from './harbor.js'
import { type Answer, exchange } from './wire.js'

/** A request, sent once to the backend itself and once through the gateway; the answers must be the same. */
interface Case {
  name: string
  method?: string
  /** On the service. */
  path?: string
  headers?: string[]
  /** Bytes after the header section, as they are. */
  body?: string
  httpVersion?: string
  answer: (request: IncomingMessage, response: ServerResponse) => void
  /** What went out of a request when the gateway was not in between must arrive through it. */
  received?: boolean
}

/** What the backend was asked. */
interface Received {
  method: string | undefined
  url: string | undefined
  headers: string[]
  body: string
  trailers: string[]
}

const BINARY = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1')

const ok: Case['answer'] = (_request, response) => {
  response.end('ok')
}
const status =
  (code: number, reason?: string, headers: string[] = [], body = 'body'): Case['answer'] =>
  (_request, response) => {
    response.writeHead(code, reason ?? '', headers)
    response.end([204, 304].includes(code) ? undefined : body)
  }
const raw =
  (bytes: string): Case['answer'] =>
  ({ socket }) => {
    socket.end(bytes, 'latin1')
  }
const sized =
  (bytes: number): Case['answer'] =>
  (_request, response): void => {
    const chunk = Buffer.alloc(Math.min(bytes, 64 * 1024), 'x')
    response.writeHead(200, { 'Content-Length': bytes })
    const write = (left: number): void => {
      if (left <= 0) return void response.end()
      const more = response.write(chunk.subarray(0, Math.min(left, chunk.byteLength)))
      if (more) write(left - chunk.byteLength)
      else response.once('drain', () => write(left - chunk.byteLength))
    }
    write(bytes)
  }

const chunked = (...parts: string[]) =>
  `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`

const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'PURGE'
]
const STATUSES = [
  200, 201, 202, 203, 206, 207, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 409, 410,
  413, 418, 422, 429, 451, 500, 501, 502, 503, 504, 507
]

const CASES: Case[] = [
  ...METHODS.map((method) => ({ name: `method ${method}`, method, answer: ok, received: true })),
  ...STATUSES.map((code) => ({ name: `status ${code}`, answer: status(code) })),
  { name: 'status 204', answer: status(204) },
  { name: 'status 205, sized', answer: status(205, '', ['Content-Length', '0'], '') },
  {
    name: 'status 304 with a length and an ETag',
    answer: status(304, 'Not Modified', ['ETag', '"x"', 'Content-Length', '1234'])
  },
  { name: 'status 599, of nobody', answer: status(599, 'What Is This') },
  { name: 'a reason phrase of its own', answer: status(200, 'Quite All Right') },
  { name: 'an empty reason phrase', answer: raw('HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok') },
  {
    name: 'three cookies, in order',
    answer: status(200, '', [
      'Set-Cookie',
      'a=1; Path=/',
      'Set-Cookie',
      'b=2',
      'Set-Cookie',
      'a=3; HttpOnly'
    ])
  },
  {
    name: 'fields in their order and case',
    answer: status(200, '', ['x-Second', '2', 'X-FIRST', '1', 'x-second', '3'])
  },
  {
    name: 'empty, comma and odd values',
    answer: status(200, '', ['X-Empty', '', 'X-List', 'a, b,,c', 'X-Quoted', '"a\\"b"'])
  },
  {
    name: 'a value in Latin-1',
    answer: raw('HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 2\r\n\r\nok')
  },
  { name: 'a value of 8 KB', answer: status(200, '', ['X-Long', 'y'.repeat(8192)]) },
  { name: 'a redirect', answer: status(302, '', ['Location', '/elsewhere?x=1#y']) },
  {
    name: 'caching fields',
    answer: status(200, '', [
      'Cache-Control',
      'max-age=60',
      'Age',
      '3',
      'ETag',
      'W/"1"',
      'Last-Modified',
      'Sat, 21 Nov 2026 00:00:00 GMT',
      'Vary',
      'Accept'
    ])
  },
  { name: 'a Date of its own', answer: status(200, '', ['Date', 'Sat, 21 Nov 2026 00:00:00 GMT']) },
  {
    name: 'a range',
    headers: ['Range: bytes=2-4'],
    answer: status(206, '', ['Content-Range', 'bytes 2-4/10', 'Content-Length', '3'], 'cde'),
    received: true
  },
  {
    name: 'a content coding stays as it is',
    headers: ['Accept-Encoding: gzip'],
    answer: status(200, '', ['Content-Encoding', 'gzip'], BINARY),
    received: true
  },
  { name: 'an empty body, sized', answer: raw('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n') },
  { name: 'a body of 1 byte', answer: status(200, '', ['Content-Length', '1'], 'x') },
  {
    name: 'a body of all bytes',
    answer: status(200, '', ['Content-Length', '256'], Buffer.from(BINARY, 'latin1') as never)
  },
  { name: 'a body of 64 KiB', answer: sized(64 * 1024) },
  { name: 'a body of 16 MiB', answer: sized(16 * 1024 * 1024) },
  {
    name: 'a chunked body',
    answer: raw(
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunked('Hello', ', ', BINARY)}`
    )
  },
  {
    name: 'a chunked body of nothing',
    answer: raw(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n'
    )
  },
  {
    name: 'a chunked body with extensions',
    answer: raw(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2;a=b\r\nok\r\n0;c\r\n\r\n'
    )
  },
  {
    name: 'a chunked body in 1000 pieces',
    answer: (_request, response) => {
      for (let i = 0; i < 1000; i++) response.write(`${i} `)
      response.end()
    }
  },
  {
    name: 'a body up to the end of the connection',
    answer: raw('HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nto the end')
  },
  { name: 'an answer of HTTP/1.0', answer: raw('HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nto the end') },
  {
    name: 'trailers',
    answer: (_request, response) => {
      response.writeHead(200, { Trailer: 'X-Sum, X-Count' })
      response.write('body')
      response.addTrailers({ 'X-Sum': 'abc', 'X-Count': '4' })
      response.end()
    }
  },
  {
    name: 'HEAD with a length',
    method: 'HEAD',
    answer: status(200, '', ['Content-Length', '1234'], '')
  },
  {
    name: 'HEAD with a coding',
    method: 'HEAD',
    answer: raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n')
  },
  {
    name: 'HEAD with an announced trailer',
    method: 'HEAD',
    answer: raw('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n')
  },
  {
    name: 'a slow first byte',
    answer: (_request, response) => {
      setTimeout(() => response.end('late'), 100)
    }
  },
  {
    name: 'early hints',
    answer: (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload', 'x-trace': '1' })
      response.end('ok')
    }
  },
  {
    name: 'an interim answer of nobody',
    answer: raw(
      'HTTP/1.1 104 Upload Resumption Supported\r\nX-A: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'
    )
  },
  {
    name: 'cut in the middle of a sized body',
    answer: raw('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
  },
  {
    name: 'cut in the middle of a chunked body',
    answer: raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
  },

  {
    name: 'a sized request',
    method: 'POST',
    headers: ['Content-Length: 5'],
    body: 'hello',
    answer: ok,
    received: true
  },
  {
    name: 'a request of all bytes',
    method: 'PUT',
    headers: ['Content-Length: 256'],
    body: BINARY,
    answer: ok,
    received: true
  },
  {
    name: 'a chunked request',
    method: 'POST',
    headers: ['Transfer-Encoding: chunked'],
    body: chunked('Hello', ', ', BINARY),
    answer: ok,
    received: true
  },
  {
    name: 'a chunked GET',
    headers: ['Transfer-Encoding: chunked'],
    body: chunked('odd'),
    answer: ok,
    received: true
  },
  {
    name: 'a sized DELETE',
    method: 'DELETE',
    headers: ['Content-Length: 3'],
    body: 'odd',
    answer: ok,
    received: true
  },
  {
    name: 'a request of nothing',
    method: 'POST',
    headers: ['Content-Length: 0'],
    answer: ok,
    received: true
  },
  {
    name: 'a request with trailers',
    method: 'POST',
    headers: ['Transfer-Encoding: chunked', 'Trailer: X-Sum'],
    body: '2\r\nok\r\n0\r\nX-Sum: abc\r\n\r\n',
    answer: ok,
    received: true
  },
  {
    name: 'a request of 4 MiB',
    method: 'POST',
    headers: [`Content-Length: ${4 * 1024 * 1024}`],
    body: 'z'.repeat(4 * 1024 * 1024),
    answer: ok,
    received: true
  },
  {
    name: 'a request of HTTP/1.0',
    httpVersion: '1.0',
    answer: status(200, '', ['Content-Length', '4'])
  },
  {
    name: 'cookies and duplicates of a request',
    headers: [
      'Cookie: a=1; b=2',
      'X-Dup: 1',
      'x-dup: 2',
      'Accept: text/html',
      'Authorization: Bearer abc'
    ],
    answer: ok,
    received: true
  },
  {
    name: 'a traceparent',
    headers: [
      'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'tracestate: a=b'
    ],
    answer: ok,
    received: true
  },
  { name: 'TE: trailers', headers: ['TE: trailers', 'Connection: TE, close'], answer: ok },
  ...[
    '/a/b?x=1&y=%20',
    '//double//slash',
    '/a/../b/./c',
    '/%2e%2e/%2F',
    '/?',
    '/a;b=c',
    '/caf%C3%A9',
    '/~user/@x:y',
    '/a?b?c',
    '/role/x@1/'
  ].map((path): Case => ({ name: `path ${path}`, path, answer: ok, received: true }))
]

/** Of the message's own journey; everything else must be as it was. */
const OF_THE_JOURNEY = ['via', 'date', 'connection', 'keep-alive', 'transfer-encoding']
const ADDED = [
  'via',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-prefix'
]

t.test(`${CASES.length} answers are the same directly and through the gateway`, async (t) => {
  const harbor = await Harbor.make(t)
  let current = CASES[0] as Case
  let received: Received | null = null
  const backend = await harbor.backend((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, rawHeaders, rawTrailers } = request
      received = { method, url, headers: rawHeaders, body: digest(chunks), trailers: rawTrailers }
      current.answer(request, response)
    })
  })
  await harbor.service('@team/api@1.2.3', portOf(backend))
  const web = await harbor.web()
  t.ok(CASES.length >= 60)

  for (const each of CASES) {
    current = each
    const { method = 'GET', path = '/' } = each
    const direct = await exchange(portOf(backend), toBytes(each, path), method)
    const asked = received as Received | null
    received = null
    const through = await exchange(web.port, toBytes(each, `/role/@team/api@1.x${path}`), method)
    const passed = received as Received | null
    t.strictSame(comparable(through), comparable(direct), each.name)
    if (direct.isComplete)
      t.match(valueNamed(through, 'via'), /^1\.[01] hyperseaport-/, `${each.name}: Via`)
    if (each.received) t.strictSame(arrived(passed), arrived(asked), `${each.name}: the request`)
  }
})

t.test('an interim 100 comes from the service, when it wants the body', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(ok)
  backend.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/no') {
      response.writeHead(417, { Connection: 'close' })
      response.end('no')
      return
    }
    response.writeContinue()
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => response.end(`got ${body}`))
  })
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const ask = (port: number, path: string) =>
    exchange(port, async (socket: Socket) => {
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`
      socket.write(head)
      socket.once('data', (bytes) => {
        if (bytes.toString().startsWith('HTTP/1.1 100')) socket.write('body')
      })
    })
  for (const path of ['/yes', '/no']) {
    const direct = await ask(portOf(backend), path)
    const through = await ask(web.port, `/role/api${path}`)
    t.strictSame(comparable(through), comparable(direct), path)
  }
})

function toBytes(
  { method = 'GET', headers = [], body = '', httpVersion = '1.1' }: Case,
  path: string
): Buffer {
  const lines = [`${method} ${path} HTTP/${httpVersion}`, 'Host: service.example', ...headers]
  if (!headers.some((line) => line.startsWith('Connection:'))) lines.push('Connection: close')
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1')
}

function comparable({ interim, statusLine, headers, body, trailers, isComplete }: Answer) {
  const kept = headers.filter(([name]) => !OF_THE_JOURNEY.includes(name.toLowerCase()))
  return {
    interim,
    statusLine: statusLine.replace(/^HTTP\/1.0/, 'HTTP/1.1'),
    headers: kept,
    body: digest([Buffer.from(body, 'latin1')]),
    trailers,
    isComplete
  }
}

function arrived(received: Received | null) {
  if (!received) return null
  const headers: string[] = []
  for (let i = 0; i < received.headers.length; i += 2) {
    const name = received.headers[i] as string
    const isOfTheJourney = [...OF_THE_JOURNEY, ...ADDED].includes(name.toLowerCase())
    if (!isOfTheJourney && !isEmptyLength(received, i))
      headers.push(`${name}: ${received.headers[i + 1]}`)
  }
  return { ...received, headers }
}

/** Said by the gateway where the client left it out (RFC 9110 §8.6). */
function isEmptyLength({ headers }: Received, i: number): boolean {
  return headers[i]?.toLowerCase() === 'content-length' && headers[i + 1] === '0'
}

function valueNamed({ headers }: Answer, wanted: string): string {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
}

/** Large bodies compare by their hash. */
function digest(chunks: Buffer[]): string {
  const bytes = Buffer.concat(chunks)
  if (bytes.byteLength <= 1024) return bytes.toString('latin1')
  return `${bytes.byteLength} ${createHash('sha256').update(bytes).digest('hex')}`
}
