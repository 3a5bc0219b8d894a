import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type Socket } from 'node:net'
import t from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { inTime } from '../watchdog.js'
import { Harbor, lists, portOf } from './harbor.js'
import { exchange, exchangeBytes } from './wire.js'

const MAX_EVENT_DELAY_MS = 50

const hello = (_request: IncomingMessage, response: ServerResponse) => {
  response.end('hello')
}
const ask = async (url: string, options?: RequestInit) => {
  const response = await fetch(url, options)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

t.test('what is not there, away, broken or slow is told apart', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) => {
    if (request.url === '/cut') return void request.socket.destroy()
    if (request.url === '/garbage') return void request.socket.end('SMTP ready\r\n\r\n')
    response.end('ok')
  })
  const service = await harbor.service('api@1.2.3', portOf(backend))
  // Alone with its deadline, which others may pass on a busy machine.
  await harbor.service('mute@1.0.0', () => {})
  const gone = await harbor.service('gone@1.0.0', portOf(backend))
  // Nothing listens there any more.
  const dead = createTcpServer().listen(0, '127.0.0.1')
  await once(dead, 'listening')
  const deadPort = portOf(dead as never)
  dead.close()
  await harbor.service('dead@1.0.0', deadPort)
  const web = await harbor.web({ deadlines: [{ role: 'mute', ms: 300 }] })
  await gone.destroy()

  const cases: [path: string, status: number, code: string][] = [
    ['role/nobody@1.x/', 404, 'NOT_FOUND'],
    ['role/api@2.x/', 404, 'NOT_FOUND'],
    ['role/gone@1.x/', 503, 'NO_INSTANCE'],
    [`instance/${gone.servicePublicKey}/`, 503, 'NO_INSTANCE'],
    [`instance/${'0'.repeat(64)}/`, 404, 'NOT_FOUND'],
    ['role/dead@1.x/', 502, 'BACKEND_UNREACHABLE'],
    ['role/api@1.x/cut', 502, 'BAD_GATEWAY'],
    ['role/api@1.x/garbage', 502, 'BAD_GATEWAY'],
    ['role/mute/', 504, 'TOO_SLOW'],
    ['role/api@!!/', 400, 'BAD_ROLE'],
    ['role/%ff/', 400, 'BAD_REQUEST'],
    ['instance/zz/', 400, 'BAD_KEY'],
    ['nowhere', 404, 'NOT_FOUND']
  ]
  for (const [path, status, code] of cases) {
    const answer = await ask(web.url + path)
    t.equal(answer.status, status, path)
    t.match(JSON.parse(answer.text), { error: code, status })
    t.notMatch(answer.text, /127\.0\.0\.1|\.js:|\n +at /, 'tells nothing of the inside')
  }
  const page = await ask(`${web.url}role/nobody/`, { headers: { accept: 'text/html,*/*;q=0.8' } })
  t.match(page.headers.get('content-type'), 'text/html')
  t.match(page.text, /<h1>Not found<\/h1>/)
  for (const [path, method, allowed] of [
    ['list/api', 'POST', 'GET, HEAD'],
    ['call/api/echo', 'GET', 'POST'],
    ['events/api', 'POST', 'GET']
  ] as const) {
    const { status, headers } = await ask(web.url + path, { method })
    t.strictSame([status, headers.get('allow')], [405, allowed], path)
  }
  t.equal((await ask(`${web.url}role/api@1.x/`)).text, 'ok')
  await service.destroy()
})

t.test('what came of a request is only ours to say where the client is not trusted', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) =>
    response.end(JSON.stringify(request.rawHeaders))
  )
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const answer = await exchange(
    web.port,
    'GET http://api.example:80/role/api/ HTTP/1.1\r\nHost: other\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nX-Forwarded-For: 10.0.0.9\r\nVia: 1.0 front\r\n\r\n'
  )
  const headers = JSON.parse(answer.body) as string[]
  const value = (name: string) =>
    headers[headers.findIndex((other) => other.toLowerCase() === name) + 1]
  t.equal(value('host'), 'api.example:80')
  t.equal(value('x-forwarded-for'), '10.0.0.9, 127.0.0.1')
  t.equal(value('x-forwarded-host'), 'api.example:80')
  t.equal(value('x-forwarded-proto'), 'http')
  t.equal(value('x-forwarded-prefix'), '/role/api')
  t.match(value('forwarded'), 'for=127.0.0.1;host="api.example:80";proto=http')
  t.match(value('via'), /^1.0 front, 1.1 hyperseaport-/)
  for (const name of ['x-private', 'keep-alive', 'proxy-authorization']) {
    t.notOk(
      headers.some((other, i) => i % 2 === 0 && other.toLowerCase() === name),
      name
    )
  }
})

t.test(
  'events of a stream come one by one, and a client that leaves is noticed behind',
  async (t) => {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders()
    })
    await harbor.service('sse@1.0.0', portOf(backend))
    const web = await harbor.web()

    const asked = once(backend, 'request')
    const asking = httpRequest(`${web.url}role/sse/`)
    asking.end()
    const [, events] = (await asked) as [IncomingMessage, ServerResponse]
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]
    answer.setEncoding('utf8')
    const delays: number[] = []
    for (let i = 1; i <= 10; i++) {
      // The next is sent only now: a gateway that waited for more before it passed one on would hang.
      const sentAt = performance.now()
      events.write(`data: ${i}\n\n`)
      let text = ''
      while (!text.endsWith('\n\n')) text += (await once(answer, 'data'))[0]
      delays.push(performance.now() - sentAt)
      t.equal(text, `data: ${i}\n\n`)
    }
    // A machine that is busy delays some of them, a timer on the way would delay all.
    t.ok(
      inTime(Math.min(...delays), MAX_EVENT_DELAY_MS),
      `the fastest took ${Math.min(...delays)} ms`
    )

    answer.on('error', () => {})
    let isOver = false
    events.on('close', () => {
      isOver = true
    })
    asking.destroy()
    // Who ends its side may still read. That it does not is seen by what is sent to it.
    while (!isOver) {
      events.write('data: nobody reads this\n\n')
      await new Promise(setImmediate)
    }
  }
)

t.test('WebSockets pass in both directions, with pings and close codes', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((_request, response) => {
    response.writeHead(426, { 'Content-Length': 3 })
    response.end('no!')
  })
  const server = new WebSocketServer({
    server: backend,
    path: '/ws',
    handleProtocols: () => 'chat'
  })
  server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    socket.on('close', (code, reason) => closes.push([code, reason.toString()]))
  })
  const closes: [number, string][] = []
  await harbor.service('chat@1.0.0', portOf(backend))
  const web = await harbor.web()
  const url = web.url.replace('http', 'ws')
  const socket = new WebSocket(`${url}role/chat@1.x/ws`, ['chat'])
  await once(socket, 'open')
  t.equal(socket.protocol, 'chat')
  for (const message of ['hello', '', 'é'.repeat(70_000), Buffer.alloc(1024 * 1024, 7)]) {
    socket.send(message)
    const [data, isBinary] = await once(socket, 'message')
    t.ok(Buffer.from(message).equals(data as Buffer))
    t.equal(isBinary, Buffer.isBuffer(message))
  }
  socket.ping('are you there')
  t.equal(String((await once(socket, 'pong'))[0]), 'are you there')
  const serverClosed = once([...server.clients][0] as WebSocket, 'close')
  socket.close(4001, 'enough')
  t.strictSame((await once(socket, 'close'))[0], 4001)
  await serverClosed
  t.strictSame(closes, [[4001, 'enough']])

  const refused = new WebSocket(`${url}role/chat@1.x/elsewhere`)
  const [, answer] = await once(refused, 'unexpected-response')
  t.equal((answer as IncomingMessage).statusCode, 400)
  refused.on('error', () => {})
  refused.terminate()
  const unknown = new WebSocket(`${url}role/nobody/ws`)
  const [, notFound] = await once(unknown, 'unexpected-response')
  t.equal((notFound as IncomingMessage).statusCode, 404)
  unknown.on('error', () => {})
  unknown.terminate()
})

t.test('a protocol of its own passes, and HTTP/2 without TLS is declined', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) => {
    request.resume()
    response.end(request.headers.upgrade ?? 'none')
  })
  backend.on('upgrade', (_request, socket: Socket, head: Buffer) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
    socket.write(head)
    socket.pipe(socket)
  })
  await harbor.service('echo@1.0.0', portOf(backend))
  const web = await harbor.web()
  const bytes = await exchangeBytes(web.port, (socket) => {
    socket.end(
      'GET /role/echo/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly bytes'
    )
  })
  t.match(
    bytes.toString(),
    /^HTTP\/1.1 101 .*\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly bytes$/s
  )
  const declined = await exchange(
    web.port,
    'POST /role/echo/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nbodyGET /role/echo/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  )
  t.match(declined.statusLine, '200')
  t.match(declined.body, /none.*none$/s)
})

t.test('an idempotent request goes on to another instance, and a POST goes out once', async (t) => {
  const harbor = await Harbor.make(t)
  const seen: string[] = []
  const cutting = (name: string) => (request: IncomingMessage, response: ServerResponse) => {
    seen.push(`${name} ${request.method}`)
    if (name === 'bad') request.socket.destroy()
    else request.pipe(response)
  }
  await harbor.service('api@1.1.0', cutting('bad'))
  await harbor.service('api@1.0.0', cutting('good'))
  const web = await harbor.web()
  t.equal((await ask(`${web.url}role/api/`)).status, 200)
  t.equal((await ask(`${web.url}role/api/`, { method: 'PUT', body: 'again' })).text, 'again')
  t.strictSame(seen.splice(0), ['bad GET', 'good GET', 'bad PUT', 'good PUT'])
  t.equal((await ask(`${web.url}role/api/`, { method: 'POST', body: 'once' })).status, 502)
  t.strictSame(seen.splice(0), ['bad POST'])
  t.match(web.getStats().gateway.retries, { retries: 2 })
})

t.test('limits: a body, a header section and a request in time', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (request, response) => {
    request.resume().on('end', () => response.end('ok'))
  })
  const web = await harbor.web({ maxBodyBytes: 1000, maxHeaderBytes: 4096 })
  const post = (body: string) => ask(`${web.url}role/api/`, { method: 'POST', body })
  t.equal((await post('x'.repeat(1000))).status, 200)
  t.equal((await post('x'.repeat(1001))).status, 413)
  const chunked = await exchange(
    web.port,
    `POST /role/api/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n${'x'.repeat(2000)}\r\n`
  )
  t.match(chunked.statusLine, /413/)
  t.equal((await ask(`${web.url}role/api/`, { headers: { 'x-a': 'a'.repeat(5000) } })).status, 431)
})

t.test('CORS is ours to answer where a rule says so', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (_request, response) => {
    response.setHeader('Access-Control-Allow-Origin', 'https://old.example')
    response.end('ok')
  })
  await harbor.service('other@1.0.0', hello)
  const web = await harbor.web({ cors: [{ role: 'api@1.x', origin: 'https://app.example' }] })
  const origin = 'https://app.example'
  const preflight = await ask(`${web.url}role/api/`, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'x-a'
    }
  })
  t.equal(preflight.status, 204)
  t.equal(preflight.headers.get('access-control-allow-methods'), 'PUT')
  t.equal(preflight.headers.get('access-control-allow-headers'), 'x-a')
  const allowed = await ask(`${web.url}role/api/`, { headers: { origin } })
  t.equal(allowed.headers.get('access-control-allow-origin'), origin)
  t.equal(allowed.headers.get('access-control-allow-credentials'), 'true')
  t.equal(allowed.headers.get('vary'), 'Origin')
  const denied = await ask(`${web.url}role/api/`, { headers: { origin: 'https://evil.example' } })
  t.equal(denied.headers.get('access-control-allow-origin'), null)
  const other = await ask(`${web.url}role/other/`, { headers: { origin } })
  t.equal(other.headers.get('access-control-allow-origin'), null)
})

t.test('services claim hostnames that the owner of the gateway allows them', async (t) => {
  const harbor = await Harbor.make(t)
  const allowed = await harbor.service('site@1.0.0', (_request, response) => response.end('site'), {
    tags: ['hostname=www.site.example']
  })
  await harbor.service('evil@1.0.0', hello, { tags: ['hostname=bank.site.example'] })
  const web = await harbor.web({
    hostnames: [{ host: '*.site.example', services: [allowed.servicePublicKey] }],
    domains: [{ host: 'api.site.example', role: 'evil@1.x' }]
  })
  const get = (host: string) =>
    exchange(web.port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
  t.equal((await get('www.site.example')).body, 'site')
  t.equal((await get('WWW.SITE.example:80')).body, 'site')
  t.equal((await get('api.site.example')).body, 'hello')
  t.match((await get('bank.site.example')).statusLine, '503')
  t.match((await get('unknown.example')).statusLine, '404')
})

t.test('a request that comes round again is stopped', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web()
  await harbor.service('self@1.0.0', web.port)
  await lists(web, 1)
  t.equal((await ask(`${web.url}role/self/role/self/`)).status, 508)
})

t.test('an address that others reach needs a word on who may reach what', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('site@1.0.0', hello)
  await harbor.service('inner@1.0.0', hello)
  await t.rejects(harbor.web({ listen: '0.0.0.0' }), { code: 'USAGE' })
  const web = await harbor.web({ listen: '0.0.0.0', open: ['site@1.x'] })
  const at = `http://127.0.0.1:${web.port}`
  t.equal((await ask(`${at}/role/site/`)).status, 200)
  t.equal((await ask(`${at}/role/inner/`)).status, 401)
  t.equal(JSON.parse((await ask(`${at}/list/`)).text).length, 1)
  t.equal((await ask(`${at}/metrics`)).status, 401)
})
