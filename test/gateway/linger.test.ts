import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { linger } from '../../lib/gateway/linger.js'
import { restWhile } from '../rest.js'
import { Harbor } from './harbor.js'
import { exchangeBytes } from './wire.js'

/** More than systems and windows take in between, in bytes. */
const LARGE = 32 * 1024 * 1024

/** Sends all of a request before it reads anything of the answer, as simple clients do, and a second one after it. */
async function writeFirst(port: number, head: string): Promise<string> {
  const heard = await exchangeBytes(port, async (socket) => {
    socket.pause()
    const sent = new Promise((resolve) => {
      socket.write(`${head}Content-Length: ${LARGE}\r\n\r\n`)
      socket.write(Buffer.alloc(LARGE), resolve)
    })
    await sent
    socket.write('GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    socket.resume()
  })
  return [...`${heard}`.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status).join()
}

/** A service that answers as soon as a request begins, and reads no more of it. */
async function hasty(t: Test, isLast: boolean): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.pause()
      socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig')
      if (isLast) socket.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

t.test('a client that sends all before it reads gets the answer that came early', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('last@1.0.0', await hasty(t, true))
  await harbor.service('kept@1.0.0', await hasty(t, false))
  const web = await harbor.web()
  for (const role of ['last', 'kept']) {
    const head = `POST /role/${role}/ HTTP/1.1\r\nHost: x\r\n`
    // The answer may come before or after the service takes no more.
    for (let i = 0; i < 4; i++) t.equal(await writeFirst(web.port, head), '413,404', role)
  }
  await restWhile(() => web.getStats().gateway.active > 0)
})

t.test('a client that sends all before it reads is told why it was refused', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web({ maxBodyBytes: 1000 })
  t.equal(await writeFirst(web.port, 'POST /role/no/ HTTP/1.1\r\nHost: x\r\n'), '404')
  t.equal(await writeFirst(web.port, 'POST /list/ HTTP/1.1\r\nHost: x\r\n'), '405')
  t.equal(await writeFirst(web.port, 'POST / HTTP/1.1\r\nHost: x\r\nA : b\r\n'), '400')
})

t.test('a connection that was ended is read for a while, and then closed', async (t) => {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  client.on('error', () => {})
  const [socket] = (await once(server, 'connection')) as [Socket]
  const closed = once(socket, 'close')
  linger(socket, 'bye', 100)
  const [heard] = await once(client, 'data')
  t.equal(`${heard}`, 'bye')
  await once(client, 'end')
  client.write('more')
  await closed
  t.ok(socket.bytesRead > 0)
  client.destroy()
})

t.test('what follows the last request of a connection is not asked of the service', async (t) => {
  const harbor = await Harbor.make(t)
  const asked: string[] = []
  await harbor.service('api@1.0.0', (request, response) => {
    asked.push(request.url ?? '')
    response.end('ok')
  })
  for (const fastPath of [true, false]) {
    const web = await harbor.web({ fastPath })
    const ask = (path: string, fields = '') =>
      `GET /role/api/${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n`
    const socket = connect({ port: web.port, host: '127.0.0.1', allowHalfOpen: true })
    socket.write(ask('last', 'Connection: close\r\n'))
    socket.resume()
    await once(socket, 'end')
    await new Promise((resolve) => socket.end(ask('more'), () => resolve(null)))
    await once(socket, 'close')
    // By now what it was asked for would have reached the service.
    await fetch(`${web.url}role/api/next`)
  }
  t.strictSame(asked, ['/last', '/next', '/last', '/next'])
})
