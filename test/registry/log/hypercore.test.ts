import t from 'tap'
import type { Protomux } from '../../../lib/core/holepunch.js'
import {
  Corestore,
  Hyperbee,
  linkedBlocks,
  merkleTreeOf,
  replicatingPeers,
  stopReplicating,
  treeOf
} from '../../../lib/registry/log/hypercore.js'
import { prune } from '../../../lib/registry/log/prune.js'

/** A real object that lacks some members, as after an upgrade. */
function without<T extends object>(whole: T, ...names: string[]): T {
  return Object.create(whole, Object.fromEntries(names.map((name) => [name, { value: undefined }])))
}

t.test('what an upgrade takes away is done without', async (t) => {
  const store = new Corestore(t.testdir())
  t.teardown(() => store.close())
  const core = store.get({ name: 'core' })
  await core.ready()
  for (const text of ['one', 'two', 'three']) await core.append(Buffer.from(text))
  t.ok(merkleTreeOf(core))
  t.equal(merkleTreeOf(without(core, 'state')), null)
  t.same(replicatingPeers(without(core, 'peers')), [])
  t.equal(stopReplicating(without(core, 'core', 'peers'), {} as Protomux), false)
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  const batch = bee.batch({ keyEncoding: 'binary' })
  t.equal(treeOf(without(batch, 'blocks')), null)
  t.equal(await linkedBlocks(without(batch, 'getRoot')), null)
  await batch.close()
  t.equal(await prune(core, [0, 1]), undefined)
  t.equal(await core.get(0, { wait: false }), null)
})
