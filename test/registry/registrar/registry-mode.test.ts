import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import { MEMORY_FILE } from '../../../lib/registry/log/memory.js'
import { Registrar } from '../../../lib/registry/registrar/registrar.js'
import { RegistryMode } from '../../../lib/registry/registrar/registry-mode.js'
import { signMode } from '../../../lib/registry/trust/mode.js'
import { Testbed } from '../../testbed.js'

const keyPair = KeyPair()

t.test(
  'what a registrar says of the registry follows from its user, its folder and others',
  (t) => {
    const mode = (count: number, isPrivate: boolean) =>
      signMode(keyPair, { count, private: isPrivate })
    const unsure = new RegistryMode({ keyPair })
    unsure.recall(null)
    t.equal(unsure.current, null)
    unsure.settle()
    t.match(unsure.current, { count: 1, private: false })
    t.ok(unsure.hear(mode(1, true)), 'a mistake opens nothing')
    t.notOk(unsure.hear(mode(1, false)))
    t.ok(unsure.hear(mode(2, false)))

    t.throws(() => new RegistryMode({ keyPair }).recall(mode(3, true)), {
      code: 'PRIVATE_REGISTRY'
    })
    const opened = new RegistryMode({ keyPair, told: false })
    opened.recall(mode(3, true))
    t.match(opened.current, { count: 4, private: false })
    opened.hear(mode(5, true))
    t.match(
      opened.current,
      { count: 6, private: false },
      'what others remember does not outvote it'
    )

    const late = new RegistryMode({ keyPair, told: false, insistence: 0 })
    late.recall(mode(1, false))
    late.hear(mode(2, true))
    t.match(late.current, { count: 2, private: true }, 'a later word of the registry counts')
    t.end()
  }
)

t.test('a private registry is not opened by a start that does not say so', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  await testbed.close(await testbed.registrar({ dir, private: true }))
  const storage = await testbed.storage(dir)
  const untold = new Registrar({
    network: await testbed.network(),
    keyPair: testbed.keyPair,
    storage
  })
  await t.rejects(untold.ready(), { code: 'PRIVATE_REGISTRY', message: /--private=false/ })
  await untold.close()
  await storage.close()
  const opened = await testbed.registrar({ dir, private: false })
  t.equal(opened.replica.membership.grants.isPrivate, false)
  const guest = await testbed.replica()
  await guest.synced()
  t.pass('all who know its key get in')
})

t.test('what its user said of a registry is in the folder before anything else', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const storage = await testbed.storage(dir)
  const network = await testbed.network()
  const { keyPair } = testbed
  const registrar = new Registrar({ network, keyPair, storage, private: true })
  await registrar.recallMode()
  const { mode } = JSON.parse(await readFile(join(dir, MEMORY_FILE), 'utf8'))
  t.match(mode, { private: true })
  await registrar.close()
})

t.test('a registrar on an empty folder admits nobody before it is told the mode', async (t) => {
  const testbed = await Testbed.make(t)
  const first = await testbed.registrar({ private: true })
  const [dir, later] = [await testbed.dir(), { modeWait: 60_000 }]
  const lone = await testbed.registrar({ ...later, dir })
  const { grants } = lone.replica.membership
  if (grants.isPrivate === null) await once(lone.replica, 'mode')
  t.equal(grants.isPrivate, true)
  await testbed.close(first)
  await testbed.close(lone)
  t.equal((await testbed.storage(dir)).memory.mode !== null, true, 'and its folder knows')
})

t.test('as long as nothing is known, a guest is given nothing', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ modeWait: 60_000 })
  const guest = await testbed.replica()
  if (guest.peering.peers.size === 0) await once(guest, 'peer')
  t.equal(guest.logs().length, 0)
  t.equal(guest.registrars.length, 0)
  const dir = await testbed.dir()
  // Somebody comes who knows.
  await testbed.registrar({ private: true, dir })
  if (registrar.replica.membership.grants.isPrivate === null) await once(registrar.replica, 'mode')
  t.equal(registrar.replica.membership.grants.isPrivate, true)
  t.equal(guest.directory.size, 0)
})

t.test('where nobody is found who knows, a registry is open after a while', async (t) => {
  const testbed = await Testbed.make(t)
  await testbed.registrar({ modeWait: 300 })
  const guest = await testbed.replica()
  await guest.synced()
  t.match(guest.logs(), [{ live: true }])
})
