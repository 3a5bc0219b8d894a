import { once } from 'node:events'
import { connect as connectHttp2, type IncomingHttpHeaders, sensitiveHeaders } from 'node:http2'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { certify, noOpenssl } from '../openssl.js'
import { restWhile } from '../rest.js'
import { Harbor } from './harbor.js'
import { exchange, exchangeBytes } from './wire.js'

const OK = 'Content-Length: 2\r\nConnection: close\r\n\r\nok'
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n'
const twice = (line: string) => `HTTP/1.1 200 OK\r\n${line}\r\n${line}\r\n${OK}`

/** Answers that HTTP/1.1 lets pass, or nearly, and HTTP/2 does not. */
const ANSWERS: Record<string, string> = {
  nosniff: twice('X-Content-Type-Options: nosniff'),
  etag: twice('ETag: "a"'),
  date: twice('Date: Sat, 21 Nov 2026 00:00:00 GMT'),
  location: twice('Location: /a'),
  'retry-after': twice('Retry-After: 1'),
  'early-hints': `HTTP/1.1 103 Early Hints\r\nContent-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n${OK}`,
  'reset-content': `HTTP/1.1 205 Reset Content\r\n${OK}`,
  'trailer-twice': `${CHUNKED}ETag: 1\r\nETag: 2\r\n\r\n`,
  'trailers-of-the-hop': `${CHUNKED}Keep-Alive: 5\r\nTE: y\r\nHost: z\r\nX-Sum: 1\r\n\r\n`
}

/** A service that says what it is told to, byte for byte, when a request came. */
async function raw(t: Test, onrequest: (text: string, socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => onrequest(bytes.toString('latin1'), socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

const pathOf = (text: string) => decodeURIComponent(/^\S+ \/(\S*)/.exec(text)?.[1] ?? '')

t.test(
  'an answer whose fields HTTP/2 forbids reaches clients of HTTP/2, without them',
  { skip: noOpenssl },
  async (t) => {
    const harbor = await Harbor.make(t)
    const port = await raw(t, (text, socket) => {
      socket.end(ANSWERS[pathOf(text)] ?? '', 'latin1')
    })
    await harbor.service('api@1.0.0', port)
    const dir = await harbor.testbed.dir()
    const tls = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
    certify('gateway.example', tls.certFile, tls.keyFile)
    const web = await harbor.web({ tls })
    const session = connectHttp2(web.url, { rejectUnauthorized: false })
    t.teardown(() => session.destroy())
    for (const name of Object.keys(ANSWERS)) {
      const stream = session.request({ ':path': `/role/api/${name}` })
      let body = ''
      let trailers: IncomingHttpHeaders = {}
      stream.setEncoding('latin1').on('data', (text) => {
        body += text
      })
      stream.on('trailers', (fields) => {
        trailers = { ...fields }
      })
      const [fields] = await once(stream, 'response')
      await once(stream, 'close')
      const hasContent = name !== 'reset-content'
      t.equal(fields[':status'], hasContent ? 200 : 205, name)
      t.equal(body, hasContent ? 'ok' : '', name)
      const { [sensitiveHeaders]: _, ...sums } = trailers as Record<symbol, unknown>
      if (name === 'etag') t.equal(fields.etag, '"a"')
      if (name === 'trailer-twice') t.strictSame(sums, { etag: '1' })
      if (name === 'trailers-of-the-hop') t.strictSame(sums, { 'x-sum': '1' })
    }
    const connect = session.request({ ':method': 'CONNECT', ':authority': 'a:1' })
    const [refused] = await once(connect, 'response')
    t.equal(refused[':status'], 405)
    connect.resume()
  }
)

t.test('trailers about the hop end at the gateway, both ways of reading them', async (t) => {
  const harbor = await Harbor.make(t)
  const port = await raw(t, (text, socket) => {
    if (/\r\n\r\n/.test(text)) socket.end(ANSWERS[pathOf(text)] ?? '', 'latin1')
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const fields of ['', 'X-A: 1\r\nX-A: 2\r\n']) {
    const answer = await exchange(
      web.port,
      `GET /role/api/trailers-of-the-hop HTTP/1.1\r\nHost: x\r\n${fields}Connection: close\r\n\r\n`
    )
    t.strictSame(answer.trailers, ['X-Sum: 1'])
  }
})

t.test(
  'an answer of no version or status that there is gets 502, all ways of reading it',
  async (t) => {
    const harbor = await Harbor.make(t)
    const port = await raw(t, (text, socket) => {
      if (/\r\n\r\n/.test(text)) socket.end(`HTTP/${pathOf(text)} a\r\n${OK}`, 'latin1')
    })
    await harbor.service('api@1.0.0', port)
    const webs = [await harbor.web(), await harbor.web({ fastPath: false })]
    for (const line of ['1.1/000', '1.1/099', '1.1/1000', '2.0/200', '3.7/200']) {
      const path = line.replace('/', '%20')
      for (const web of webs) {
        const request = `GET /role/api/${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
        t.match((await exchange(web.port, request)).statusLine, / 502 /, line)
        const session = connectHttp2(web.url)
        t.teardown(() => session.destroy())
        const stream = session.request({ ':path': `/role/api/${path}` })
        const [fields] = await once(stream, 'response')
        t.equal(fields[':status'], 502, line)
        stream.resume()
      }
    }
  }
)

t.test('thousands of interim answers are refused, both ways of reading them', async (t) => {
  const harbor = await Harbor.make(t)
  const flood = 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(40_000)
  const port = await raw(t, (_text, socket) => {
    socket.write(flood)
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const method of ['GET', 'POST']) {
    const answer = await exchange(
      web.port,
      `${method} /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      method
    )
    t.equal(answer.interim.length, 64)
    t.match(answer.statusLine, '502')
    t.match(answer.body, 'not valid HTTP')
  }
})

t.test('a request that is sent again has its interim answers passed on once', async (t) => {
  const harbor = await Harbor.make(t)
  let count = 0
  const port = await raw(t, (_text, socket) => {
    socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
    if (++count % 2 === 1) socket.end()
    else socket.end(`HTTP/1.1 200 OK\r\n${OK}`)
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const method of ['GET', 'OPTIONS']) {
    const answer = await exchange(
      web.port,
      `${method} /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
    )
    t.equal(answer.interim.length, 1, method)
    t.match(answer.statusLine, '200', method)
  }
  t.equal(count, 4)
})

t.test('a service that closes connections as they are used again costs no retries', async (t) => {
  const harbor = await Harbor.make(t)
  const served = new WeakSet<Socket>()
  const BURST = 60
  const waiting: Socket[] = []
  const port = await raw(t, (_text, socket) => {
    if (served.has(socket)) return void socket.destroy()
    served.add(socket)
    waiting.push(socket)
    // All are answered at once, so that all streams are kept.
    if (waiting.length < BURST) return
    for (const each of waiting.splice(0)) {
      each.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    }
  })
  await harbor.service('api@1.0.0', port, { check: 'none' })
  const web = await harbor.web()
  for (const method of ['GET', 'PUT']) {
    for (let burst = 0; burst < 3; burst++) {
      const body = method === 'PUT' ? { body: 'x' } : {}
      const asking = Array.from({ length: BURST }, () =>
        fetch(`${web.url}role/api/`, { method, ...body })
      )
      const answers = await Promise.all(asking)
      await Promise.all(answers.map((answer) => answer.text()))
      t.ok(
        answers.every(({ status }) => status === 200),
        `${method}, burst ${burst}`
      )
    }
  }
  t.equal(web.getStats().gateway.retries.retries, 0)
})

t.test('an upload is not cut by the time that answers may take to begin', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (request, response) => {
    let bytes = 0
    request.on('data', ({ byteLength }) => {
      bytes += byteLength
    })
    request.on('end', () => response.end(`got ${bytes}`))
  })
  const web = await harbor.web({ deadline: 600 })
  const answer = await exchange(web.port, async (socket) => {
    socket.write(
      'POST /role/api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nConnection: close\r\n\r\n'
    )
    // Three times the deadline, which is what is promised here.
    for (let i = 0; i < 12; i++) {
      await new Promise((resolve) => setTimeout(resolve, 150))
      socket.write('x')
    }
  })
  t.equal(answer.body, 'got 12')
  const stalled = await exchange(
    web.port,
    'POST /role/api/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nx'
  )
  t.match(stalled.statusLine, '504', 'one of which nothing moves is')
})

t.test('a gateway that is stopped lets what is open end, and takes no more', async (t) => {
  const harbor = await Harbor.make(t)
  const asked: (() => void)[] = []
  const backend = await harbor.backend((_request, response) => {
    response.write('begun ')
    asked.push(() => response.end('whole'))
  })
  await harbor.service('api@1.0.0', (backend.address() as AddressInfo).port)
  for (const fields of ['', 'X-A: 1\r\nX-A: 2\r\n']) {
    const web = await harbor.web()
    const asking = exchangeBytes(web.port, `GET /role/api/ HTTP/1.1\r\nHost: x\r\n${fields}\r\n`)
    await once(backend, 'request')
    const stopped = web.destroy()
    await t.rejects(fetch(web.url))
    asked.shift()?.()
    const answer = (await asking).toString()
    t.match(answer, 'begun')
    t.match(answer, 'whole')
    await stopped
  }
})

/** Answers to an upgrade, and what the client hears of them. */
const REFUSED_UPGRADES: [name: string, answer: string, heard: RegExp][] = [
  [
    'with trailers',
    'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n',
    /^HTTP\/1.1 200 OK\r\n.*Date: .*\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n$/s
  ],
  [
    'cut short',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n',
    /^HTTP\/1.1 200 OK\r\n.*Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n$/s
  ],
  [
    'after an interim one',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\n${OK}`,
    /^HTTP\/1.1 103 Early Hints\r\nLink: <\/a>\r\n\r\nHTTP\/1.1 404 No\r\n.*Date: .*ok$/s
  ],
  [
    'without content',
    'HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n',
    /^(?!.*Length).* 204 No\r\n/s
  ],
  [
    'in another coding',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok',
    / 502 .*not valid/s
  ],
  ['of another version', `HTTP/2.0 200 OK\r\n${OK}`, / 502 .*not valid/s],
  ['of no version', 'what?\r\n\r\n', / 502 .*not valid/s],
  ['that says too much', 'HTTP/1.1 103 \r\n\r\n'.repeat(70), / 502 .*not valid/s],
  ['that switches to nothing', 'HTTP/1.1 101 Switching\r\n\r\n', / 502 .*not valid/s]
]

t.test('an answer to an upgrade that does not switch is passed on as any other', async (t) => {
  const harbor = await Harbor.make(t)
  const port = await raw(t, (text, socket) => {
    const [, answer = ''] = REFUSED_UPGRADES[Number(pathOf(text))] ?? []
    socket.end(answer, 'latin1')
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const [index, [name, , expected]] of REFUSED_UPGRADES.entries()) {
    const heard = await exchangeBytes(
      web.port,
      `GET /role/api/${index} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n`
    )
    t.match(heard.toString('latin1'), expected, name)
  }
  await restWhile(() => web.getStats().gateway.active > 0)
})

t.test('an answer to the end of its stream is not complete when that is cut', async (t) => {
  const harbor = await Harbor.make(t)
  const asked: Socket[] = []
  const port = await raw(t, (_text, socket) => {
    asked.push(socket)
    socket.write('HTTP/1.1 200 OK\r\n\r\nok')
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const head of ['GET', 'OPTIONS', 'UPGRADE']) {
    const fields = head === 'UPGRADE' ? 'Connection: Upgrade\r\nUpgrade: y\r\n' : ''
    const method = head === 'OPTIONS' ? head : 'GET'
    const answer = await exchange(web.port, (socket) => {
      socket.once('data', () => asked.shift()?.resetAndDestroy())
      socket.write(`${method} /role/api/ HTTP/1.1\r\nHost: x\r\n${fields}\r\n`)
    })
    t.match(answer.statusLine, '200', head)
    t.equal(answer.isComplete, false, head)
  }
})

t.test('an answer without content does not say how long that is', async (t) => {
  const harbor = await Harbor.make(t)
  const port = await raw(t, (_text, socket) => {
    socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX-A: b\r\n\r\n')
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  for (const method of ['GET', 'OPTIONS']) {
    const request = `${method} /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
    const { statusLine, headers } = await exchange(web.port, request)
    t.match(statusLine, ' 204 ')
    const names = headers.map(([name]) => name)
    t.notOk(names.includes('Content-Length'), method)
    t.ok(names.includes('X-A'), method)
  }
})

t.test('streams are used again as the service says, both ways of reading that', async (t) => {
  const harbor = await Harbor.make(t)
  const port = await raw(t, (text, socket) => {
    const [version, fields] = pathOf(text).split('?', 2)
    socket.write(`HTTP/${version} 200 OK\r\n${fields}Content-Length: 2\r\n\r\nok`)
  })
  await harbor.service('api@1.0.0', port)
  const web = await harbor.web()
  const streams = () => web.getStats().gateway.streams.opened
  for (const [version, fields, isKept] of [
    ['1.1', '', true],
    ['1.1', 'Connection: close\r\nConnection: x-a\r\n', false],
    ['1.0', '', false],
    ['1.0', 'Connection: keep-alive\r\n', true]
  ] as const) {
    for (const method of ['GET', 'OPTIONS']) {
      const ask = () =>
        exchange(
          web.port,
          `${method} /role/api/${encodeURIComponent(`${version}?${fields}`)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
        )
      await ask()
      const before = streams()
      t.match((await ask()).statusLine, '200')
      t.equal(streams() - before, isKept ? 0 : 1, `${method} ${version} ${fields}`)
    }
  }
})
