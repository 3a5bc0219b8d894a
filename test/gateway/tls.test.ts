import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { connect } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import t from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { FileCertificate } from '../../lib/gateway/tls-certificate.js'
import { certify, noOpenssl } from '../openssl.js'
import { Harbor, portOf } from './harbor.js'

/** The files of a certificate of our own signing. */
function certificate(dir: string, name: string, suffix = '') {
  const [certFile, keyFile] = [join(dir, `cert.pem${suffix}`), join(dir, `key.pem${suffix}`)]
  certify(name, certFile, keyFile)
  return { certFile, keyFile }
}

t.test(
  'HTTPS and HTTP/2 to the browser, HTTP/1.1 to the service, and a new certificate without a restart',
  { skip: noOpenssl },
  async (t) => {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend((request, response) => {
      response.writeHead(200, [
        'Set-Cookie',
        'a=1',
        'Set-Cookie',
        'b=2',
        'Connection',
        'close',
        'Trailer',
        'x-sum'
      ])
      request.on('data', (chunk) => response.write(chunk))
      request.on('end', () => {
        response.write(JSON.stringify([request.httpVersion, request.headers]))
        response.addTrailers({ 'x-sum': '1' })
        response.end()
      })
    })
    new WebSocketServer({ server: backend }).on('connection', (socket) => socket.send('hello'))
    await harbor.service('api@1.0.0', portOf(backend))
    const dir = await harbor.testbed.dir()
    const source = new FileCertificate({ ...certificate(dir, 'first.example'), interval: 20 })
    const web = await harbor.web({ tls: source })
    t.match(web.url, /^https:/)

    const session = connect(web.url, { rejectUnauthorized: false })
    t.teardown(() => session.destroy())
    const stream = session.request({
      ':method': 'POST',
      ':path': '/role/api/echo',
      cookie: 'x=1; y=2'
    })
    let body = ''
    stream.on('data', (chunk) => {
      body += chunk
    })
    const trailers = once(stream, 'trailers')
    stream.end('body ')
    const [headers] = await once(stream, 'response')
    t.equal(headers[':status'], 200)
    t.strictSame(headers['set-cookie'], ['a=1', 'b=2'])
    t.match((await trailers)[0], { 'x-sum': '1' })
    await once(stream, 'close')
    t.match(body, /^body \["1.1"/)
    t.match(body, /"x-forwarded-proto":"https"/)
    t.match(body, /"via":"2.0 hyperseaport-/)
    t.match(body, /"cookie":"x=1; y=2"/)
    session.close()

    const asking = httpsRequest(`${web.url}role/api/`, { rejectUnauthorized: false })
    asking.end()
    const [answer] = await once(asking, 'response')
    t.equal(answer.statusCode, 200)
    answer.resume()
    const socket = new WebSocket(`${web.url.replace('https', 'wss')}role/api/`, {
      rejectUnauthorized: false
    })
    t.equal(String((await once(socket, 'message'))[0]), 'hello')
    socket.close()

    t.equal((await certificateOf(web.port)).subject.CN, 'first.example')
    const fresh = certificate(dir, 'second.example', '.new')
    const changed = once(source, 'change')
    renameSync(fresh.keyFile, join(dir, 'key.pem'))
    renameSync(fresh.certFile, join(dir, 'cert.pem'))
    await changed
    t.equal((await certificateOf(web.port)).subject.CN, 'second.example')
  }
)

async function certificateOf(port: number): Promise<PeerCertificate> {
  const socket = connectTls({
    port,
    host: '127.0.0.1',
    servername: 'first.example',
    rejectUnauthorized: false
  })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerCertificate()
  socket.destroy()
  return certificate
}

t.test(
  'a certificate that might have no end is refused',
  { skip: process.platform === 'win32' && 'there is no /dev/zero' },
  async (t) => {
    const files = new FileCertificate({ certFile: '/dev/zero', keyFile: '/dev/zero' })
    await t.rejects(files.open(), { code: 'BAD_CONFIG', message: /neither a file nor a pipe/ })
  }
)
