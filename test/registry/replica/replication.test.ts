import t from 'tap'
import { toHex } from '../../../lib/core/keys.js'
import { type Hypercore, replicatingPeers } from '../../../lib/registry/log/hypercore.js'
import type { Replica } from '../../../lib/registry/replica/replica.js'
import { shows, Testbed } from '../../testbed.js'

const REPLICAS = 5

/** Replicas that all know each other, and the copy that each has of the only log. */
async function crowd(testbed: Testbed, logKey: string) {
  return Promise.all(
    Array.from({ length: REPLICAS }, async () => {
      const storage = await testbed.storage()
      const replica = await testbed.replica({ storage })
      await replica.synced()
      return { replica, copy: storage.store.get({ key: Buffer.from(logKey, 'hex') }) }
    })
  )
}

/** Resolves once a log is copied from those that the condition wants, by key. */
function copiedFrom(core: Hypercore, condition: (keys: string[]) => boolean): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (!condition(replicatingPeers(core).map(({ key }) => toHex(key)))) return
      core.off('peer-add', check)
      core.off('peer-remove', check)
      resolve()
    }
    core.on('peer-add', check)
    core.on('peer-remove', check)
    check()
  })
}

/** Resolves once all copies together come from so many, or fewer. */
function haveGivers(cores: Hypercore[], most: number): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (cores.reduce((sum, core) => sum + replicatingPeers(core).length, 0) > most) return
      for (const core of cores) core.off('peer-remove', check)
      resolve()
    }
    for (const core of cores) core.on('peer-remove', check)
    check()
  })
}

/** Resolves once a replica is connected with all the others. */
function knowsAll({ peering }: Replica): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (peering.peers.size < REPLICAS) return
      peering.off('peer', check)
      resolve()
    }
    peering.on('peer', check)
    check()
  })
}

t.test(
  'a log comes from its registrar alone while that one is there, and else from others',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dir = await testbed.dir()
    const registrar = await testbed.registrar({ dir })
    const [log] = registrar.replica.logs()
    const { logKey, registrarKey } = log ?? { logKey: '', registrarKey: '' }
    const replicas = await crowd(testbed, logKey)
    const fromRegistrar = (keys: string[]) => keys.join() === registrarKey
    const fromOthers = (keys: string[]) => keys.length > 0 && !keys.includes(registrarKey)
    await Promise.all(replicas.map(({ replica }) => knowsAll(replica)))
    await Promise.all(replicas.map(({ copy }) => copiedFrom(copy, fromRegistrar)))
    t.pass('all know each other, and copy from the registrar')

    await testbed.close(registrar)
    await Promise.all(replicas.map(({ copy }) => copiedFrom(copy, fromOthers)))
    t.pass('without it, they copy from each other')

    await testbed.registrar({ dir })
    await Promise.all(
      replicas.map(({ copy }) => copiedFrom(copy, (keys) => keys.includes(registrarKey)))
    )
    const [first] = replicas
    await testbed.lease((first as { replica: Replica }).replica)
    await Promise.all(
      replicas.map(({ replica }) => shows(replica.directory, ({ length }) => length === 1))
    )
    await haveGivers(
      replicas.map(({ copy }) => copy),
      2 * REPLICAS
    )
    t.pass('when it is back, from it, and hardly from anybody else')
  }
)

t.test('what a replica has that others lack reaches them without a registrar', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const dir = await testbed.dir()
  const early = await testbed.replica({ dir })
  await early.synced()
  await testbed.close(early)
  const keeper = await testbed.replica()
  await testbed.lease(keeper)
  await shows(keeper.directory, ({ length }) => length === 1)
  await testbed.close(registrar)
  const behind = await testbed.replica({ dir })
  await shows(behind.directory, ({ length }) => length === 1)
  const newcomer = await testbed.replica()
  t.match(await shows(newcomer.directory, ({ length }) => length === 1), [{ live: false }])
})
