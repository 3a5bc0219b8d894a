import { once } from 'node:events'
import t from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { Network } from '../../lib/core/network.js'
import { Storage } from '../../lib/registry/log/storage.js'
import { Lease } from '../../lib/registry/replica/lease.js'
import { Replica } from '../../lib/registry/replica/replica.js'
import { islandOf, list, registryOf } from '../bin/island.js'
import { Watchdog } from '../watchdog.js'

t.test(
  'a registry that comes back on its folder keeps its records, and is leased from again',
  async (t) => {
    const { cli, start, registry } = await registryOf(t)
    await start.instance('a@1.0.0')
    const changes = await start.reader()
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await (signal === 'SIGTERM' ? registry : start.registry).kill(signal)
      const heir = await start.aRegistry()
      await heir.waitForTalk('registered a@1.0.0')
      // Others may answer a list before it has met the registrar.
      let listed = await list(cli)
      while (!listed[0]?.live) listed = await list(cli)
      t.match(listed, [{ role: 'a', version: '1.0.0' }])
    }
    t.notOk(changes.includes('down'), 'nobody lost sight of it')
  }
)

t.test(
  'a registry that comes back on an empty folder has its services back within five seconds',
  async (t) => {
    const { cli, start, registry } = await registryOf(t)
    await start.instance('a@1.0.0')
    const changes = await start.reader()
    await registry.kill('SIGKILL')
    const second = await start.aRegistry('--registryDir', cli.path('empty'))
    await second.waitForTalk('registered a@1.0.0', 5000)
    t.match(await list(cli), [{ role: 'a', live: true }])
    t.notOk(changes.includes('down'), 'no reader’s session broke')
  }
)

t.test('list shows services as stale whose leases vanished all at once', async (t) => {
  const { cli, start, bootstrap, registryPublicKey } = await registryOf(t, '--staleGrace', '5s')
  await start.instance('b@1.0.0')
  const network = new Network({ bootstrap })
  const storage = new Storage({ dir: cli.path('owner') })
  const owner = new Replica({ network, storage, registry: Buffer.from(registryPublicKey, 'hex') })
  await network.ready()
  await storage.ready()
  await owner.ready()
  const fields = { role: 'a', version: '1.0.0', tags: [], direct: [], status: 'passing' as const }
  for (let i = 0; i < 12; i++) {
    const lease = new Lease({ replica: owner, keyPair: KeyPair(), fields })
    await Promise.all([once(lease, 'registered'), lease.ready()])
  }
  await owner.close()
  await storage.close()
  await network.release()
  await start.registry.waitForTalk('stale a@1.0.0')
  const { stdout } = await cli.ask(['list'])
  t.match(stdout, /^a +1\.0\.0 +stale /m)
  t.match(stdout, /^b +1\.0\.0 +passing /m)
  await start.registry.waitForTalk('gone a@1.0.0')
})

t.test(
  'a service that is killed is gone within five seconds, and listed once when it is back',
  async (t) => {
    const { start, registry } = await islandOf(t)
    const seed = '07'.repeat(32)
    const service = await start.service('a@1.0.0', '--seed', seed)
    const watchdog = new Watchdog(5000)
    const gone = once(registry, 'gone', { signal: watchdog.signal })
    await service.kill('SIGKILL')
    await gone
    watchdog.stop()
    t.strictSame(registry.list(), [])

    const second = await start.service('a@1.0.1', '--seed', seed)
    t.match(registry.list(), [{ version: '1.0.1' }])
    await second.kill('SIGKILL')
    await start.service('a@1.0.2', '--seed', seed)
    t.match(registry.list(), [{ version: '1.0.2' }], 'back before anybody missed it')
  }
)
