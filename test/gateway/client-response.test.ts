import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2, constants, Http2ServerResponse } from 'node:http2'
import { connect } from 'node:net'
import { queryObjects } from 'node:v8'
import t from 'tap'
import { makePerson } from '../../lib/access-file.js'
import { isClosed, isSent, whenClosed } from '../../lib/gateway/client-response.js'
import { restWhile } from '../rest.js'
import { Harbor, http2Pair, portOf } from './harbor.js'

t.test('an answer over HTTP/2 that was reset is closed, and was not sent', async (t) => {
  const { server, session } = await http2Pair(t)
  for (const isReset of [true, false]) {
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {}).resume()
    const [, answer] = await once(server, 'request')
    const response = answer as ServerResponse
    t.notOk(isClosed(response))
    if (isReset) stream.close(constants.NGHTTP2_CANCEL)
    else response.end('ok')
    await whenClosed(response)
    t.ok(isClosed(response))
    t.equal(isSent(response), !isReset)
    await whenClosed(response)
  }
})

t.test('a client that resets its request over HTTP/2 is noticed by the service', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(() => {})
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web({ deadline: 60 * 60_000 })
  const session = connectHttp2(web.url)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/role/api/' })
  stream.on('error', () => {}).resume()
  const [, answer] = (await once(backend, 'request')) as [IncomingMessage, ServerResponse]
  const [cut, left] = [once(answer, 'close'), once(web, 'access')]
  stream.close(constants.NGHTTP2_CANCEL)
  await Promise.all([cut, left])
  t.equal(web.getStats().gateway.active, 0)
})

t.test('answers over HTTP/2 take no memory when they are over', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (_request, response) => response.end('ok'))
  const web = await harbor.web()
  const session = connectHttp2(web.url)
  t.teardown(() => session.destroy())
  for (let i = 0; i < 100; i++) {
    const stream = session.request({ ':path': i % 2 === 0 ? '/role/api/' : '/list/' })
    stream.resume()
    await once(stream, 'close')
  }
  const left = () => queryObjects(Http2ServerResponse, { format: 'count' })
  await restWhile(() => left() > 10)
})

t.test('who leaves while a password is checked is not served', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', (_request, response) => response.end('ok'))
  const web = await harbor.web({ access: await makePerson('ada', 'secret', ['*']) })
  const authorization = `Basic ${Buffer.from('ada:secret').toString('base64')}`
  const socket = connect({ port: web.port, host: '127.0.0.1' })
  socket.write(
    `GET /events/api HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\n\r\n`
  )
  await restWhile(() => web.getStats().gateway.active === 0)
  socket.resetAndDestroy()
  await restWhile(() => web.getStats().gateway.active > 0)
})
