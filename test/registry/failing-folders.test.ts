import { once } from 'node:events'
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Consumer } from '../../lib/consumer.js'
import type { SeaportError } from '../../lib/core/errors.js'
import { toHex } from '../../lib/core/keys.js'
import { Storage } from '../../lib/registry/log/storage.js'
import type { Registrar } from '../../lib/registry/registrar/registrar.js'
import { shows, Testbed } from '../testbed.js'

t.test('a consumer whose folder is deleted goes on in memory, and serves others', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  const first = await testbed.lease(owner, { role: 'a' })
  const dir = join(await testbed.dir(), 'data')
  const consumer = Consumer([], {
    registryPublicKey: toHex(testbed.keyPair.publicKey),
    bootstrap: testbed.bootstrap,
    dir
  })
  t.teardown(() => consumer.destroy())
  await consumer.setup()
  const notice = once(consumer, 'notice')
  await rename(dir, `${dir}-gone`)
  await testbed.lease(owner, { role: 'b' })
  t.match(await notice, [{ code: 'STORAGE_FAILED', message: /deleted.*in memory/ }])
  await first.close()
  await testbed.lease(owner, { role: 'c' })
  await listed(consumer, ['b', 'c'])
  await t.rejects(readdir(dir), { code: 'ENOENT' }, 'and is not made again')

  await testbed.close(registrar)
  await testbed.close(owner)
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.same(newcomer.directory.roles(), ['b', 'c'])
})

t.test('a registrar whose folder is deleted makes it again, and goes on', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = join(await testbed.dir(), 'data')
  const storage = new Storage({ dir, checkInterval: 50 })
  t.teardown(() => storage.close())
  await storage.ready()
  const registrar = await testbed.registrar({ storage })
  const owner = await testbed.replica()
  await testbed.lease(owner, { role: 'a' })
  const leaving = await testbed.lease(owner, { role: 'b' })
  const again = writtenAgain(registrar)
  await rename(dir, `${dir}-gone`)
  // A slow machine may need a second attempt in between, which it says.
  const said = await again
  t.match(said[0], /deleted/)
  t.match(said.at(-1), /written again/)
  await leaving.close()
  await testbed.lease(owner, { role: 'c' })
  const newcomer = await testbed.replica()
  await shows(newcomer.directory, (all) => all.length === 2 && all.every(({ live }) => live))
  t.same(newcomer.directory.roles(), ['a', 'c'])
  await registrar.close()
  await storage.close()

  const next = await testbed.registrar({ dir })
  t.same(next.replica.directory.roles(), ['a', 'c'], 'all of it was kept')
})

t.test('a registrar whose folder was deleted a moment ago closes all the same', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = join(await testbed.dir(), 'data')
  const storage = await testbed.storage(dir)
  const registrar = await testbed.registrar({ storage })
  const owner = await testbed.replica()
  await testbed.lease(owner, { role: 'a' })
  const notices: SeaportError[] = []
  registrar.on('notice', (notice) => notices.push(notice))
  await rm(dir, { recursive: true })
  await registrar.close()
  await storage.close()
  t.match(notices, [{ code: 'STORAGE_FAILED', message: /deleted/ }])
})

t.test(
  'a registrar whose store is damaged begins a new one, and has its services back',
  async (t) => {
    const testbed = await Testbed.make(t)
    for (const file of ['CURRENT', 'MANIFEST']) {
      const dir = await testbed.dir()
      const registrar = await testbed.registrar({ dir })
      const owner = await testbed.replica()
      const lease = await testbed.lease(owner, { role: file.toLowerCase() })
      await testbed.close(registrar)
      const db = join(dir, 'store', 'db')
      for (const name of await readdir(db)) {
        if (name.startsWith(file)) await writeFile(join(db, name), 'rubbish')
      }
      const registered = once(lease, 'registered')
      const next = await testbed.registrar({ dir })
      await registered
      await shows(next.replica.directory, (all) => all.some(({ live }) => live))
      await testbed.close(next)
      await testbed.close(owner)
    }
  }
)

/** What it says until its log is written again. */
function writtenAgain(registrar: Registrar): Promise<string[]> {
  const said: string[] = []
  return new Promise((resolve) => {
    registrar.on('notice', ({ message }: SeaportError) => {
      said.push(message)
      if (/written again/.test(message)) resolve(said)
    })
  })
}

function listed(consumer: Consumer, roles: string[]): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (String(consumer.list().map(({ role }) => role)) !== String(roles)) return
      stop()
      resolve()
    }
    const stop = consumer.watch(check)
    check()
  })
}
