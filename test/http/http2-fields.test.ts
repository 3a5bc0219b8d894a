import { once } from 'node:events'
import { connect, constants, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { http2Fields, http2Trailers } from '../../lib/http/http2-fields.js'

/** Every field that node:http2 knows by name, and one that it does not. */
const NAMES = [
  ...Object.entries(constants)
    .filter(([key, value]) => key.startsWith('HTTP2_HEADER_') && !String(value).startsWith(':'))
    .map(([, value]) => String(value)),
  'x-own'
]

t.test('every field that node:http2 knows may come twice, in heads and in trailers', async (t) => {
  const server = createServer((request, response) => {
    const name = String(request.headers['x-name'])
    const twice = [name, '1', name.toUpperCase(), '1']
    // What follows is a length for a body that there is.
    const { 'content-length': _, ...fields } = http2Fields(twice)
    request.stream.additionalHeaders({ ':status': 103, ...fields })
    response.writeHead(200, fields)
    response.addTrailers(http2Trailers(twice))
    response.end('ok')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(() => {
    session.destroy()
    server.close()
  })
  t.ok(NAMES.length > 80)
  for (const name of NAMES.filter((name) => name !== 'content-length')) {
    const stream = session.request({ ':path': '/', 'x-name': name })
    const [fields] = await once(stream, 'response')
    t.equal(fields[':status'], 200, name)
    stream.resume()
    await once(stream, 'close')
  }
})

t.test('of a field that may come once the first counts, and lists are put together', (t) => {
  t.strictSame({ ...http2Fields(['ETag', '"a"', 'etag', '"b"']) }, { etag: '"a"' })
  t.strictSame(
    { ...http2Fields(['Content-Encoding', 'gzip', 'Content-Encoding', 'br']) },
    { 'content-encoding': 'gzip, br' }
  )
  t.strictSame(
    { ...http2Fields(['Set-Cookie', 'a', 'Set-Cookie', 'b', 'Keep-Alive', '5', ':status', '1']) },
    { 'set-cookie': ['a', 'b'] }
  )
  t.strictSame(http2Trailers(['X-A', '1', 'X-A', '2', 'TE', 'x']), { 'x-a': '1, 2' })
  t.end()
})
