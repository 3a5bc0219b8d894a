import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { Hypercore } from '../../../lib/registry/log/hypercore.js'
import { Storage } from '../../../lib/registry/log/storage.js'
import { secretPair } from '../../link/pair.js'
import { Testbed } from '../../testbed.js'

t.test('what a participant keeps is for its user alone', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = join(await testbed.dir(), 'data')
  const storage = await testbed.storage(dir)
  await storage.save()
  const modes: [path: string, mode: number][] = [
    ['', 0o700],
    ['registry.json', 0o600]
  ]
  for (const [path, mode] of modes) {
    t.equal((await stat(join(dir, path))).mode & 0o777, mode, `/${path}`)
  }
})

t.test('a storage that was never open leaves the memory in its folder alone', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const owner = await testbed.storage(dir)
  owner.memory.grants.push('a grant')
  await owner.save()
  const other = new Storage({ dir })
  await other.save()
  await other.close()
  t.match(await readFile(join(dir, 'registry.json'), 'utf8'), 'a grant')
})

t.test('a storage closes when the block that a peer sent last is written', async (t) => {
  const testbed = await Testbed.make(t)
  const [ours, theirs] = [await testbed.storage(), await testbed.storage()]
  const log = ours.store.get({ name: 'log' })
  await log.append(Buffer.from('first'))
  const copy = theirs.store.get({ key: log.key })
  const { initiator, responder } = secretPair(t)
  ours.store.replicate(initiator)
  theirs.store.replicate(responder)
  await copy.get(0)

  const writing = holdWriting(copy)
  t.rejects(copy.get(1), { code: 'REQUEST_CANCELLED' })
  await log.append(Buffer.from('second'))
  const end = await writing
  responder.destroy()
  await copy.close()
  let isClosed = false
  const closed = theirs.close().then(() => {
    isClosed = true
  })
  await setImmediate()
  t.notOk(isClosed)
  end()
  await closed
})

/** Resolves when a block is written and waits to be told of, to what ends the wait. */
function holdWriting(session: Hypercore): Promise<() => void> {
  const { core } = session as unknown as { core: { state: { flush(): Promise<unknown> } } }
  const { state } = core
  const flush = state.flush.bind(state)
  return new Promise((begun) => {
    state.flush = async () => {
      const result = await flush()
      await new Promise<void>((end) => begun(end))
      return result
    }
  })
}
