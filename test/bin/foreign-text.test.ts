import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { isPrintable } from '../../lib/core/printable.js'
import { Admin } from '../../lib/index.js'
import { signStatement } from '../../lib/registry/trust/statement.js'
import { islandOf } from './island.js'

t.test('grants and exports show nothing raw of what was signed', async (t) => {
  const { cli, bootstrap, registrySeed } = await islandOf(t)
  const admin = Admin({ seed: registrySeed, bootstrap, dir: cli.path('admin') })
  t.teardown(() => admin.destroy())
  await admin.setup()
  const owner = KeyPair(Buffer.from(registrySeed, 'hex'))
  const subject = toHex(KeyPair().publicKey)
  const registry = toHex(owner.publicKey)
  const grant = signStatement(
    {
      type: 'hyperseaport/grant/1',
      ...{ registry, subject, issuer: registry, issuedAt: Date.now(), expiresAt: 0 },
      ...{ serve: ['api@1.x\n\u2028||\ufeff2.x'], consume: [], admin: false },
      // A field of a later version may hold anything.
      note: '\u009b31mred\u202e'
    } as const,
    owner.secretKey
  )
  t.equal(await admin.import([JSON.stringify(grant)]), 1)
  for (const args of [['grants'], ['grants', '--json'], ['export']]) {
    const { code, stdout } = await cli.ask(args)
    t.equal(code, 0)
    t.match(stdout, subject, args.join(' '))
    t.ok(isPrintable(stdout.replaceAll('\n', '')), args.join(' '))
    if (args.join() === 'grants') {
      const [line = ''] = stdout.split('\n').filter((line) => line.includes(subject))
      t.match(line, 'api@1.x', 'and it is on one line')
      t.match(line, /2\.x/)
    }
    if (args[0] === 'export') {
      const lines = stdout.split('\n').filter((line) => line.includes(subject))
      t.same(
        lines.map((line) => JSON.parse(line)),
        [grant],
        'and is the same when it is read'
      )
    }
  }
})
