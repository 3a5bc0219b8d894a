import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { get, localHarbor, statusFor } from '../bin/harbor.js'

/** What flags say is what a gateway does: test/gateway/ tries each of it without the binary. */

const PATH = '/role/hello@1.x/'

t.test('what is public needs none, and the rest does', async (t) => {
  const { web } = await localHarbor(t)
  const { port } = await web('--public', 'hello@2.x')
  const open = await web('--public', 'hello@1.x')
  t.equal((await get(`http://127.0.0.1:${port}${PATH}`)).status, 401)
  t.equal((await get(`http://127.0.0.1:${open.port}${PATH}`)).status, 200)
})

t.test('pages of a named origin may call a role, others may not', async (t) => {
  const { web } = await localHarbor(t)
  const { port } = await web('--cors', 'hello@1.x=https://app.example')
  const at = `http://127.0.0.1:${port}${PATH}`
  const allowed = async (origin: string, method = 'GET') => {
    const headers = { origin, 'access-control-request-method': 'PUT' }
    const answer = await fetch(at, { method, headers })
    await answer.text()
    return answer.headers.get('access-control-allow-origin')
  }
  for (const method of ['GET', 'OPTIONS']) {
    t.equal(await allowed('https://app.example', method), 'https://app.example')
    t.equal(await allowed('https://evil.example', method), null)
  }
})

t.test('requests are bound in size, in the size of their head, and in time', async (t) => {
  const { web } = await localHarbor(t, (request, response) => {
    if (request.url !== '/slow') request.resume().on('end', () => response.end('ok'))
  })
  const { port } = await web('--maxBody', '1k', '--maxHeader', '4k', '--timeout', 'hello=0.3')
  const at = `http://127.0.0.1:${port}${PATH}`
  const post = async (body: string) => (await fetch(at, { method: 'POST', body })).status
  t.equal(await post('x'.repeat(1024)), 200)
  t.equal(await post('x'.repeat(1025)), 413)
  t.equal((await get(at, { 'x-a': 'a'.repeat(3000) })).status, 200)
  t.equal((await get(at, { 'x-a': 'a'.repeat(5000) })).status, 431)
  t.equal((await get(`${at}slow`)).status, 504)
  const { port: hasty } = await web('--maxTime', '1')
  for (const beginning of [
    `GET ${PATH} HTTP/1.1\r\nHost: x\r\nX-A`,
    `POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`
  ]) {
    const socket = connect(hasty, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(beginning)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    await once(socket, 'close')
    t.match(text, /^HTTP\/1\.1 408/, beginning.slice(0, 4))
  }
})

t.test(
  'a gateway is called by its domains, by names that were allowed, and by no others',
  async (t) => {
    const { web } = await localHarbor(t)
    const { port } = await web('--allowedHost', 'gate.shop.com')
    t.equal(await statusFor(port, 'gate.shop.com'), 200)
    t.equal(await statusFor(port, 'evil.com'), 404)
    const { port: served } = await web('--domain', '*.shop.com=hello@1.x')
    t.equal(await statusFor(served, 'a.shop.com'), 200)
    t.equal(await statusFor(served, 'shop.com'), 404)
  }
)
