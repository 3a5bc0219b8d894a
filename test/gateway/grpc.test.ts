import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, connect as connectTcp, createServer } from 'node:net'
import { join } from 'node:path'
import { Client, credentials, type ServiceError, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import type { Web } from '../../lib/index.js'
import { asIs, converse, echoServer, portOfEcho } from '../echo-grpc.js'
import { certify, noOpenssl } from '../openssl.js'
import { Harbor } from './harbor.js'
import { exchange } from './wire.js'

function clientOf(t: Test, web: Web, authority: string, tlsCert?: Buffer): Client {
  const secure = tlsCert && credentials.createSsl(tlsCert)
  const client = new Client(`127.0.0.1:${web.port}`, secure ?? credentials.createInsecure(), {
    'grpc.default_authority': authority,
    'grpc.ssl_target_name_override': authority
  })
  t.teardown(() => client.close())
  return client
}

for (const fastPath of [true, false]) {
  t.test(`gRPC in clear text, ${fastPath ? 'with' : 'without'} the fast path`, async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('echo@1.0.0', await portOfEcho(echoServer(t)), { tags: ['protocol=h2'] })
    const web = await harbor.web({ fastPath })
    await converse(t, clientOf(t, web, 'echo.localhost'))
    const { gateway } = web.getStats()
    t.equal(gateway.errors, 0)
    t.equal(gateway.active, 0)
  })
}

t.test('gRPC over TLS, to a domain', { skip: noOpenssl }, async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('echo@1.0.0', await portOfEcho(echoServer(t)))
  const dir = await harbor.testbed.dir()
  const tls = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
  certify('echo.example', tls.certFile, tls.keyFile)
  const domains = [{ host: 'echo.example', role: 'echo@1.x' }]
  const web = await harbor.web({ tls, domains })
  await converse(t, clientOf(t, web, 'echo.example', readFileSync(tls.certFile)))
})

t.test('a service that is not there, or refuses, is told to a client of gRPC', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('plain@1.0.0', (_request, response) => response.end('ok'))
  const web = await harbor.web({ open: ['plain@1.x'] })
  const ask = (name: string) =>
    new Promise<ServiceError | null>((resolve) => {
      const client = clientOf(t, web, name)
      client.makeUnaryRequest('/a.B/C', asIs, asIs, Buffer.from('x'), (error) => resolve(error))
    })
  t.match(await ask('plain.localhost'), { code: status.UNAVAILABLE }, 'it speaks HTTP/1.1 only')
  t.match(await ask('other.localhost'), { code: status.UNAUTHENTICATED })
})

t.test('a service that takes no requests over HTTP/2 is not asked again and again', async (t) => {
  const harbor = await Harbor.make(t)
  let connections = 0
  const backend = createServer((socket) => {
    connections++
    socket.on('error', () => {}).resume()
    // SETTINGS, with no more than 0 requests at a time.
    socket.write(Buffer.from('000006040000000000000300000000', 'hex'))
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { port } = backend.address() as AddressInfo
  await harbor.service('api@1.0.0', port, { tags: ['protocol=h2'] })
  const web = await harbor.web()
  const before = connections
  const request = 'GET /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  const { statusLine } = await exchange(web.port, request)
  t.match(statusLine, ' 503 ')
  t.equal(connections - before, 1)
})

t.test('a role is asked over HTTP/2 where its record or the gateway says so', async (t) => {
  const harbor = await Harbor.make(t)
  const sessions = new Set<unknown>()
  const backend = createHttp2Server((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text) => {
      body += text
    })
    request.on('end', () => {
      response.writeHead(200, { 'x-version': request.httpVersion, 'set-cookie': ['a=1', 'b=2'] })
      response.end(`${request.method} ${request.headers[':authority']} ${request.url} ${body}`)
    })
  })
  backend.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  backend.listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const { port } = backend.address() as AddressInfo
  await harbor.service('said@1.0.0', port, { tags: ['protocol=h2'] })
  await harbor.service('told@1.0.0', port)
  const web = await harbor.web({ http2: ['told@1.x'] })
  for (const role of ['said', 'told']) {
    for (const [method, body] of [
      ['GET', ''],
      ['POST', 'abc']
    ] as const) {
      const answer = await exchange(
        web.port,
        `${method} /role/${role}/x?y HTTP/1.1\r\nHost: z\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`
      )
      t.match(answer.statusLine, 'HTTP/1.1 200 OK')
      t.equal(answer.body.trim(), `${method} z /x?y ${body}`.trim())
      t.match(answer.headers, [['x-version', '2.0']])
      t.equal(answer.headers.filter(([name]) => name === 'set-cookie').length, 2)
    }
  }
  const asked = Array.from({ length: 50 }, () => fetch(`${web.url}role/said/`))
  for (const answer of await Promise.all(asked)) t.match(await answer.text(), 'GET')
  t.ok(sessions.size <= 2, 'many requests share one session with an instance')
  await web.destroy()
})

t.test(
  'what an instance did not take, for it was leaving, is sent again, and seen once',
  async (t) => {
    const harbor = await Harbor.make(t)
    const seen: string[] = []
    const backend = createHttp2Server((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (text) => {
        body += text
      })
      request.on('end', () => {
        seen.push(body)
        response.end('ok')
        // It says so (GOAWAY), while the next request is on its way.
        setImmediate(() => request.stream.session?.close())
      })
    })
    backend.listen(0, '127.0.0.1')
    await once(backend, 'listening')
    t.teardown(() => backend.close())
    const { port } = backend.address() as AddressInfo
    await harbor.service('said@1.0.0', port, { tags: ['protocol=h2'] })
    const web = await harbor.web()
    const sent = Array.from({ length: 40 }, (_, i) => `${i}`)
    for (const body of sent) {
      const answer = await fetch(`${web.url}role/said/`, { method: 'POST', body })
      t.equal(answer.status, 200)
      await answer.text()
    }
    t.strictSame(seen, sent)
  }
)

t.test('HTTP/2 in clear text begins with its preface, in however many pieces', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (_request, response) => response.end('ok'))
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ fastPath })
    const session = connect(web.url)
    const stream = session.request({ ':path': '/role/api/' })
    const [fields] = await once(stream, 'response')
    t.equal(fields[':status'], 200)
    stream.resume()
    await once(stream, 'close')
    session.close()
    const socket = connectTcp(web.port, '127.0.0.1')
    socket.setNoDelay()
    for (const byte of Buffer.from(
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
      'latin1'
    )) {
      socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const [settings] = await once(socket, 'data')
    t.equal(settings[3], 4, 'it is answered with settings')
    const closed = once(socket, 'close')
    socket.end()
    await closed
    // What only begins like it is HTTP/1.1.
    const answer = await exchange(web.port, async (socket) => {
      for (const piece of [
        'PRO',
        'PFIND /role/api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
      ]) {
        socket.write(piece)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })
    t.match(answer.statusLine, '200')
  }
})
