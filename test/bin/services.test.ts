import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, createServer as createEcho } from 'node:net'
import t, { type Test } from 'tap'
import { z32 } from '../../lib/core/holepunch.js'
import { KeyPair, parseKey, toHex } from '../../lib/core/keys.js'
import { Consumer } from '../../lib/index.js'
import { keepProcessKey } from '../../lib/registry/log/own-keys.js'
import { freePort } from '../../lib/serving/local-port.js'
import { Cli, type Running } from './cli.js'
import { islandOf, registryOf } from './island.js'

const KEY = /^[0-9a-f]{64}$/
const ONE_LINE = /^[^\n]*\n$/

t.test('each line of the contract appears, and a client reaches the backend', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t)
  const port = await httpBackend(t, 'welcome')

  const service = cli.start(['service', '-p', `${port}`, '-r', 'couchdb@3.2.2', '--tag', 'a'])
  const key = await service.waitForLine('started p2p service on ')
  t.match(key, KEY)
  t.equal(await service.waitForLine('connecting to registry '), registryPublicKey)
  t.match(await service.waitForLine('registered service {'), "role: 'couchdb', version: '3.2.2'")

  const reach = await service.waitForTalk('reached over the DHT, and by TCP at 127.0.0.1:')
  t.match(reach, /^\d+; the backend sees every consumer as a local client, 127\.0\.0\.1$/)

  const proxy = cli.start(['proxy', '-p', '0', '-r', 'couchdb@3.x'])
  t.equal(await proxy.waitForLine('connecting to registry '), registryPublicKey)
  await proxy.waitForLine('connected to registry')
  t.match(await proxy.waitForLine('found service {'), key)
  t.equal(await get(proxy), 'welcome')
  t.match(await proxy.waitForLine('proxy from  '), new RegExp(`^\\d+ to p2p service ${key}$`))

  const { stdout } = await cli.run(['list', 'couchdb@^3.2.0', '--json'])
  t.match(JSON.parse(stdout), [
    { role: 'couchdb', version: '3.2.2', servicePublicKey: key, tags: ['a'], status: 'passing' }
  ])
  t.match((await cli.ask(['list'])).stdout, /^ROLE .*\ncouchdb +3\.2\.2 +passing.* a\n$/)
  t.match(await cli.ask(['list', 'couchdb@4.x', '--json']), { code: 0, stdout: '[]\n' })
  t.match(await cli.ask(['list', 'couchdb@4.x']), { code: 0, stdout: '', stderr: ONE_LINE })
})

t.test(
  '--allow takes keys in hex and in z-base-32, and others are told that they may not',
  async (t) => {
    const { cli, bootstrap, registryPublicKey } = await islandOf(t)
    const registry = parseKey(registryPublicKey)
    const dirs = ['hex', 'z32', 'other'].map((name) => cli.path(name))
    const keys = await Promise.all(dirs.map((dir) => keepProcessKey(registry, dir)))
    const [hex, z] = keys.map(({ publicKey }) => publicKey)
    const allowed = [toHex(hex as Buffer), z32.encode(z as Buffer)]
    const port = `${await httpBackend(t, 'welcome')}`
    const flags = ['-p', port, '-r', 'hello@1.0.0', ...allowed.flatMap((key) => ['--allow', key])]
    await cli.start(['service', ...flags]).waitForLine('registered service')
    const answers = dirs.map(async (dir) => {
      const consumer = Consumer(['hello'], { registryPublicKey, bootstrap, dir })
      t.teardown(() => consumer.destroy())
      const [entry] = await consumer.setup()
      return entry?.fetch('/').then(
        (response) => response.text(),
        ({ cause }: Error) => /NOT_ALLOWED/.exec(String(cause))?.[0]
      )
    })
    t.strictSame(await Promise.all(answers), ['welcome', 'welcome', 'NOT_ALLOWED'])
    t.match(await cli.ask(['service', ...flags, '--allow', 'somebody']), {
      code: 2,
      stderr: /^BAD_KEY: the allowed key/
    })
  }
)

t.test('a proxy says that it waits, and listens when the first instance comes', async (t) => {
  const { cli } = await islandOf(t)
  const proxy = cli.start(['proxy', '-p', '0', '-r', 'hello@^1.0.0'])
  await proxy.waitForLine('waiting for an instance of hello@^1.0.0')
  await proxy.waitForTalk('still searching for an instance of hello@^1.0.0')
  cli.start(['service', '-p', `${await httpBackend(t, 'hello')}`, '-r', 'hello@1.2.0'])
  t.equal(await get(proxy), 'hello')
})

t.test('the numbers of a proxy and a service are there before anybody is found', async (t) => {
  const cli = new Cli(t)
  cli.seed()
  const nowhere = ['--bootstrap', '127.0.0.1:1', '--metrics', '0']
  for (const line of [
    ['proxy', '-p', '0', '-r', 'hello@1.x'],
    ['service', '-p', '1', '-r', 'hello@1.0.0']
  ]) {
    const running = cli.start([...line, ...nowhere])
    const url = await running.waitForLine('metrics on ')
    t.match(await (await fetch(url)).text(), 'hyperseaport_build_info')
  }
})

t.test('a wrong port for the numbers is found before anything is started', async (t) => {
  const cli = new Cli(t)
  const { registrySeed } = cli.seed()
  for (const line of [
    ['registry', '--registrySeed', registrySeed],
    ['service', '-p', '1', '-r', 'a@1.0.0'],
    ['proxy', '-p', '0', '-r', 'a@1.x'],
    ['web', '-p', '0'],
    ['peer']
  ]) {
    const flags = ['--bootstrap', '127.0.0.1:1', '--metrics', 'high']
    const stderr = /^USAGE: --metrics must be a port/
    t.match(await cli.ask([...line, ...flags]), { code: 2, stdout: '', stderr }, line.join(' '))
  }
})

t.test('watch shows what is there, what comes and what goes', async (t) => {
  const { cli, start } = await islandOf(t)
  const port = `${start.port}`
  await start.instance('hello@1.0.0')
  const watch = cli.start(['watch', 'hello@1.x', '--json'])
  const up = JSON.parse(await watch.waitForLine(''))
  t.match(up, { change: 'up', version: '1.0.0', time: /^\d{4}-\d\d-\d\dT.*Z$/ })
  const aloud = cli.start(['watch'])
  t.match(await aloud.waitForLine('up     hello@1.0.0 passing '), / \d{4}-\d\d-\d\dT[\d:.]+Z$/)

  const second = cli.start(['service', '-p', port, '-r', 'hello@1.1.0', '--dir', 'second'])
  await watch.waitForLine('{"change":"up","role":"hello","version":"1.1.0"')
  await start.instance('hello@2.0.0')
  t.match(await second.kill('SIGTERM'), { code: 0 })
  await watch.waitForLine('{"change":"down","role":"hello","version":"1.1.0"')
  t.notMatch(watch.lines.stdout.join(), '2.0.0')
})

t.test('what is in use is refused with its own code', async (t) => {
  const { cli, start } = await registryOf(t)
  const port = `${start.port}`
  await start.instance('hello@1.0.0', { keyPair: KeyPair('11'.repeat(32)) })

  const registry = await cli.run([])
  t.match(registry, { code: 1, stdout: '' })
  t.match(registry.stderr, /^STORAGE_LOCKED: .*--dir/m)

  const proxy = await cli.run(['proxy', '-p', port, '-r', 'hello'])
  t.match(proxy, { code: 1 })
  t.match(proxy.stderr, /^PORT_IN_USE: /m)

  const service = ['service', '-p', port, '-r', 'hello@1.0.0', '--dir', 'other']
  const twin = await cli.run([...service, '--seed', '11'.repeat(32)])
  t.match(twin, { code: 1 })
  t.match(twin.stderr, /^KEY_IN_USE: /m)
})

t.test('a backend that is not there yet is pointed out', async (t) => {
  const { cli } = await islandOf(t)
  const service = cli.start(['service', '-p', `${await freePort(0)}`, '-r', 'hello@1.0.0'])
  await service.waitForTalk('BACKEND_UNREACHABLE: nothing listens on ')
  await service.waitForLine('registered service')
})

t.test('a registry that nobody runs is searched for aloud, and not for ever', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  cli.setEnv('HYPERSEAPORT_REGISTRY_PUBLIC_KEY', '5b'.repeat(32))
  const service = cli.start(['service', '-p', '9', '-r', 'hello@1.0.0'])
  const list = cli.start(['list'])
  await list.waitForTalk('still searching for the registry 5b5b')
  await service.waitForTalk('still searching for a registrar of 5b5b')
  const { code, stdout, stderr } = await list.outcome
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /^REGISTRY_NOT_FOUND: /m)
  t.match(await service.kill('SIGINT'), { code: 0 }, 'a signal ends the search')
})

t.test('a seed that was given as the public key is not repeated', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  const seed = 'c84c7034a0309479299d81468b7bc59592a96b3a919fd1ff159aea1879407382'
  const proxy = cli.start(['proxy', '-p', '0', '-r', 'a', '--registryPublicKey', seed])
  t.match(await proxy.waitForLine('connecting to registry '), /^c84c…, .* is it the seed\?$/)
  await proxy.waitForTalk('still searching for the registry c84c…')
  const { stdout, stderr } = await proxy.kill('SIGINT')
  t.notMatch(stdout + stderr, seed.slice(0, 8))
})

t.test('what was to answer and was interrupted says so by its exit code', async (t) => {
  const cli = new Cli(t)
  await cli.island()
  cli.setEnv('HYPERSEAPORT_REGISTRY_PUBLIC_KEY', '5b'.repeat(32))
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const) {
    const list = cli.start(['list'])
    await list.waitForTalk('still searching for the registry')
    t.match(await list.kill(signal), { code, stdout: '' }, signal)
  }
})

t.test('who stops says what is waited for, and lets it end', async (t) => {
  const { cli } = await islandOf(t)
  const backend = createEcho((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())
  const target = `${(backend.address() as AddressInfo).port}`
  const service = cli.start(['service', '-p', target, '-r', 'echo@1.0.0'])
  await service.waitForLine('registered service')
  const proxy = cli.start(['proxy', '-p', '0', '-r', 'echo@1.x'])
  const port = Number.parseInt(await proxy.waitForLine('proxy from  '), 10)
  const client = connect(port, '127.0.0.1', () => client.write('hello'))
  await once(client, 'data')
  client.on('error', () => {})

  const stopping = service.kill('SIGINT')
  await service.waitForTalk('withdrawn, 1 stream open, again to cut')
  const closing = proxy.kill('SIGTERM')
  await proxy.waitForTalk('no new connections, 1 connection open, again to cut')
  client.write('and on')
  t.equal(String((await once(client, 'data'))[0]), 'and on', 'the stream goes on')
  client.end()
  client.resume()
  t.match(await Promise.all([stopping, closing]), [{ code: 0 }, { code: 0 }], 'until its end')
})

async function httpBackend(t: Test, answer: string): Promise<number> {
  const server = createServer((_request, response) => response.end(answer))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

/** What a proxy's port answers. */
async function get(proxy: Running): Promise<string> {
  const port = Number.parseInt(await proxy.waitForLine('proxy from  '), 10)
  const response = await fetch(`http://127.0.0.1:${port}`)
  return response.text()
}
