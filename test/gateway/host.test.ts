import { EventEmitter, once } from 'node:events'
import { connect } from 'node:http2'
import { join } from 'node:path'
import t from 'tap'
import { certify, noOpenssl } from '../openssl.js'
import { Harbor, lists } from './harbor.js'
import { exchange } from './wire.js'

/** Answers with the Host and the path that it was asked for. */
const tell =
  (name: string) =>
  (request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => {
    response.end(`${name} ${request.headers.host} ${request.url}`)
  }

t.test('a name below localhost is a role, without a word of configuration', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('web-app@1.0.0', tell('app'))
  await harbor.service('@team/api@2.0.0', tell('api'))
  await harbor.service('a.b@1.0.0', tell('dotted'))
  const web = await harbor.web()
  const cases: [host: string, path: string, said: string | number][] = [
    ['web-app.localhost:8777', '/', 'app web-app.localhost:8777 /'],
    ['Web-App.LOCALHOST', '/role/x?y', 'app Web-App.LOCALHOST /role/x?y'],
    ['api.team.localhost', '/v1', 'api api.team.localhost /v1'],
    ['a.b.localhost', '/', 'dotted a.b.localhost /'],
    ['none.localhost', '/role/web-app/x', 'app none.localhost /x'],
    ['localhost', '/role/web-app/x', 'app localhost /x']
  ]
  for (const [host, path, said] of cases) {
    for (const fields of ['', 'X-A: 1\r\nX-A: 2\r\n']) {
      const answer = await exchange(
        web.port,
        `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}Connection: close\r\n\r\n`
      )
      if (typeof said === 'number') t.match(answer.statusLine, String(said), host)
      else t.equal(answer.body, said, host)
    }
  }
})

t.test('a gateway on every address says where this machine finds it', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web({ listen: '0.0.0.0', open: ['*'] })
  t.equal(web.url, `http://127.0.0.1:${web.port}/`)
})

t.test('a gateway that stops says how many requests it waits for', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = new EventEmitter()
  await harbor.service('slow@1.0.0', (_, response) => backend.emit('asked', response))
  const asked = once(backend, 'asked')
  const web = await harbor.web()
  await lists(web, 1)
  const response = fetch(`${web.url}role/slow/`)
  const [answer] = await asked
  const draining = once(web, 'draining')
  const stopped = web.destroy()
  t.same(await draining, [1])
  answer.end('at last')
  t.equal(await (await response).text(), 'at last')
  await stopped
})

t.test(
  'who may reach a role by its path may reach it below localhost, and nobody else',
  async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('open@1.0.0', tell('open'))
    await harbor.service('hidden@1.0.0', tell('hidden'))
    const web = await harbor.web({ open: ['open@1.x'] })
    for (const [role, status] of [
      ['open', 200],
      ['hidden', 401],
      ['none', 401]
    ] as const) {
      const answer = await exchange(
        web.port,
        `GET / HTTP/1.1\r\nHost: ${role}.localhost\r\nConnection: close\r\n\r\n`
      )
      t.match(answer.statusLine, String(status), role)
    }
  }
)

t.test('the service hears a name and nothing else as Host', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', tell('api'))
  const web = await harbor.web()
  const ask = (head: string) => exchange(web.port, `${head}Connection: close\r\n\r\n`)
  const own = `127.0.0.1:${web.port}`
  t.equal(
    (await ask('GET http://ada:secret@a.example:80/role/api/ HTTP/1.1\r\nHost: b\r\n')).body,
    'api a.example:80 /'
  )
  t.equal((await ask('GET /role/api/ HTTP/1.0\r\n')).body, `api ${own} /`)
  t.equal((await ask('GET /role/api/ HTTP/1.1\r\nHost:\r\n')).body, `api ${own} /`)
  for (const host of ['ada@a.example', 'a b', 'a/b', 'a?b', 'a:b', '[::1', 'a\\b', 'a"b']) {
    t.match((await ask(`GET /role/api/ HTTP/1.1\r\nHost: ${host}\r\n`)).statusLine, '400', host)
  }
})

t.test('over HTTP/2 the authority counts, and not Host', { skip: noOpenssl }, async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', tell('api'))
  const dir = await harbor.testbed.dir()
  const tls = { certFile: join(dir, 'cert.pem'), keyFile: join(dir, 'key.pem') }
  certify('gateway.example', tls.certFile, tls.keyFile)
  const web = await harbor.web({ tls })
  const session = connect(web.url, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  const stream = session.request({
    ':path': '/role/api/',
    ':authority': 'right.example',
    host: 'wrong.example'
  })
  let body = ''
  stream.setEncoding('utf8').on('data', (text) => {
    body += text
  })
  await once(stream, 'close')
  t.equal(body, 'api right.example /')
})

t.test('a head that is longer than the limit is refused whichever path it takes', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', tell('api'))
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ maxHeaderBytes: 1024, fastPath })
    const ask = (bytes: number) =>
      exchange(
        web.port,
        `GET /role/api/ HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(bytes)}\r\nConnection: close\r\n\r\n`
      )
    t.match((await ask(500)).statusLine, '200')
    t.match((await ask(1500)).statusLine, '431')
  }
})

t.test(
  'the user and password of a target are passed on to nobody, the access log included',
  async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('web-app@1.0.0', tell('app'))
    const web = await harbor.web()
    const logged = once(web, 'access')
    const answer = await exchange(
      web.port,
      'GET http://ada:secret@web-app.localhost/a@b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    )
    t.equal(answer.body, 'app web-app.localhost /a@b')
    const [entry] = await logged
    t.equal(entry.url, 'http://web-app.localhost/a@b')
  }
)
