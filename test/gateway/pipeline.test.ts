import { once } from 'node:events'
import { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { queryObjects } from 'node:v8'
import t from 'tap'
import { Harbor, portOf } from './harbor.js'
import { exchangeBytes } from './wire.js'

const ask = (path: string, fields = '', method = 'GET') =>
  `${method} /role/api${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`

t.test('requests of one connection reach the service one after the other', async (t) => {
  const harbor = await Harbor.make(t)
  const log: string[] = []
  await harbor.service('api@1.0.0', (request, response) => {
    log.push(`asked ${request.url}`)
    request.resume().on('end', () =>
      setImmediate(() => {
        log.push(`answered ${request.url}`)
        response.setHeader('Content-Length', 2).end(request.url)
      })
    )
  })
  for (const fastPath of [true, false]) {
    log.length = 0
    const web = await harbor.web({ fastPath })
    const requests = [ask('/1'), `${ask('/2', 'Content-Length: 1\r\n', 'POST')}x`, ask('/3')]
    const heard = await exchangeBytes(web.port, (socket) => void socket.end(requests.join('')))
    t.match(`${heard}`, /\/1HTTP.*\/2HTTP.*\/3$/s)
    t.strictSame(
      log,
      ['/1', '/2', '/3'].flatMap((path) => [`asked ${path}`, `answered ${path}`])
    )
  }
})

t.test('what is no HTTP is refused when the requests before it were answered', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (request, response) => {
    request.resume().on('end', () => setImmediate(() => response.end(request.url)))
  })
  const broken = `${ask('/3', 'Transfer-Encoding: chunked\r\n', 'POST')}no chunk\r\n`
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ fastPath })
    for (const last of ['no HTTP\r\n\r\n', broken]) {
      const heard = await exchangeBytes(web.port, ask('/1') + ask('/2') + last)
      const statuses = [...`${heard}`.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
      t.strictSame(statuses, ['200', '200', '400'], `${last} ${fastPath}`)
    }
  }
})

t.test('what a client asked for before it left is not asked of the service', async (t) => {
  const harbor = await Harbor.make(t)
  const asked: string[] = []
  const backend = await harbor.backend((request) => void asked.push(request.url ?? ''))
  await harbor.service('api@1.0.0', portOf(backend))
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ fastPath })
    const reached = once(backend, 'request')
    const socket = connect({ port: web.port, host: '127.0.0.1' })
    socket.write(ask('/first') + ask('/second'))
    const [, response] = await reached
    const cut = once(response, 'close')
    const left = once(web, 'access')
    socket.resetAndDestroy()
    await Promise.all([cut, left])
    t.equal(web.getStats().gateway.active, 0)
  }
  t.strictSame(asked, ['/first', '/first'])
})

t.test('requests that wait for their turn take little memory, and are all answered', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(() => {})
  await harbor.service('api@1.0.0', portOf(backend))
  const COUNT = 4000
  /** As many as come in one piece, and some. */
  const MAX_READ = 3000
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ fastPath })
    const reached = once(backend, 'request')
    const last = 'GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    const heard = exchangeBytes(web.port, async (socket) => {
      socket.write(ask('/first', 'Content-Length: 0\r\n', 'POST'))
      const [, response] = await reached
      const before = queryObjects(IncomingMessage, { format: 'count' })
      const sent = new Promise((resolve) => {
        socket.write('GET /no HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(COUNT) + last, resolve)
      })
      await sent
      // The gateway has had many turns to read by then.
      for (let i = 0; i < 20; i++) await fetch(`${web.url}list/`)
      const read = queryObjects(IncomingMessage, { format: 'count' }) - before
      t.ok(read < MAX_READ, `${read} of ${COUNT} were read`)
      response.end('first')
    })
    const statuses = [...`${await heard}`.matchAll(/HTTP\/1\.1 (\d+)/g)]
    t.equal(statuses.length, COUNT + 2)
    t.equal(statuses[0]?.[1], '200')
  }
})
