import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import t from 'tap'
import { RequestDeadlines } from '../../lib/gateway/request-deadlines.js'
import { restWhile } from '../rest.js'
import { Frames, RST_STREAM } from './frames.js'
import { Harbor, http2Pair, portOf } from './harbor.js'

t.test('a request over HTTP/2 has to come in within its time, unless it is answered', async (t) => {
  const TIMEOUT_MS = 1000
  const { server, session } = await http2Pair(t)
  for (const [name, isWhole, isAnswered] of [
    ['slow', false, false],
    ['answered', false, true],
    ['whole', true, false]
  ] as const) {
    const stream = session.request({ ':method': 'POST', ':path': '/' })
    stream.on('error', () => {})
    stream.write('a')
    const answered = once(stream, 'response')
    const [request, response] = (await once(server, 'request')) as unknown as [
      IncomingMessage,
      ServerResponse
    ]
    request.resume()
    const deadlines = new RequestDeadlines(TIMEOUT_MS)
    deadlines.add(request, response)
    if (isAnswered) response.flushHeaders()
    if (isWhole) {
      stream.end()
      await once(request, 'end')
    }
    deadlines.tick(performance.now())
    deadlines.tick(performance.now() + 2 * TIMEOUT_MS)
    if (name !== 'slow') response.end('ok')
    const [fields] = await answered
    t.equal(fields[':status'], name === 'slow' ? 408 : 200, name)
    stream.resume().end()
    await once(stream, 'close')
  }
})

t.test('a gateway answers 408 over HTTP/2 to a request that does not come in', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (request) => void request.resume())
  const web = await harbor.web({ requestTimeout: 100 })
  const session = connectHttp2(web.url)
  t.teardown(() => session.destroy())
  const over = once(web, 'access')
  const stream = session.request({ ':method': 'POST', ':path': '/role/api/' })
  stream.on('error', () => {}).write('a')
  const [fields] = await once(stream, 'response')
  t.equal(fields[':status'], 408)
  let text = ''
  stream.on('data', (bytes) => {
    text += bytes
  })
  await new Promise((resolve) => stream.once('close', resolve))
  t.match(text, /"error":"TOO_SLOW"/)
  const [entry] = await over
  t.equal(entry.status, 408)
  t.equal(web.getStats().gateway.active, 0)
})

t.test(
  'a request over HTTP/2 has to come in within its time, even if its answer is over',
  async (t) => {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend((request, response) => {
      request.on('error', () => {}).resume()
      response.end('early')
    })
    await harbor.service('api@1.0.0', portOf(backend))
    const web = await harbor.web({ requestTimeout: 3000 })
    const frames = await Frames.connect(t, web.port)
    frames.request(1, 'POST', '/role/api/')
    frames.data(1, 'begun')
    const [request] = (await once(backend, 'request')) as [IncomingMessage]
    const cut = new Promise((resolve) => request.socket.once('close', resolve))
    await frames.whenEnded(1)
    // The answer is whole, so this only tells the client to send no more (RFC 9113 §8.1).
    const { payload } = await frames.whenSeen(({ type }) => type === RST_STREAM)
    t.equal(payload.readUInt32BE(), 0)
    await cut
    await restWhile(() => web.getStats().gateway.active > 0)
  }
)
