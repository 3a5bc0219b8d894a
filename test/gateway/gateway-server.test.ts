import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import t from 'tap'
import { restWhile } from '../rest.js'
import { type Frame, Frames, HEADERS } from './frames.js'
import { Harbor, portOf } from './harbor.js'

const MAX_HEADER_BYTES = 8 * 1024

for (const fastPath of [true, false]) {
  const way = fastPath ? 'with' : 'without'
  t.test(
    `a head may have as many fields as its size allows, over HTTP/2 too, ${way} the fast path`,
    async (t) => {
      const harbor = await Harbor.make(t)
      await harbor.service('api@1.0.0', ({ headers }, response) => response.end(headers['x-180']))
      const web = await harbor.web({ fastPath, maxHeaderBytes: MAX_HEADER_BYTES })
      const session = connectHttp2(web.url)
      t.teardown(() => session.destroy())
      const fields = Array.from({ length: 181 }, (_, i) => [`x-${i}`, 'a'])
      const stream = session.request({ ':path': '/role/api/', ...Object.fromEntries(fields) })
      const text = (await stream.setEncoding('utf8').toArray()).join('')
      t.equal(text, 'a')
    }
  )
}

for (const isAcknowledging of [true, false]) {
  const when = isAcknowledging ? 'after' : 'before'
  t.test(
    `a head that is too large is refused ${when} a client acknowledged our settings`,
    async (t) => {
      const harbor = await Harbor.make(t)
      const backend = await harbor.backend((_request, response) => response.end('ok'))
      const urls: unknown[] = []
      backend.on('request', ({ url }: IncomingMessage) => urls.push(url))
      await harbor.service('api@1.0.0', portOf(backend))
      const web = await harbor.web({ maxHeaderBytes: MAX_HEADER_BYTES })
      const frames = await Frames.connect(t, web.port, { isAcknowledging })
      const large = { 'x-large': 'a'.repeat(MAX_HEADER_BYTES) }
      frames.request(1, 'GET', '/role/api/small', {}, { isEnd: true })
      await frames.whenEnded(1)
      frames.request(3, 'GET', '/role/api/large', large, { isEnd: true })
      frames.request(5, 'POST', '/role/api/large', large)
      frames.request(7, 'GET', '/role/api/small', {}, { isEnd: true })
      await frames.whenEnded(7)
      for (const stream of [3, 5]) await frames.whenEnded(stream)
      const isHead = ({ type, stream }: Frame) => type === HEADERS && stream === 3
      const { payload } = await frames.whenSeen(isHead)
      // Three digits are no shorter when compressed, so they are sent as they are.
      t.ok(payload.includes('431'))
      t.strictSame(urls, ['/small', '/small'])
      await restWhile(() => web.getStats().gateway.active > 0)
    }
  )
}
