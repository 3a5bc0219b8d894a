import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { createServer } from 'node:net'
import t from 'tap'
import { Harbor, listen, portOf } from './harbor.js'
import { exchange } from './wire.js'

/** 60 KB over HTTP/1.1, and about three times as much by how HTTP/2 counts. */
const LINES = Array.from({ length: 6000 }, (_, i) => `x-${1000 + i}: a\r\n`).join('')
const OK = 'HTTP/1.1 200 OK\r\n'

const ANSWERS: Record<string, string> = {
  '/head': `${OK}${LINES}Content-Length: 2\r\n\r\nok`,
  '/value': `${OK}X-Large: ${'a'.repeat(60 * 1024)}\r\nContent-Length: 2\r\n\r\nok`,
  '/interim': `HTTP/1.1 103 Early Hints\r\n${LINES}\r\n${OK}Content-Length: 2\r\n\r\nok`,
  '/trailers': `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${LINES}\r\n`
}

t.test('what is too large for HTTP/2 in an answer ends that answer, and no other', async (t) => {
  const harbor = await Harbor.make(t)
  const large = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      const [, path = ''] = bytes.toString('latin1').split(' ')
      const answer = ANSWERS[path]
      if (answer !== undefined) socket.end(answer, 'latin1')
    })
  })
  await harbor.service('large@1.0.0', await listen(t, large))
  const backend = await harbor.backend((_request, response) => void response.write('begun'))
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const session = connectHttp2(web.url)
  t.teardown(() => session.destroy())
  const asked = once(backend, 'request')
  const lasting = session.request({ ':path': '/role/api/' }).setEncoding('utf8')
  const [, answer] = (await asked) as [unknown, ServerResponse]
  const ask = async (path: string) => {
    const stream = session.request({ ':path': `/role/large${path}` })
    let error: Error | null = null
    stream.on('error', (cause) => {
      error = cause
    })
    const closed = new Promise((resolve) => stream.once('close', resolve))
    let status: unknown = null
    stream.on('response', (fields) => {
      status = fields[':status']
    })
    stream.resume()
    await closed
    return { status, isCut: error !== null }
  }
  t.strictSame(await ask('/head'), { status: 502, isCut: false })
  t.strictSame(await ask('/value'), { status: 200, isCut: false })
  t.strictSame(await ask('/interim'), { status: 200, isCut: false })
  t.strictSame(await ask('/trailers'), { status: 200, isCut: true })
  t.notOk(session.closed)
  answer.end(', and ended')
  t.equal((await lasting.toArray()).join(''), 'begun, and ended')
})

t.test('a request that is too large for HTTP/2 is refused, and ends no other', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = createHttp2Server((request, response) => {
    request.resume()
    if (request.url === '/lasting') response.write('begun')
    else request.on('end', () => response.end('ok'))
  })
  await harbor.service('api@1.0.0', await listen(t, backend), { tags: ['protocol=h2'] })
  const web = await harbor.web({ maxHeaderBytes: 128 * 1024 })
  const asked = once(backend, 'request')
  const lasting = fetch(`${web.url}role/api/lasting`)
  const [, answer] = (await asked) as [unknown, ServerResponse]
  const ask = (head: string, body = '') =>
    exchange(
      web.port,
      `POST /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${head}\r\n${body}`
    )
  const large = await ask(`Content-Length: 0\r\n${LINES}`)
  t.match(large.statusLine, ' 413 ')
  const trailers = await ask('Transfer-Encoding: chunked\r\n', `0\r\n${LINES}\r\n`)
  t.match(trailers.statusLine, / 4\d\d | 502 /)
  const small = await ask('Content-Length: 0\r\n')
  t.match(small.statusLine, ' 200 ')
  answer.end(', and ended')
  t.equal(await (await lasting).text(), 'begun, and ended')
})
