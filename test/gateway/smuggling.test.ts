import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Harbor, portOf } from './harbor.js'
import { exchange, exchangeBytes } from './wire.js'

/** What an attacker hides behind a request that two readers take for different lengths. */
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
const HEAD = 'POST /role/api/ HTTP/1.1\r\n'
const LAST_CHUNK = `0\r\n\r\n${SMUGGLED}`

const post = (fields: string, body = '') => `${HEAD}Host: x\r\n${fields}\r\n\r\n${body}`
const sized = (field: string) => post(field, SMUGGLED)
const chunked = (body: string, coding = 'Transfer-Encoding: chunked') => post(coding, body)

type Case = [name: string, bytes: string, answer: RegExp]

const LENGTHS: Case[] = [
  [
    'a length and a coding',
    chunked(LAST_CHUNK, 'Content-Length: 5\r\nTransfer-Encoding: chunked'),
    /400/
  ],
  [
    'a coding and a length',
    chunked(LAST_CHUNK, 'Transfer-Encoding: chunked\r\nContent-Length: 5'),
    /400/
  ],
  [
    'a length that a Connection field names',
    chunked(
      LAST_CHUNK,
      'Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked'
    ),
    /400/
  ],
  ['two lengths', sized('Content-Length: 0\r\nContent-Length: 37'), /400/],
  ['the same length twice', sized('Content-Length: 0\r\nContent-Length: 0'), /400/],
  ['a list of lengths', sized('Content-Length: 0, 37'), /400/],
  ['a list of the same length', sized('Content-Length: 0, 0'), /400/],
  ['two lengths in one', sized('Content-Length: 0 37'), /400/],
  ['a signed length', sized('Content-Length: +37'), /400/],
  ['a negative length', sized('Content-Length: -1'), /400/],
  ['a hexadecimal length', sized('Content-Length: 0x25'), /400/],
  ['a length with a fraction', sized('Content-Length: 0.0'), /400/],
  ['a length beyond 64 bits', sized('Content-Length: 18446744073709551616'), /400/],
  ['no length at all', sized('Content-Length:'), /400/],
  ['a length in other digits', sized('Content-Length: \xb3'), /400/],
  ['a length before a space and a colon', sized('Content-Length : 0'), /400/],
  ['a folded length', sized('Content-Length:\r\n 0'), /400/]
]

const CODINGS: Case[] = [
  [
    'chunked twice',
    chunked(LAST_CHUNK, 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked'),
    /400|501/
  ],
  ['chunked, chunked', chunked(LAST_CHUNK, 'Transfer-Encoding: chunked, chunked'), /400|501/],
  ['identity', sized('Transfer-Encoding: identity'), /400|501/],
  ['chunked, identity', chunked(LAST_CHUNK, 'Transfer-Encoding: chunked, identity'), /400|501/],
  ['gzip, chunked', chunked(LAST_CHUNK, 'Transfer-Encoding: gzip, chunked'), /501/],
  ['xchunked', sized('Transfer-Encoding: xchunked'), /400|501/],
  ['chunkedx', sized('Transfer-Encoding: chunkedx'), /400|501/],
  ['chunked in quotes', sized('Transfer-Encoding: "chunked"'), /400|501/],
  ['chunked with a parameter', sized('Transfer-Encoding: chunked;q=1'), /400|501/],
  ['no coding at all', sized('Transfer-Encoding:'), /400|501/],
  ['a vertical tab before it', chunked(LAST_CHUNK, 'Transfer-Encoding: \x0bchunked'), /400|501/],
  ['a space and a colon', chunked(LAST_CHUNK, 'Transfer-Encoding : chunked'), /400/],
  ['a tab and a colon', chunked(LAST_CHUNK, 'Transfer-Encoding\t: chunked'), /400/],
  ['a fold', chunked(LAST_CHUNK, 'Transfer-Encoding:\r\n chunked'), /400/],
  ['a fold with a tab', chunked(LAST_CHUNK, 'Transfer-Encoding:\r\n\tchunked'), /400/],
  ['a bare LF before it', chunked(LAST_CHUNK, 'X-A: b\nTransfer-Encoding: chunked'), /400/],
  ['a bare CR before it', chunked(LAST_CHUNK, 'X-A: b\rTransfer-Encoding: chunked'), /400/],
  ['a NUL after it', chunked(LAST_CHUNK, 'Transfer-Encoding: chunked\0'), /400/],
  [
    'a name in brackets',
    chunked(LAST_CHUNK, '[Transfer-Encoding]: chunked\r\nContent-Length: 5'),
    /400/
  ],
  [
    'of HTTP/1.0',
    `POST /role/api/ HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${LAST_CHUNK}`,
    /400/
  ],
  [
    'of HTTP/1.0, beside a length',
    `POST /role/api/ HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${LAST_CHUNK}`,
    /400/
  ]
]

/** These are found while the body goes on already: the connection ends with an answer of 400, 502, or without. */
const CHUNKS: Case[] = (
  [
    ['no number', 'x\r\n'],
    ['a negative one', '-1\r\n\r\n'],
    ['one that overflows', 'fffffffffffffffff\r\n'],
    ['one of 32 bits and more', '100000000000000000000\r\n'],
    ['a prefix', '0x0\r\n\r\n'],
    ['an underscore', '0_0\r\n\r\n'],
    ['a space before it', ' 0\r\n\r\n'],
    ['a bare LF after it', '0\n\r\n'],
    ['a bare LF after the last line', '0\r\n\n'],
    ['a NUL after it', '0\0\r\n\r\n'],
    ['nothing', '\r\n\r\n'],
    ['more data than it says', '1\r\nabcd\r\n0\r\n\r\n'],
    ['a bare LF after the data', '1\r\na\n0\r\n\r\n'],
    ['a bare LF in an extension', '0;a\nb\r\n\r\n'],
    ['a bare CR in an extension', '0;a\rb\r\n\r\n'],
    ['a trailer that is none', '0\r\nno field\r\n\r\n'],
    ['a trailer before a space and a colon', '0\r\nX-A : b\r\n\r\n'],
    ['a folded trailer', '0\r\nX-A: b\r\n c\r\n\r\n']
  ] as const
).map(([name, body]) => [`a chunk size: ${name}`, chunked(`${body}${SMUGGLED}`), /400|502|^$/])

const LINES: Case[] = [
  ['a NUL in a value', post('X-A: a\0b'), /400/],
  ['a NUL in a name', post('X\0A: b'), /400/],
  ['a bare CR in a value', post('X-A: a\rX-B: b'), /400/],
  ['a bare LF between fields', `${HEAD}Host: x\nX-A: b\r\n\r\n`, /400/],
  ['bare LFs for all ends', 'GET /role/api/ HTTP/1.1\nHost: x\n\n', /400/],
  ['a bare CR for an end', 'GET /role/api/ HTTP/1.1\rHost: x\r\n\r\n', /400/],
  ['a space in a name', post('X A: b'), /400/],
  ['no name', post(': b'), /400/],
  ['no colon', post('Nothing'), /400/],
  ['a name beyond ASCII', post('X-\xe9: b'), /400/],
  ['a fold before the first field', `${HEAD} Host: x\r\n\r\n`, /400/],
  ['a folded field', post('X-A: a\r\n b'), /400/],
  ['no Host', 'GET /role/api/ HTTP/1.1\r\n\r\n', /400/],
  [
    'two Hosts',
    'GET /role/api/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n',
    /400/
  ],
  ['a header section of 64 KB', post(`X-A: ${'a'.repeat(64 * 1024)}`), /431/],
  ['no HTTP', 'hello\r\n\r\n', /400/],
  ['HTTP/9.9', 'GET /role/api/ HTTP/9.9\r\nHost: x\r\n\r\n', /400|505/],
  ['HTTP/0.9 with fields', 'GET /role/api/ HTTP/0.9\r\nHost: x\r\n\r\n', /400|505/],
  ['HTTP/2.0 in a line', 'GET /role/api/ HTTP/2.0\r\nHost: x\r\n\r\n', /400|505/],
  [
    'HTTP/2.0 in a line, with a body',
    'POST /role/api/ HTTP/2.0\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi',
    /400|505/
  ],
  [
    'an upgrade of HTTP/2.0 in a line',
    'GET /role/api/ HTTP/2.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n',
    /400|505/
  ],
  ['CONNECT of HTTP/2.0 in a line', 'CONNECT x:80 HTTP/2.0\r\nHost: x:80\r\n\r\n', /400|405/],
  ['HTTP/1.1 and more', 'GET /role/api/ HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n', /400/],
  ['a space at the end of the line', 'GET /role/api/ HTTP/1.1 \r\nHost: x\r\n\r\n', /400/],
  ['a tab in the line', 'GET\t/role/api/ HTTP/1.1\r\nHost: x\r\n\r\n', /400/],
  ['a target that is no path', 'GET role/api/ HTTP/1.1\r\nHost: x\r\n\r\n', /400/],
  ['CONNECT', 'CONNECT /role/api/ HTTP/1.1\r\nHost: x\r\n\r\n', /400|405/],
  ['CONNECT with a body', `CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n${SMUGGLED}`, /400|405/]
]

/** A backend that tells what it was asked for. */
async function spying(t: Test) {
  const harbor = await Harbor.make(t)
  const seen: string[] = []
  const backend = await harbor.backend((request, response) => {
    seen.push(request.url ?? '')
    request.resume().on('end', () => response.end(JSON.stringify(request.rawHeaders)))
  })
  await harbor.service('api@1.0.0', portOf(backend))
  return { web: await harbor.web(), seen }
}

const CASES = [...LENGTHS, ...CODINGS, ...CHUNKS, ...LINES]

t.test(
  `${CASES.length} ambiguous requests are refused, and nothing is smuggled in them`,
  async (t) => {
    const { web, seen } = await spying(t)
    for (const [name, bytes, status] of CASES) {
      seen.length = 0
      const answer = await exchangeBytes(web.port, Buffer.from(bytes, 'latin1'))
      t.match(answer.toString('latin1').split('\r\n', 1)[0], status, name)
      t.notOk(seen.includes('/smuggled'), `${name}: nothing smuggled`)
    }
    t.equal((await fetch(`${web.url}role/api/`)).status, 200, 'and it works as ever')
  }
)

t.test('a request behind one without a body is one of its own, and is led as such', async (t) => {
  const { web, seen } = await spying(t)
  const behind = [
    post('Content-Length: 5', 'hello'),
    chunked('5;a=b;c="d"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n'),
    post('Connection: Content-Length, Host, keep-alive\r\nContent-Length: 5', 'hello'),
    'GET /role/api/get HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
    'GET /role/api/upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
    '\r\nGET /role/api/after-an-empty-line HTTP/1.1\r\nHost: x\r\n\r\n'
  ]
  for (const first of behind) {
    seen.length = 0
    const last = 'GET /smuggled HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    const answer = (await exchangeBytes(web.port, first + last)).toString()
    t.strictSame(
      [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status),
      ['200', '404'],
      first.slice(0, 60)
    )
    t.equal(seen.length, 1, 'the gateway’s own page is asked of nobody')
  }
})

t.test(
  'trailers do not become fields of the head, and the hop’s own fields end here',
  async (t) => {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend((request, response) => {
      request.resume().on('end', () => {
        response.end(JSON.stringify([request.rawHeaders, request.rawTrailers]))
      })
    })
    await harbor.service('api@1.0.0', portOf(backend))
    const web = await harbor.web()
    const { body } = await exchange(
      web.port,
      post(
        'Transfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1',
        '2\r\nok\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: Bearer x\r\n\r\n'
      )
    )
    const [headers, trailers] = JSON.parse(body) as [string[], string[]]
    t.notOk(headers.some((name) => /^(x-hop|authorization)$/i.test(name)))
    t.notMatch(headers.join(), '6.6.6.6')
    t.match(trailers, ['X-Forwarded-For', '6.6.6.6'], 'they stay what they are')
  }
)

/** What an instance may answer that two readers could take for different things. */
const ANSWERS: [name: string, bytes: string][] = [
  [
    'a length and a coding',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
  ],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!'],
  ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!'],
  ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok'],
  ['a bare LF', 'HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\nok'],
  ['a bare CR', 'HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nok'],
  ['a NUL', 'HTTP/1.1 200 OK\r\nX-A: b\0\r\nContent-Length: 2\r\n\r\nok'],
  ['a space and a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
  ['a fold', 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
  ['a coding not known', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['a switch that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n\r\n'],
  ['a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(100_000)}`]
]

t.test('an answer that is not clear is not passed on, and the next one is its own', async (t) => {
  const harbor = await Harbor.make(t)
  let bytes = ''
  const backend = createServer((socket: Socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(bytes, 'latin1'))
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  await harbor.service('api@1.0.0', portOf(backend as never), { check: 'none' })
  const web = await harbor.web()
  for (const method of ['GET', 'POST']) {
    for (const [name, answer] of ANSWERS) {
      bytes = answer
      const { statusLine } = await exchange(
        web.port,
        `${method} /role/api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
      )
      t.match(statusLine, '502', `${method}: ${name}`)
    }
  }
  bytes =
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged'
  const both = await exchangeBytes(
    web.port,
    'GET /role/api/ HTTP/1.1\r\nHost: x\r\n\r\nGET /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  )
  t.notMatch(both.toString(), 'forged', 'what follows an answer is no answer to the next request')
})
