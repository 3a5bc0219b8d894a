import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect as connectHttp2, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { endWhenIdle } from '../../lib/gateway/client-session.js'
import { makeHttp2Server } from '../../lib/gateway/gateway-server.js'
import { DATA, Frames, GOAWAY } from './frames.js'

/** A server that answers nothing by itself. */
async function serverOf(t: Test, options: { idleTimeout: number; pingTimeout: number }) {
  const server = makeHttp2Server(32 * 1024)
  server.on('session', (session: ServerHttp2Session) => endWhenIdle(session, options))
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port }
}

const FAULTS: Record<string, (frames: Frames) => void> = {
  'data on no stream': (frames) => frames.send({ type: DATA, payload: Buffer.from('a') }),
  'what is no frame': (frames) => void frames.socket.write('garbage '.repeat(100))
}

for (const [name, fault] of Object.entries(FAULTS)) {
  for (const isAsking of [true, false]) {
    const when = isAsking ? 'while a request is under way' : 'at the beginning'
    t.test(`a client that breaks the rules of HTTP/2 is cut: ${name} ${when}`, async (t) => {
      const { server, port } = await serverOf(t, { idleTimeout: 100, pingTimeout: 100 })
      const begun = once(server, 'session')
      const frames = await Frames.connect(t, port)
      // It does not end its side of the connection.
      frames.socket.allowHalfOpen = true
      const cut = new Promise((resolve) => frames.socket.once('end', resolve))
      const [session] = (await begun) as [ServerHttp2Session]
      const ended = new Promise((resolve) => session.once('close', resolve))
      let closed: Promise<unknown> | null = null
      if (isAsking) {
        const asked = once(server, 'request')
        frames.request(1, 'POST', '/')
        const [, response] = (await asked) as unknown as [unknown, ServerResponse]
        closed = once(response, 'close')
      }
      fault(frames)
      await frames.whenSeen(({ type }) => type === GOAWAY)
      await Promise.all([cut, ended, closed])
      t.ok(session.destroyed)
    })
  }
}

t.test('a client that answers pings may wait for as long as it likes', async (t) => {
  const { server, port } = await serverOf(t, { idleTimeout: 50, pingTimeout: 60_000 })
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => client.destroy())
  const asked = once(server, 'request')
  const stream = client.request({ ':path': '/' }).setEncoding('utf8')
  const [, response] = (await asked) as unknown as [unknown, ServerResponse]
  for (let pings = 0; pings < 3; pings++) await once(client, 'ping')
  response.end('ok')
  t.equal((await stream.toArray()).join(''), 'ok')
  await once(client, 'close')
})
