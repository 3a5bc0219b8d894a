import t from 'tap'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { Admin } from '../../lib/index.js'
import { Cli, type Running } from '../bin/cli.js'
import { get, islandOf, registryOf } from '../bin/island.js'

t.test(
  'whoever is denied is told the line that lets it in, and gets in without a restart',
  async (t) => {
    const { cli, start, registryPublicKey } = await islandOf(t, { private: true })
    const [, processKey] = /^processPublicKey=(.*)$/m.exec((await cli.ask(['key'])).stdout) ?? []

    const service = cli.start(['service', '-p', `${start.port}`, '-r', 'hello@1.0.0'])
    const serviceKey = await service.waitForLine('started p2p service on ')
    const serviceGrant = await advice(service)
    t.same(
      serviceGrant,
      ['grant', serviceKey, '--serve', 'hello@^1.0.0'],
      'a range, which outlasts an upgrade'
    )
    t.match(await cli.ask(serviceGrant), {
      code: 0,
      stdout: `granted ${serviceKey} to list, serve`
    })
    await service.waitForLine('registered service')

    const proxy = cli.start(['proxy', '-p', '0', '-r', 'hello@^1.0.0'])
    const proxyGrant = await advice(proxy)
    t.same(proxyGrant, ['grant', processKey, '--consume', 'hello@^1.0.0'])
    await cli.ask(proxyGrant)
    const proxyPort = Number.parseInt(await proxy.waitForLine('proxy from  '), 10)
    t.equal(await get(proxyPort), 'hello')

    t.match(
      (await cli.ask(['list'])).stdout,
      serviceKey,
      'the key of a user is the same for all verbs'
    )
    t.match(await cli.ask(['revoke', `${processKey}`]), {
      code: 0,
      stdout: `revoked ${processKey}\n`
    })
    t.match(await cli.ask(['revoke', 'ab'.repeat(32)]), {
      code: 1,
      stdout: '',
      stderr: /^NOT_FOUND: (ab){32} was granted nothing in this registry, .* 'hyperseaport grants'/m
    })
    // The revocation takes a moment to reach the service.
    while (await get(proxyPort).catch(() => null));
    const rest = ['--registryPublicKey', registryPublicKey, '--config', cli.write('none', '')]
    const refused = await cli.ask(['list', ...rest])
    t.match(refused, { code: 1, stdout: '' })
    t.notMatch(refused.stderr, 'still searching', 'it was found')
    t.match(refused.stderr, /^NOT_GRANTED: /m)
  }
)

t.test('the owner of a private registry reads it without a grant', async (t) => {
  const { cli, start, registrySeed, registryPublicKey } = await islandOf(t, { private: true })
  const keyPair = KeyPair()
  await cli.ask(['grant', toHex(keyPair.publicKey), '--serve', 'hello'])
  await start.instance('hello@1.0.0', { keyPair })
  t.match(await cli.ask(['list']), { code: 0, stdout: /^hello +1\.0\.0 +passing/m })
  const key = ['--registryPublicKey', registryPublicKey]
  t.match(await cli.ask(['list', ...key]), { code: 0, stdout: /passing/ }, 'the same registry')
  t.match(await cli.ask(['list', '--verbose']), { code: 0, stdout: /passing.* (dht|direct) / })
  await cli.start(['watch', 'hello']).waitForLine('up     hello@1.0.0 passing')

  const other = ['--registrySeed', toHex(randomSeed())]
  t.match(await cli.ask(['list', ...other, ...key]), { code: 1, stderr: /^NOT_GRANTED: /m })
  const seed = ['--registrySeed', registrySeed, '--config', cli.write('none', '')]
  t.match(await cli.ask(['list', ...seed]), { code: 0, stdout: /passing/ }, 'by the seed alone')
})

t.test('grants end, are listed, and are for admins to make', async (t) => {
  const { cli, registryPublicKey } = await islandOf(t, { private: true })
  const [guest, deputy] = [KeyPair(), KeyPair()].map(({ publicKey }) => toHex(publicKey))
  const rest = ['--registryPublicKey', registryPublicKey, '--config', cli.write('none', '')]

  const refused = await cli.ask(['grant', `${guest}`, '--dir', 'deputy', ...rest])
  t.match(refused, { code: 1, stdout: '' })
  t.match(refused.stderr, /^NOT_GRANTED: .* hyperseaport grant [0-9a-f]{64}$/m)
  const [, key = ''] = /hyperseaport grant ([0-9a-f]{64})$/m.exec(refused.stderr) ?? []
  await cli.ask(['grant', key, '--admin'])
  const flags = ['--serve', 'a@^1', '--serve', '@team/*', '--consume', '*', '--expires', '30d']
  t.match(await cli.ask(['grant', `${guest}`, ...flags, '--dir', 'deputy', ...rest]), { code: 0 })
  const promoted = await cli.ask(['grant', `${deputy}`, '--admin', '--dir', 'deputy', ...rest])
  t.match(promoted, { code: 1 }, 'admins are made by the registry only')
  t.match(promoted.stderr, /^NOT_GRANTED: /m)

  const { stdout } = await cli.ask(['grants', '--json'])
  const { grants } = JSON.parse(stdout) as { grants: { subject: string; expiresAt: number }[] }
  const granted = grants.find(({ subject }) => subject === guest)
  t.match(granted, { serve: ['a@^1', '@team/*'], consume: ['*'], admin: false, issuer: key })
  const days = ((granted?.expiresAt ?? 0) - Date.now()) / 86_400_000
  t.ok(days > 29.9 && days <= 30)
  const shown = await cli.ask(['grants'])
  t.match(
    shown.stdout,
    new RegExp(`^${guest} +a@\\^1 @team/\\* +\\* +- +- +\\d{4}-.* +${key}$`, 'm')
  )
  t.match(shown.stdout, new RegExp(`^${key} +- +- +- +yes +never +registry$`, 'm'))
})

t.test(
  'who may run apps and who may deploy them is granted, in an open registry, too',
  async (t) => {
    const { cli } = await islandOf(t)
    const key = toHex(KeyPair().publicKey)
    const grant = (...flags: string[]) => cli.ask(['grant', key, ...flags])
    t.match(await grant('--host'), { code: 0, stdout: `granted ${key} to list, host apps\n` })
    t.match(await grant('--deploy', 'shop,@team/*', '--on', 'region=eu', '--host', '127.0.0.1'), {
      code: 0,
      stdout: `granted ${key} to list, host apps, deploy shop on region=eu, deploy @team/* on region=eu\n`
    })
    t.match(await grant('--deploy', 'shop@1.x'), { code: 2, stderr: /^BAD_ROLE: .*every version/m })
    t.match(await grant('--deploy', 'shop', '--on', 'eu'), { code: 2, stderr: /region=eu/ })
    t.match(await grant('--on', 'region=eu'), { code: 2, stderr: /--deploy/ })
    const { grants } = JSON.parse((await cli.ask(['grants', '--json'])).stdout)
    const on = ['region=eu']
    t.match(grants, [
      {
        subject: key,
        host: true,
        deploy: [
          { apps: 'shop', on },
          { apps: '@team/*', on }
        ]
      }
    ])
  }
)

t.test('a grant adds to the one before, unless it is to replace it', async (t) => {
  const { cli } = await islandOf(t, { private: true })
  const key = toHex(KeyPair().publicKey)
  const grant = async (...flags: string[]) => {
    const { stdout } = await cli.ask(['grant', key, '--json', ...flags])
    const { serve, consume, call } = JSON.parse(stdout)
    return { serve, consume, call }
  }
  t.same(await grant('--serve', 'a@1.x'), { serve: ['a@1.x'], consume: [], call: undefined })
  const call = ['agent@1.x#fetch', 'agent#$events']
  t.same(await grant('--call', `${call[0]}`, '--call', `${call[1]}`), {
    serve: ['a@1.x'],
    consume: [],
    call
  })
  t.match(
    (await cli.ask(['grants'])).stdout,
    new RegExp(`a@1\\.x +- +${call[0]} ${call[1]?.replace('$', '\\$')} +-`)
  )
  t.same(await grant('--replace', '--consume', 'b'), {
    serve: [],
    consume: ['b'],
    call: undefined
  })
  t.match(await cli.ask(['grant', key, '--call', 'agent']), { code: 2, stderr: /^BAD_ROLE/ })
})

t.test('an export brings the grants back to a registry that lost its disk', async (t) => {
  const { cli, registry, registrySeed: seed, bootstrap } = await registryOf(t, '--private')
  const open = async (dir: string) => {
    const admin = Admin({ seed, bootstrap, dir: cli.path(dir) })
    t.teardown(() => admin.destroy())
    return admin.setup()
  }
  const before = await open('before')
  await before.grant(KeyPair().publicKey, { consume: ['a@^1'] })
  await before.revoke(KeyPair().publicKey)
  const { stdout } = await cli.ask(['export'])
  t.strictSame(stdout.trim().split('\n'), before.export())
  t.equal(before.export().length, 2)
  await registry.kill()

  const heir = cli.start(['registry', '--private', '--dir', 'new'])
  await heir.waitForLine('registryPublicKey=')
  const file = cli.write('backup.jsonl', stdout)
  t.match(await cli.ask(['import', file]), { code: 0, stderr: '2 grants and revocations taken' })
  const after = await open('after')
  t.strictSame(after.export(), before.export(), 'as they were signed')
  t.match(await cli.ask(['import', 'nowhere']), { code: 2, stderr: /^USAGE: nowhere cannot/ })
})

t.test('key makes a key once, for a user or a folder, and that of a service too', async (t) => {
  const cli = new Cli(t)
  cli.setEnv('HYPERSEAPORT_REGISTRY_PUBLIC_KEY', toHex(KeyPair().publicKey))
  const keys = async (...flags: string[]) =>
    JSON.parse((await cli.ask(['key', '--json', ...flags])).stdout)
  const first = await keys()
  t.match(first.processPublicKey, /^[0-9a-f]{64}$/)
  const service = await keys('-r', 'a@1.0.0', '-p', '80')
  t.equal(service.processPublicKey, first.processPublicKey)
  t.match(service.servicePublicKey, /^[0-9a-f]{64}$/)
  t.not(service.servicePublicKey, service.processPublicKey)
  t.not((await keys('--dir', 'other')).processPublicKey, first.processPublicKey)
})

t.test('the gateway of a private registry needs no grant of its own', async (t) => {
  const { cli, registry, start } = await registryOf(t, '--private', '--web', '0')
  const web = await registry.waitForLine('web server listening on port ')
  const service = cli.start(['service', '-p', `${start.port}`, '-r', 'hello@1.0.0'])
  await cli.ask(await advice(service))
  await service.waitForLine('registered service')
  const ask = () => fetch(`http://127.0.0.1:${web}/role/hello@1.x/`)
  let response = await ask()
  // The news takes a few ms to the gateway.
  while (response.status === 404) response = await ask()
  t.match([response.status, await response.text()], [200, 'hello'])
})

/** The command line that a denied process asks for, as a shell would read it. */
async function advice(running: Running): Promise<string[]> {
  const denial = await running.waitForTalk('NOT_GRANTED: ')
  const [, line = ''] = /: hyperseaport (.*)$/.exec(denial) ?? []
  return line.split(' ').map((word) => word.replaceAll("'", ''))
}
