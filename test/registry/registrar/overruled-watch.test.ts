import { once } from 'node:events'
import t from 'tap'
import type { Registrar } from '../../../lib/registry/registrar/registrar.js'
import { APP, type AppStatement, signApp } from '../../../lib/registry/trust/app-statement.js'
import { OVERRULED } from '../../../lib/registry/trust/overruled.js'
import { Testbed } from '../../testbed.js'

t.test('of two changes on two sides of a partition the one that lost is remembered', async (t) => {
  const testbed = await Testbed.make(t)
  const { keyPair } = testbed
  const change = (before: AppStatement | null, release: string) => {
    const place = { labels: [], memory: 0, driver: 'process' }
    const wanted = { version: '1.0.0', instances: 1, hostnames: [], place, restarts: 0 }
    const fields = {
      app: 'shop',
      state: 'running',
      release: release.repeat(32),
      ...wanted
    } as const
    return signApp(keyPair.publicKey, keyPair, fields, before)
  }
  const dirs = [await testbed.dir(), await testbed.dir()]
  const put = async (said: AppStatement, { replica }: Registrar) => {
    const reader = await testbed.replica()
    if (reader.registrars.length === 0) await once(reader, 'registrar')
    await reader.put(said)
    t.same(replica.statements.get(APP, 'shop'), said)
    await testbed.close(reader)
  }
  const first = change(null, '01')
  const [one, two] = [change(first, '02'), change(first, '03')]
  let registrar = await testbed.registrar({ dir: dirs[0] as string })
  await put(first, registrar)
  const both = await testbed.registrar({ dir: dirs[1] as string })
  await both.replica.synced()
  await shown(both, first)
  await Promise.all([testbed.close(registrar), testbed.close(both)])
  // Each side for itself.
  for (const [i, said] of [one, two].entries()) {
    registrar = await testbed.registrar({ dir: dirs[i] as string })
    await put(said, registrar)
    await testbed.close(registrar)
  }
  const sides = await Promise.all(dirs.map((dir) => testbed.registrar({ dir })))
  const lost = await Promise.all(sides.map(remembered))
  const [counts] = sides.map(({ replica }) => replica.statements.get(APP, 'shop'))
  const loser = counts?.signature === one.signature ? two : one
  t.same(lost[0], lost[1], 'both say the same')
  t.match(lost[0], {
    changes: [{ seq: 2, release: loser.release, by: { issuedAt: counts?.issuedAt, seq: 2 } }]
  })
  t.equal(lost[0]?.changes.length, 1)
  // When both have written the next one, they have written all that came before.
  const deployer = await testbed.replica()
  while (deployer.registrars.length < 2) await once(deployer, 'registrar')
  await deployer.put(change(counts ?? null, '04'))
  t.same(await remembered({ replica: deployer }), lost[0], 'a later change is none that lost')
  await Promise.all([...sides, deployer].map((one) => testbed.close(one)))
  await testbed.registrar({ dir: dirs[1] as string })
  const reader = await testbed.replica()
  t.same(await remembered({ replica: reader }), lost[0], 'after a restart, and to a newcomer')
})

type Reader = Pick<Registrar, 'replica'>

/** Resolves when a statement is known. */
function shown({ replica: { statements } }: Reader, said: AppStatement): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (statements.get(APP, said.app)?.signature === said.signature) resolve()
    }
    statements.watchAll(check)
    check()
  })
}

/** Resolves with what is said of overruled changes. */
function remembered({ replica: { statements } }: Reader) {
  const said = () => statements.get(OVERRULED, 'shop')
  return new Promise<ReturnType<typeof said>>((resolve) => {
    statements.watch(OVERRULED, () => resolve(said()))
    if (said()) resolve(said())
  })
}
