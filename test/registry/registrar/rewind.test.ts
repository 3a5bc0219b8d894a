import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import { LogWriter } from '../../../lib/registry/registrar/log-writer.js'
import type { Instance } from '../../../lib/registry/replica/directory.js'
import { shows, Testbed } from '../../testbed.js'

t.test(
  'after the machine went down in mid-write a new log is begun, and else the old one goes on',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dir = await testbed.dir()
    const keyPair = KeyPair()
    const run = async (boot: string, { crash = false } = {}) => {
      const storage = await testbed.storage(dir)
      const options = { storage, keyPair, boot: async () => boot }
      const writer = new LogWriter(options)
      await writer.ready()
      if (crash) await writer.log.close()
      else await writer.close()
      await storage.close()
      return writer.logKey
    }
    const first = await run('one')
    t.equal(await run('two', { crash: true }), first, 'it had ended in order')
    t.equal(await run('two', { crash: true }), first, 'killed, but the machine stayed up')
    t.not(await run('three'), first)
  }
)

t.test(
  'a registrar whose folder was put back to an older state breaks no reader’s session',
  async (t) => {
    const testbed = await Testbed.make(t)
    const [dir, backup] = [await testbed.dir(), await testbed.dir()]
    const first = await testbed.registrar({ dir })
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    const lease = await testbed.lease(owner, { role: 'a' })
    await shows(reader.directory, (instances) => instances.length === 1)
    await testbed.close(first)
    await cp(dir, backup, { recursive: true })

    const second = await testbed.registrar({ dir })
    for (let i = 0; i < 20; i++) await testbed.lease(owner, { role: 'b' })
    await shows(reader.directory, (instances) => instances.length === 21)
    await testbed.close(second)

    await restore(backup, dir)
    const third = await testbed.registrar({ dir })
    await shows(reader.directory, (all) => all.length === 21 && all.every(({ live }) => live))
    lease.update({ tags: ['after'] })
    await shows(reader.directory, (all) => all.some(({ tags }) => tags[0] === 'after'))
    // The reader takes them for live as soon as their registrar is; that one has them when all have come back to it.
    await shows(
      third.replica.directory,
      (all) => all.length === 21 && all.every(({ live }) => live)
    )
    const newcomer = await testbed.replica()
    await newcomer.synced()
    t.equal(newcomer.directory.size, 21)
    t.ok(third.replica.directory.size === 21)
  }
)

t.test(
  'a registrar that went on from an older state before it met those who know better begins anew',
  async (t) => {
    const testbed = await Testbed.make(t)
    const [dir, backup, readersDir] = [
      await testbed.dir(),
      await testbed.dir(),
      await testbed.dir()
    ]
    const first = await testbed.registrar({ dir })
    const owner = await testbed.replica()
    await testbed.lease(owner, { role: 'a' })
    await testbed.close(first)
    await cp(dir, backup, { recursive: true })

    const second = await testbed.registrar({ dir })
    const reader = await testbed.replica({ dir: readersDir })
    for (let i = 0; i < 5; i++) await testbed.lease(owner, { role: 'b' })
    await shows(reader.directory, (all) => all.length === 6)
    await testbed.close(reader)
    await testbed.close(owner)
    await testbed.close(second)

    await restore(backup, dir)
    const third = await testbed.registrar({ dir })
    const ownLog = () => third.replica.logs().find(({ live }) => live)?.logKey
    const restored = ownLog()
    const later = await testbed.replica()
    for (let i = 0; i < 20; i++) await testbed.lease(later, { role: 'c' })
    const back = await testbed.replica({ dir: readersDir })
    const hasAll = (role: string, count: number) => (all: Instance[]) =>
      all.filter((one) => one.role === role && one.live).length === count
    await shows(back.directory, hasAll('c', 20))
    await testbed.lease(later, { role: 'd' })
    await Promise.all(
      [back, third.replica, later].map(({ directory }) => shows(directory, hasAll('d', 1)))
    )
    t.not(ownLog(), restored)
    const newcomer = await testbed.replica()
    await shows(newcomer.directory, hasAll('c', 20))
    t.ok(newcomer.logs().some(({ live, logKey }) => live && logKey === ownLog()))
  }
)

t.test('a copied folder is set aside, and a new registrar begins', async (t) => {
  const testbed = await Testbed.make(t)
  const [dir, copy] = [await testbed.dir(), await testbed.dir()]
  const first = await testbed.registrar({ dir })
  const owner = await testbed.replica()
  await testbed.lease(owner)
  await testbed.close(first)
  await cp(dir, copy, { recursive: true })
  const second = await testbed.registrar({ dir: copy })
  await shows(owner.directory, ([instance]) => instance?.live === true)
  t.ok((await readdir(copy)).some((name) => name.startsWith('store-set-aside-')))
  t.not(second.replica.logs().find(({ live }) => live)?.logKey, first.replica.logs()[0]?.logKey)
})

/** Puts old contents into the same files, as a backup program does. */
async function restore(from: string, to: string) {
  await mkdir(to, { recursive: true })
  const names = await readdir(from, { withFileTypes: true })
  for (const name of await readdir(to)) {
    if (!names.some((other) => other.name === name)) await rm(join(to, name), { recursive: true })
  }
  for (const entry of names) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await restore(source, target)
    else await writeFile(target, await readFile(source))
  }
}
