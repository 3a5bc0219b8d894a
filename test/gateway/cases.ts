import type { IncomingMessage, ServerResponse } from 'node:http'

/** A request, and its answer, which must be the same directly and through the gateway. */
export interface Case {
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

const BINARY = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1')

export const ok: Case['answer'] = (_request, response) => {
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

export const CASES: Case[] = [
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
