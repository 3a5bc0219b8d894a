import t from 'tap'
import { islandOf } from './island.js'

t.test('a grant for a range outlasts an upgrade of the service', async (t) => {
  const { cli, start } = await islandOf(t, { private: true })
  const service = (version: string, ...flags: string[]) =>
    cli.start(['service', '-p', `${start.port}`, '-r', `late@${version}`, ...flags])
  const { stdout } = await cli.ask(['key', '-r', 'late@1.0.0', '-p', `${start.port}`, '--json'])
  const { servicePublicKey } = JSON.parse(stdout)
  t.match(await cli.ask(['grant', servicePublicKey, '--serve', 'late@^1']), { code: 0 })

  const first = service('1.0.0')
  t.equal(await first.waitForLine('started p2p service on '), servicePublicKey)
  await first.waitForLine('registered service')
  await first.kill('SIGTERM')
  const second = service('1.0.1')
  t.equal(await second.waitForLine('started p2p service on '), servicePublicKey)
  await second.waitForLine('registered service')
})

t.test('--name chooses a key, which key shows and one process at a time has', async (t) => {
  const { cli, start } = await islandOf(t)
  const flags = ['-p', `${start.port}`, '-r', 'hello@1.0.0']
  const blue = [...flags, '--name', 'blue']
  const keyOf = async (...flags: string[]) => {
    const { stdout, stderr } = await cli.ask(['key', ...flags, '--json'])
    return { key: JSON.parse(stdout).servicePublicKey, stderr }
  }
  const { key } = await keyOf(...blue)
  t.not((await keyOf(...flags)).key, key)
  const service = cli.start(['service', ...blue])
  t.equal(await service.waitForLine('started p2p service on '), key)
  t.same(await keyOf(...blue), { key, stderr: '' }, 'while it runs, too')
  const twin = await cli.run(['service', ...blue])
  t.match(twin, { code: 1, stderr: /^KEY_IN_USE: .*--name/ })

  const plain = cli.start(['service', ...flags])
  const plainKey = await plain.waitForLine('started p2p service on ')
  const next = await keyOf(...flags)
  t.not(next.key, plainKey)
  t.equal(next.stderr, `a running service has ${plainKey}\n`)

  const refused = await cli.ask(['service', ...blue, '--seed', '11'.repeat(32)])
  t.match(refused, { code: 2, stderr: /^USAGE: / })
})
