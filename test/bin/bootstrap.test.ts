import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import t from 'tap'
import { Cli } from './cli.js'

t.test('bootstrap prints its address, and how to join it', async (t) => {
  const cli = new Cli(t)
  const node = cli.start(['bootstrap', '--port', '0'])
  const address = await node.waitForLine('bootstrap=')
  t.match(address, /^127\.0\.0\.1:\d+$/)
  await node.waitForTalk(`join it with --bootstrap ${address}`)
  await node.waitForTalk('only this machine reaches it')
})

t.test('several nodes are named in one line, which others join them with', async (t) => {
  const cli = new Cli(t)
  const node = cli.start(['bootstrap', '--port', '0', '--nodes', '4'])
  const address = await node.waitForLine('bootstrap=')
  t.match(address, /^127\.0\.0\.1:\d+(,127\.0\.0\.1:\d+){3}$/)
  t.equal(new Set(address.split(',')).size, 4)
  cli.setEnv('HYPERSEAPORT_BOOTSTRAP', address)
  const registry = cli.start(['registry', '--registrySeed', '01'.repeat(32)])
  await registry.waitForLine('registryPublicKey=')
})

t.test('a port after the first that is taken costs a node, and is named', async (t) => {
  const cli = new Cli(t)
  const first = await freePort()
  const socket = createSocket('udp4').bind(first + 1, '127.0.0.1')
  t.teardown(() => socket.close())
  await once(socket, 'listening')
  const node = cli.start(['bootstrap', '--port', `${first}`, '--nodes', '2'])
  t.equal(await node.waitForLine('bootstrap='), `127.0.0.1:${first}`)
  await node.waitForTalk(`PORT_IN_USE: UDP port ${first + 1}`)
})

t.test('no more nodes are asked for than there are ports', async (t) => {
  const cli = new Cli(t)
  for (const [port, nodes, most] of [
    ['65534', '3', 2],
    ['0', '999999999', 65535]
  ] as const) {
    const { code, stderr } = await cli.run(['bootstrap', '--port', port, '--nodes', nodes])
    t.equal(code, 2)
    t.match(stderr, `USAGE: nodes can be ${most} at most, not ${nodes}`)
  }
})

t.test('a signal ends it with 0', async (t) => {
  const cli = new Cli(t)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const node = cli.start(['bootstrap', '--port', '0'])
    await node.waitForLine('bootstrap=')
    t.match(await node.kill(signal), { code: 0, signal: null }, signal)
  }
})

t.test('what it prints is a config file that others join it with', async (t) => {
  const cli = new Cli(t)
  const node = cli.start(['bootstrap', '--port', '0', '--json'])
  const address = JSON.parse(await node.waitForLine('')).bootstrap
  cli.write('.hyperseaportrc', `bootstrap=${address}`)
  const registry = cli.start(['registry', '--registrySeed', '01'.repeat(32)])
  t.match(await registry.waitForLine('registryPublicKey='), /^[0-9a-f]{64}$/)
})

t.test('a registry says its key whether or not a node of the DHT answers', async (t) => {
  const registry = new Cli(t).start([
    'registry',
    ...['--registrySeed', '01'.repeat(32), '--bootstrap', '127.0.0.1:1']
  ])
  t.match(await registry.waitForLine('registryPublicKey='), /^[0-9a-f]{64}$/)
  t.match(await registry.kill('SIGTERM'), { code: 0 })
})

t.test('a port that is taken is refused with a code', async (t) => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  t.teardown(() => socket.close())
  await once(socket, 'listening')
  const { port } = socket.address()
  const { code, stdout, stderr } = await new Cli(t).ask(['bootstrap', '--port', `${port}`])
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /^PORT_IN_USE: .*\n$/)
  t.match(stderr, `${port}`)
})

t.test('an address that nobody can reach is refused', async (t) => {
  const cli = new Cli(t)
  for (const host of ['0.0.0.0', 'example.org', '::1']) {
    const { code, stderr } = await cli.ask(['bootstrap', '--host', host])
    t.equal(code, 2, host)
    t.match(stderr, /^USAGE: --host must be an IPv4 address .*\n$/)
  }
})

/** A port that is free, and the one after it. */
async function freePort(): Promise<number> {
  for (;;) {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const { port } = socket.address()
    const next = createSocket('udp4')
    const isFree = await new Promise<boolean>((resolve) => {
      next.once('error', () => resolve(false))
      next.bind(port + 1, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => socket.close(() => resolve(null)))
    if (!isFree) continue
    await new Promise((resolve) => next.close(() => resolve(null)))
    return port
  }
}
