import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { Service } from '../../lib/index.js'
import { connectBackend } from '../../lib/serving/backend.js'
import {
  Introducer,
  LOCAL_HEADER,
  parseProxyProtocol,
  proxyHeader
} from '../../lib/serving/proxy-protocol.js'

const client = { publicKey: Buffer.alloc(32, 0xc1), port: 0x0102 }
const service = { publicKey: Buffer.alloc(32, 0x5e), port: 0x1f90 }

t.test('a header has both addresses, both ports, and the whole key of who comes', async (t) => {
  const header = proxyHeader({ client, service })
  const fields = [
    '0d0a0d0a000d0a515549540a',
    '21',
    '21',
    (36 + 3 + 64).toString(16).padStart(4, '0'),
    `fd${'c1'.repeat(15)}`,
    `fd${'5e'.repeat(15)}`,
    '01021f90',
    'e00040',
    Buffer.from('c1'.repeat(32)).toString('hex')
  ]
  t.equal(header.toString('hex'), fields.join(''))
  t.equal(LOCAL_HEADER.toString('hex'), '0d0a0d0a000d0a515549540a20000000')
})

t.test('each stream has a port of its own, and what nobody asked for is local', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const introducer = new Introducer(
    (options) => connectBackend({ host: '127.0.0.1', port }, options),
    () => service.publicKey
  )
  const headerOf = async (from?: Buffer) => {
    const connected = once(server, 'connection')
    const stream = await introducer.connect(from && { client: from })
    const [socket] = (await connected) as [Socket]
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()
    stream.destroy()
    return chunk.toString('hex')
  }
  for (const from of [1, 2]) {
    const ends = { client: { ...client, port: from }, service: { ...service, port } }
    t.equal(await headerOf(client.publicKey), proxyHeader(ends).toString('hex'))
  }
  t.equal(await headerOf(), LOCAL_HEADER.toString('hex'))
  server.close()
})

t.test('only version 2 is spoken, and only with a backend that is connected to', async (t) => {
  t.equal(parseProxyProtocol('v2'), 'v2')
  for (const text of ['v1', '2', '']) {
    t.throws(() => parseProxyProtocol(text), { code: 'USAGE', message: /v2/ })
  }
  const { publicKey: registryPublicKey } = KeyPair()
  const options = { registryPublicKey, role: 'a@1.0.0', bootstrap: '127.0.0.1:1' }
  const proxyProtocol = 'v2'
  t.throws(() => Service({ ...options, proxyProtocol, server: createServer() }), { code: 'USAGE' })
  t.throws(() => Service({ ...options, proxyProtocol, commands: {} }), { code: 'USAGE' })
})
