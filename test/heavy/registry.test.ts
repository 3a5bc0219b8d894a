import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { crypto } from '../../lib/core/holepunch.js'
import { Network } from '../../lib/core/network.js'
import { Consumer, KeyPair } from '../../lib/index.js'
import { freePort } from '../../lib/serving/local-port.js'
import { get, list, registryOf } from '../bin/island.js'

const MAX_GROWTH_MIB = 80

t.test(
  'with the registry killed, all go on, and newcomers who know only the key find their way',
  async (t) => {
    const { cli, start, registry } = await registryOf(t)
    const service = await start.service('a@1.0.0')
    const { proxy, port } = await start.proxy('a@1.x')
    await registry.kill('SIGKILL')
    t.equal(await get(port), 'hello', 'a running proxy opens new connections')

    const newcomer = await start.proxy('a@1.x')
    t.equal(await get(newcomer.port), 'hello', 'a new proxy finds a replica')
    t.match(await list(cli), [{ role: 'a', version: '1.0.0' }])

    // Nobody is left but the service and the DHT's bootstrap node: what counts is the proxy's own disk.
    const dir = cli.path('kept')
    const kept = await start.proxy('a@1.x', '--dir', dir)
    for (const running of [kept.proxy, newcomer.proxy, proxy]) await running.kill('SIGTERM')
    const again = await start.proxy('a@1.x', '--dir', dir)
    t.equal(await get(again.port), 'hello')
    t.match(await service.kill('SIGTERM'), { code: 0 })
  }
)

t.test(
  'what was withdrawn while one of two registrars was dead does not come back with it',
  async (t) => {
    const { cli, start, registry } = await registryOf(t)
    const second = await start.aRegistry('--registryDir', cli.path('second'))
    const [kept, withdrawn] = [await start.service('a@1.0.0'), await start.service('b@1.0.0')]
    const watch = await start.watch()
    await registry.kill('SIGKILL')
    await withdrawn.kill('SIGTERM')
    await watch.waitForLine('{"change":"down","role":"b"')
    const metrics = await (await start.aRegistry('--metrics', '0')).waitForLine('metrics on ')
    while (!/^hyperseaport_registry_instances 1$/m.test(await scrape(metrics))) await setTimeout(50)
    await second.kill('SIGKILL')
    const listed = await list(cli)
    t.match(listed, [{ role: 'a' }])
    t.equal(listed.length, 1)
    t.match(await kept.kill('SIGTERM'), { code: 0 })
  }
)

t.test(
  'a registry that was away for a minute is found within five seconds of its return',
  async (t) => {
    const { cli, start, registry } = await registryOf(t)
    const service = await start.service('a@1.0.0')
    const { port } = await start.proxy('a@1.x')
    await registry.kill('SIGKILL')
    await setTimeout(60_000)
    t.equal(await get(port), 'hello')
    const since = Date.now()
    await start.aRegistry()
    for (;;) {
      const [listed] = await list(cli)
      if (listed?.live === true) break
      if (Date.now() - since > 5000) throw new Error(`after 5 s: ${JSON.stringify(listed)}`)
    }
    t.comment(`leased again ${Date.now() - since} ms after its return`)
    t.match(await service.kill('SIGTERM'), { code: 0 })
  }
)

const skip = has('redis-server') && has('redis-cli') ? false : 'there is no Redis on this machine'

t.test('Redis is reached through a proxy by its own client', { skip }, async (t) => {
  const { cli, start } = await registryOf(t)
  const redisPort = await freePort(0)
  const redis = spawn('redis-server', ['--port', `${redisPort}`, '--save', '', '--dir', cli.home], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => redis.kill('SIGKILL'))
  await new Promise<void>((resolve) => {
    redis.stdout.on('data', (chunk) => String(chunk).includes('Ready to accept') && resolve())
  })
  const service = cli.start(['service', '-p', `${redisPort}`, '-r', 'redis@7.0.0'])
  await service.waitForLine('registered service')
  const { port } = await start.proxy('redis@^7')
  const ask = (...words: string[]) =>
    execFileSync('redis-cli', ['-p', `${port}`, ...words], { encoding: 'utf8' }).trim()
  t.equal(ask('PING'), 'PONG')
  t.equal(ask('SET', 'greeting', 'hello'), 'OK')
  t.equal(ask('GET', 'greeting'), 'hello')
  const script = `for i = 1, 20000 do redis.call('RPUSH', 'list', string.rep('x', 50)) end return 'done'`
  t.equal(ask('EVAL', script, '0'), 'done')
  t.equal(ask('LRANGE', 'list', '0', '-1').split('\n').length, 20_000, 'a megabyte in one answer')
})

t.test('ten thousand strangers come and go, and the registry is what it was', async (t) => {
  const { cli, start, bootstrap, registry, registryPublicKey } = await registryOf(t)
  await start.service('a@1.0.0')
  const network = Network.acquire({ bootstrap })
  await network.ready()
  t.teardown(() => network.release())
  const member = Consumer([], { registryPublicKey, bootstrap, dir: cli.path('member') })
  t.teardown(() => member.destroy())
  await member.setup()
  const registrarKey = Buffer.from(member.getStats().logs[0]?.registrarKey ?? '', 'hex')

  await knock(network, registrarKey, 5000)
  const before = rss(registry.pid)
  await knock(network, registrarKey, 10_000)
  t.match(await list(cli), [{ role: 'a', live: true }], 'nobody else was disturbed')
  const grown = () => rss(registry.pid) - before
  // What it remembers of finished handshakes goes after a while.
  for (let left = 15; grown() > MAX_GROWTH_MIB && left > 0; left--) await setTimeout(1000)
  t.ok(grown() < MAX_GROWTH_MIB, `${grown().toFixed(0)} MiB more than after the first 5 000`)
  const said = registry.lines.stderr.filter((line) => line.startsWith('NOT_A_MEMBER'))
  t.ok(said.length <= 20, `reported ${said.length} times`)
})

/** Connects and says something wrong, under a new key each time, and waits to be shown out. */
async function knock(network: Network, registrarKey: Buffer, times: number) {
  let left = times
  const knocker = async () => {
    while (left-- > 0) {
      const connection = network.dht.connect(registrarKey, { keyPair: KeyPair() })
      connection.on('error', () => {})
      connection.write(crypto.randomBytes(33))
      connection.once('data', () => connection.destroy())
      await new Promise((resolve) => connection.on('close', resolve))
    }
  }
  await Promise.all(Array.from({ length: 16 }, knocker))
}

/** Resident memory of a process, in MiB. */
function rss(pid: number): number {
  const [, kilobytes] =
    /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) / 1024
}

function has(program: string): boolean {
  return spawnSync('which', [program]).status === 0
}

async function scrape(metrics: string): Promise<string> {
  return (await fetch(metrics)).text()
}
