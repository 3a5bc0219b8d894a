import { once } from 'node:events'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { HostGuard } from '../../lib/gateway/host-guard.js'
import type { WebOptions } from '../../lib/index.js'
import { Harbor, portOf } from './harbor.js'
import { exchange } from './wire.js'

const SECRET = 'what is for this machine only'

/** A service that is open to whoever reaches the gateway, by HTTP and WebSocket. */
async function serving(t: Test, options: Partial<WebOptions> = {}) {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((_request, response) => response.end(SECRET))
  new WebSocketServer({ server: backend }).on('connection', (socket) => socket.send(SECRET))
  await harbor.service('api@1.0.0', portOf(backend))
  return harbor.web(options)
}

/** What a browser gets for a page whose name leads to the gateway. */
async function visit(port: number, host: string, path = '/role/api/') {
  const { statusLine, body } = await exchange(
    port,
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n`
  )
  return { status: Number(statusLine.split(' ')[1]), body }
}

t.test('a page whose name was made to lead to loopback reads nothing', async (t) => {
  const { port } = await serving(t)
  for (const host of [
    `evil.com:${port}`,
    'evil.com',
    'EVIL.com.',
    'localhost.evil.com',
    '1.evil.co'
  ]) {
    for (const path of ['/role/api/', '/list/', '/', '/-/events', '/metrics']) {
      const { status, body } = await visit(port, host, path)
      t.equal(status, 404, `${host}${path}`)
      t.match(body, '--allowedHost', 'and says what its owner can do')
      t.notMatch(body, SECRET)
    }
  }
})

t.test('a name that no stranger can own reaches it', async (t) => {
  const { port } = await serving(t)
  for (const host of [
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `[::1]:${port}`,
    '192.168.1.10',
    '127.1',
    'app.localhost',
    'gateway',
    'api.test',
    'api.example.com',
    ''
  ]) {
    t.match(await visit(port, host), { status: 200, body: SECRET }, host)
  }
})

t.test(
  'so does one that was allowed, or whatever is called where access is regulated',
  async (t) => {
    const { port } = await serving(t, { allowedHosts: ['gate.home.net', '*.corp.com'] })
    for (const [host, status] of [
      ['gate.home.net', 200],
      ['other.home.net', 404],
      ['a.corp.com', 200],
      ['corp.com', 404]
    ] as const) {
      t.equal((await visit(port, host)).status, status, host)
    }
    const regulated = await serving(t, { open: ['api@1.x'] })
    t.equal((await visit(regulated.port, 'api.shop.com')).status, 200)
    const any = await serving(t, { allowedHosts: ['*'] })
    t.equal((await visit(any.port, 'evil.com')).status, 200)
    t.throws(() => new HostGuard(['https://gate.home.net']), { code: 'USAGE' })
  }
)

t.test('a page of a stranger opens no WebSocket, which a browser would let it read', async (t) => {
  const cors = [{ role: 'api@1.x', origin: 'https://app.shop.com' }]
  const domains = [{ host: 'api.shop.com', role: 'api@1.x' }]
  const { port } = await serving(t, { cors, domains })
  const open = async (origin?: string, host = `127.0.0.1:${port}`) => {
    const headers = { host, ...(origin ? { origin } : {}) }
    const socket = new WebSocket(`ws://127.0.0.1:${port}/role/api/`, { headers })
    socket.on('error', () => {})
    const [answer] = await Promise.race([
      once(socket, 'message'),
      once(socket, 'unexpected-response').then(([, { statusCode }]) => [statusCode])
    ])
    socket.terminate()
    return String(answer)
  }
  for (const origin of ['https://evil.com', 'http://evil.com:8777', 'null', 'file://']) {
    t.equal(await open(origin), '403', origin)
  }
  for (const origin of [undefined, `http://127.0.0.1:${port}`, 'http://localhost:3000']) {
    t.equal(await open(origin), SECRET, origin ?? 'no page at all')
  }
  t.equal(await open('https://app.shop.com'), SECRET, 'which a rule lets call')
  t.equal(
    await open('https://evil.com', 'api.shop.com'),
    SECRET,
    'what everybody may reach by name'
  )
})
