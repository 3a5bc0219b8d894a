import t from 'tap'
import { Registry } from '../../lib/index.js'
import { islandOf } from './island.js'

interface Listed {
  registrarKey: string
  since: number
  renewedAt: number
  live: boolean
  isForgotten: boolean
}

t.test('registrars are listed, and one that is gone for good is struck off', async (t) => {
  const { cli, bootstrap, registrySeed: seed } = await islandOf(t)
  const list = async (): Promise<Listed[]> =>
    JSON.parse((await cli.ask(['registrars', '--json'])).stdout)
  const [first] = await list()
  t.match(first, { registrarKey: /^[0-9a-f]{64}$/, since: Number, renewedAt: Number, live: true })
  const other = Registry({ seed, bootstrap, dir: cli.path('other'), private: false })
  t.teardown(() => other.destroy())
  await other.setup()
  let both = await list()
  // One that is slow to answer is not reached yet.
  while (!both.every(({ live }) => live) || both.length < 2) both = await list()
  t.match(both, [{ live: true }, { registrarKey: first?.registrarKey, live: true }], 'newest first')
  const key = both[0]?.registrarKey ?? ''
  t.match(
    (await cli.run(['registrars'])).stdout,
    new RegExp(`^${key} +20.*Z +20.*Z +running$`, 'm')
  )

  const forget = (which: string, ...flags: string[]) =>
    cli.ask(['registrars', '--forget', which, ...flags])
  t.match(await forget(key), { code: 1, stderr: /^CONFLICT: .* is running; stop it for good/m })
  t.match(await forget('xyz'), { code: 1, stderr: /^NOT_FOUND: no registrar has the key xyz/m })
  await other.destroy()
  t.match(await list(), [{ registrarKey: key, live: false, isForgotten: false }, { live: true }])
  const notReached = new RegExp(
    `^.*the registrar ${key} is not reached: .* --forget ${key.slice(0, 8)}$`,
    'm'
  )
  for (const verb of ['export', 'grants']) {
    t.match(await cli.run([verb]), { code: 0, stderr: notReached }, verb)
  }
  t.match(await forget(key.slice(0, 8)), { code: 0, stdout: `forgot the registrar ${key}\n` })
  t.match(await list(), [{ registrarKey: key, isForgotten: true }, { isForgotten: false }])
  t.match((await cli.run(['registrars'])).stdout, new RegExp(`^${key} .* forgotten$`, 'm'))
  t.notMatch((await cli.run(['export'])).stderr, notReached, 'which is waited for no longer')
  const { registrar } = JSON.parse((await forget(key, '--json')).stdout)
  t.equal(registrar, key, 'and once more')
})
