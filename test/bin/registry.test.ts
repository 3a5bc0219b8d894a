import t from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { islandOf, list, registryOf } from './island.js'

t.test('a service that is told to stop is gone from every list within a second', async (t) => {
  const { cli, start } = await islandOf(t)
  const service = await start.service('a@1.0.0')
  const watch = await start.watch()
  const gone = watch.waitForLine('{"change":"down"', 1000)
  const [outcome] = await Promise.all([service.kill('SIGTERM'), gone])
  t.match(outcome, { code: 0 })
  t.strictSame(await list(cli), [])
})

t.test('two services under one key: the second is told so, and the first goes on', async (t) => {
  const { cli, start, registry } = await islandOf(t)
  const seed = '08'.repeat(32)
  await start.instance('a@1.0.0', { keyPair: KeyPair(Buffer.from(seed, 'hex')) })
  const second = cli.start(['service', '-p', `${start.port}`, '-r', 'a@1.0.1', '--seed', seed])
  t.match(await second.outcome, { code: 1, stderr: /^KEY_IN_USE: .*\n$/m })
  t.match(registry.list(), [{ version: '1.0.0' }])
})

t.test('a registry takes no more of others than its flags say, which they are told', async (t) => {
  const { cli, start } = await registryOf(t, '--maxReplicas', '1', '--maxConnections', '2')
  await start.instance('a@1.0.0')
  const second = await start.service('b@1.0.0')
  await second.waitForTalk('LIMIT_REACHED: ')
  const third = cli.start(['service', '-p', `${start.port}`, '-r', 'c@1.0.0', '--dir', 'third'])
  t.match(await third.waitForTalk('LIMIT_REACHED: '), /connections come from this address/)
  t.match(await cli.ask(['registry', '--maxRate', 'none']), {
    code: 2,
    stderr: /^USAGE: --maxRate/
  })
})

t.test('a private registry that is started again without a word stays shut', async (t) => {
  const { cli, start, registry } = await registryOf(t, '--private')
  await registry.kill()
  // Other tests have it say false.
  cli.setEnv('HYPERSEAPORT_PRIVATE', '')
  const again = cli.start(['registry'])
  const started = again.waitForLine('registryPublicKey=').catch(() => null)
  t.match(await Promise.race([again.outcome, started]), {
    code: 1,
    stdout: '',
    stderr: /^PRIVATE_REGISTRY: .*--private=false/m
  })
  if (!again.hasEnded) return
  for (const flags of [['--private'], ['--private=false'], []]) {
    await start.aRegistry(...flags)
    await start.registry.kill()
  }
})

t.test('list --verbose says which registrars are alive, and how fresh its copy is', async (t) => {
  const { cli, start } = await registryOf(t)
  const second = await start.aRegistry('--registryDir', cli.path('second'))
  await start.instance('a@1.0.0')

  const both = await cli.ask(['list', '--verbose', '--json'])
  t.match(JSON.parse(both.stdout), [{ role: 'a' }], 'what is data stays data')
  const fresh = /^registrar [0-9a-f]{8}… is alive; its log has [1-9]\d* blocks, all of it here$/gm
  t.equal(both.stderr.match(fresh)?.length, 2, both.stderr)

  await second.kill('SIGKILL')
  const one = await cli.run(['list', '--verbose'])
  t.equal(one.stderr.match(fresh)?.length, 1, one.stderr)
  t.match(one.stderr, /^registrar [0-9a-f]{8}… is away, not heard of; /m)
  t.notMatch((await cli.ask(['list'])).stderr, 'registrar')
})

t.test('list says why it shows its copy only, where the DHT does not answer', async (t) => {
  const { cli, start } = await registryOf(t)
  await start.instance('a@1.0.0')
  const online = await cli.run(['list'])
  t.match(online, { code: 0, stdout: /^ROLE/, stderr: '' })
  const away = { env: { HYPERSEAPORT_BOOTSTRAP: '127.0.0.1:1' } }
  for (const format of [[], ['--json'], ['--verbose']]) {
    const { code, stdout, stderr } = await cli.run(['list', ...format], away)
    t.match({ code, stdout }, { code: 0, stdout: /a\b.*1\.0\.0/s }, format.join())
    t.equal(stderr.match(/^DHT_UNREACHABLE: /gm)?.length, 1, stderr)
    t.match(stderr, /this is the copy on this disk/)
  }
})
