import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { keepKeyPair } from '../../lib/registry/storage.js'
import { Testbed } from '../testbed.js'

t.test('what a participant keeps is for its user alone', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = join(await testbed.dir(), 'data')
  const storage = await testbed.storage(dir)
  await storage.save()
  const keyPair = await keepKeyPair(dir, 'process')
  const modes: [path: string, mode: number][] = [
    ['', 0o700],
    ['keys', 0o700],
    ['keys/process', 0o600],
    ['registry.json', 0o600]
  ]
  for (const [path, mode] of modes) {
    t.equal((await stat(join(dir, path))).mode & 0o777, mode, `/${path}`)
  }
  t.strictSame(await keepKeyPair(dir, 'process'), keyPair, 'a key is made once')
})
