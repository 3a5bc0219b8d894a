import { EventEmitter, once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { ChunkedBody } from '../../../lib/gateway/fast-path/answer-body.js'
import { readAnswer, readRequest } from '../../../lib/http/message-head.js'
import { inTime } from '../../watchdog.js'
import { Harbor, portOf } from '../harbor.js'

const echo = (request: IncomingMessage, response: ServerResponse) => {
  let body = ''
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('end', () => response.end(`${request.method} ${request.url} ${body}`))
}

/** A client that says exactly what it is told to. */
class Client {
  readonly socket: Socket
  text = ''

  constructor(t: Test, port: number) {
    this.socket = connectTo(t, port)
    this.socket.setEncoding('latin1')
    this.socket.on('data', (text) => {
      this.text += text
    })
  }

  /** Waits until something was said so many times. */
  async hears(what: string, times = 1): Promise<string> {
    while (this.text.split(what).length <= times) await once(this.socket, 'data')
    return this.text
  }
}

function connectTo(t: Test, port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

const get = (path: string, fields = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`

t.test('requests of every kind take turns on one connection', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', echo)
  const web = await harbor.web()
  const client = new Client(t, web.port)
  client.socket.write(get('/role/api/1'))
  await client.hears('GET /1 ')
  client.socket.write(get('/role/api/2', 'X-Other: 1\r\n'))
  await client.hears('GET /2 ')
  client.socket.write(post('/role/api/3', 'hello'))
  await client.hears('POST /3 hello')
  client.socket.write(get('/role/api/4'))
  await client.hears('GET /4 ')
  client.socket.write(get('/role/nobody/'))
  await client.hears('404 Not Found')
  client.socket.write(get('/list/api'))
  await client.hears('"role":"api"')
  t.match(client.text, /^HTTP\/1\.1 200 OK\r\n/)
})

t.test(
  'requests that come at once are answered in order, and none is lost in between',
  async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('api@1.0.0', echo)
    const web = await harbor.web()
    const client = new Client(t, web.port)
    const paths = Array.from({ length: 20 }, (_, i) => `/${i}`)
    client.socket.write(
      paths
        .map((path) => (path === '/9' ? post(`/role/api${path}`, 'x') : get(`/role/api${path}`)))
        .join('')
    )
    await client.hears('/19 ')
    t.strictSame(
      [...client.text.matchAll(/(?:GET|POST) (\/\d+)/g)].map(([, path]) => path),
      paths
    )
  }
)

t.test('a request in pieces, and a client that says it asks no more, are answered', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', echo)
  const web = await harbor.web()
  const slow = new Client(t, web.port)
  for (const piece of get('/role/api/slow').match(/.{1,9}/gs) ?? []) {
    slow.socket.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await slow.hears('GET /slow ')
  const leaving = new Client(t, web.port)
  leaving.socket.end(get('/role/api/last'))
  await leaving.hears('GET /last ')
  await once(leaving.socket, 'close')
})

t.test('a client that leaves while nothing is said is noticed by the service', async (t) => {
  const harbor = await Harbor.make(t)
  const answers = new EventEmitter()
  await harbor.service('api@1.0.0', (request, response) => {
    if (request.url === '/begun') response.write('something')
    answers.emit('asked', response)
  })
  const web = await harbor.web()
  for (const path of ['/begun', '/not-begun']) {
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const asked = once(answers, 'asked')
      const client = new Client(t, web.port)
      client.socket.write(get(`/role/api${path}`))
      const [response] = (await asked) as [ServerResponse]
      const closed = once(response, 'close')
      if (path === '/begun') await client.hears('something')
      client.socket[leave]()
      await closed
      t.pass(`${path} ${leave}`)
    }
  }
})

t.test('a client that does not read is not read from, and not remembered', async (t) => {
  const harbor = await Harbor.make(t)
  const big = Buffer.alloc(1024 * 1024, 'x')
  const asked = { '/idle': 0, '/eager': 0 }
  const backend = await harbor.backend(({ url }, response) => {
    asked[url as keyof typeof asked]++
    response.end(big)
  })
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const requests = 64
  const [idle, eager] = [connectTo(t, web.port), connectTo(t, web.port)]
  idle.pause()
  idle.write(get('/role/api/idle').repeat(requests))
  eager.write(get('/role/api/eager').repeat(requests))
  while (asked['/eager'] < requests) await once(eager, 'data')
  t.ok(asked['/idle'] < requests / 2, `only ${asked['/idle']} of ${requests} were asked for`)
  idle.resume()
  while (asked['/idle'] < requests) await once(idle, 'data')
  t.pass('and the rest when it reads')
})

t.test('an instance that breaks off holds no stream, and the connection goes on', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) => {
    if (request.url === '/cut') request.socket.destroy()
    else if (request.url === '/garbage') request.socket.end('SMTP ready\r\n\r\n')
    else response.end('all is well')
  })
  const service = await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const client = new Client(t, web.port)
  for (const path of ['/cut', '/garbage', '/']) client.socket.write(get(`/role/api${path}`))
  await client.hears('all is well')
  t.strictSame(
    [...client.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['502', '502', '200']
  )
  const beganAt = Date.now()
  await service.destroy()
  t.ok(inTime(Date.now() - beganAt, 10_000), 'its drain waits for nothing')
})

t.test('a head is read to the letter or not at all', async (t) => {
  const head = (lines: string) => readRequest(`${lines}\r\n\r\n`, null) ?? undefined
  t.match(head('GET /a?b HTTP/1.1\r\nHost: x\r\nX-A:  b c\t'), {
    method: 'GET',
    url: '/a?b',
    fields: { raw: ['Host', 'x', 'X-A', 'b c'], byName: { host: 'x', 'x-a': 'b c' } }
  })
  for (const lines of [
    'GET /a HTTP/1.0\r\nHost: x',
    'GET a HTTP/1.1\r\nHost: x',
    'GET  /a HTTP/1.1\r\nHost: x',
    'GET /\xe9 HTTP/1.1\r\nHost: x',
    'GET /a HTTP/1.1\r\nHost : x',
    'GET /a HTTP/1.1\r\n Host: x',
    'GET /a HTTP/1.1\r\nHost: x\r\n folded',
    'GET /a HTTP/1.1\r\nHost: x\nX: y',
    'GET /a HTTP/1.1\r\nHost: x\rX: y',
    'GET /a HTTP/1.1\r\nHost: x\0',
    'GET /a HTTP/1.1\r\n: x'
  ]) {
    t.equal(head(lines), undefined, JSON.stringify(lines))
  }
  t.equal(readAnswer('HTTP/1.1 200 OK\r\nA: b\r\n', null), null, 'not all there')
  for (const lines of ['HTTP/2.0 200 OK', 'HTTP/1.1 20 OK', 'HTTP/1.1 200 OK\r\nA : b', 'SMTP']) {
    t.throws(() => readAnswer(`${lines}\r\n\r\n`, null), SyntaxError, lines)
  }
})

t.test(
  'chunks are found however their bytes come, and nothing else is taken for one',
  async (t) => {
    const bytes = Buffer.from('2;a=b\r\nok\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nrest')
    for (let size = 1; size <= bytes.byteLength; size++) {
      const body = new ChunkedBody()
      let text = ''
      let taken = 0
      while (!body.isOver) {
        const piece = bytes.subarray(taken, taken + size)
        body.take(piece, (data) => {
          text += data
        })
        taken += piece.byteLength - body.excess
      }
      t.strictSame(
        [text, body.trailers, bytes.byteLength - taken],
        ['ok0123456789', 'X-Sum: 1\r\n', 4]
      )
    }
    for (const bad of [
      'x\r\n',
      '\r\n',
      '2\nok',
      '2\r\nokay\r\n',
      '-1\r\n',
      '0\r\n bad\r\n',
      ' 2\r\n'
    ]) {
      t.throws(() => new ChunkedBody().take(Buffer.from(bad), () => {}), SyntaxError, bad)
    }
  }
)
