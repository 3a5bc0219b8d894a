import { createServer } from 'node:net'
import t from 'tap'
import {
  bareAddress,
  hostInUrl,
  LOOPBACK,
  listen,
  probeTcpPort,
  probeUdpPort
} from '../../lib/core/listen.js'

t.test('an address is taken as a URL writes it, and written so', async (t) => {
  for (const [given, bare, inUrl] of [
    ['[::1]', '::1', '[::1]'],
    ['::1', '::1', '[::1]'],
    ['192.0.2.1', '192.0.2.1', '192.0.2.1'],
    ['localhost', 'localhost', 'localhost'],
    ['0.0.0.0', '0.0.0.0', '127.0.0.1'],
    ['[::]', '::', '[::1]']
  ] as const) {
    t.equal(bareAddress(given), bare)
    t.equal(hostInUrl(bare), inUrl)
  }
})

t.test('a server listens, on a free port if it is all the same', async (t) => {
  const server = createServer()
  t.teardown(() => server.close())
  const port = await listen(server, { port: 0, host: LOOPBACK })
  t.ok(port > 0)
  await t.rejects(listen(createServer(), { port, host: LOOPBACK }), {
    code: 'PORT_IN_USE',
    message: `PORT_IN_USE: port ${port} on 127.0.0.1 is in use, choose another one`
  })
  await t.rejects(listen(createServer(), { port, host: LOOPBACK, name: 'the door' }), {
    message: /: the door is in use/
  })
  await t.rejects(probeTcpPort(port, LOOPBACK), { code: 'PORT_IN_USE' })
})

t.test('a port that was probed is free afterwards', async (t) => {
  const port = await probeTcpPort(0, LOOPBACK)
  t.equal(await probeTcpPort(port, LOOPBACK), port)
  const udp = await probeUdpPort(0, LOOPBACK)
  t.equal(await probeUdpPort(udp, LOOPBACK), udp)
})

t.test('an address that this machine does not have is said to be one', async (t) => {
  // TEST-NET-1 (RFC 5737): nobody has it.
  const nowhere = '192.0.2.1'
  const failure = { code: 'LISTEN_FAILED', message: /does not have that address/ }
  await t.rejects(listen(createServer(), { port: 0, host: nowhere }), failure)
  await t.rejects(probeUdpPort(0, nowhere), failure)
})
