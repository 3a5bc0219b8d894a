import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { Hypercore } from '../../../lib/registry/log/hypercore.js'
import { Storage } from '../../../lib/registry/log/storage.js'
import { skipWithoutLimits, withFewFiles } from '../../few-files.js'
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

t.test('copies in one folder have a place of their own each, which is kept', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const open = async () => {
    const storage = new Storage({ dir, isCopy: true })
    t.teardown(() => storage.close())
    storage.on('notice', (notice) => t.fail(notice.message))
    await storage.ready()
    return storage
  }
  const [first, second] = [await open(), await open()]
  t.equal(first.dir, dir)
  t.equal(second.dir, join(dir, 'slot-2'))
  second.memory.grants.push('a grant')
  await second.save()
  await second.close()
  const third = await open()
  t.equal(third.dir, second.dir)
  t.same(third.memory.grants, ['a grant'])
})

t.test('what is no copy is refused a folder that is in use', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  await testbed.storage(dir)
  await t.rejects(testbed.storage(dir), { code: 'STORAGE_LOCKED', message: /--dir/ })
})

t.test('a copy that has no folder works in memory, and says why and what to do', async (t) => {
  const testbed = await Testbed.make(t)
  const file = join(await testbed.dir(), 'file')
  await writeFile(file, '')
  const storage = new Storage({ dir: join(file, 'data'), isCopy: true })
  t.teardown(() => storage.close())
  const notice = once(storage, 'notice')
  await storage.ready()
  t.match(await notice, [{ code: 'STORAGE_FAILED', message: /file\/data.*--dir.*in memory/ }])
  t.ok(storage.isInMemory)
  const log = storage.store.get({ name: 'log' })
  await log.append(Buffer.from('block'))
  t.equal(String(await log.get(0)), 'block')
  await t.rejects(testbed.storage(join(file, 'data')), { code: 'STORAGE_FAILED', message: /--dir/ })
})

t.test('logs of what RocksDB did in earlier runs do not pile up', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  for (let run = 0; run < 3; run++) await (await testbed.storage(dir)).close()
  const names = await readdir(join(dir, 'store', 'db'))
  t.same(
    names.filter((name) => name.startsWith('LOG')),
    ['LOG']
  )
})

t.test('a store whose making ended at once, as on a full disk, is begun quietly', async (t) => {
  const testbed = await Testbed.make(t)
  for (const isCopy of [false, true]) {
    const dir = await testbed.dir()
    await mkdir(join(dir, 'store'), { recursive: true })
    await writeFile(join(dir, 'store', 'CORESTORE'), '')
    const storage = new Storage({ dir, isCopy })
    t.teardown(() => storage.close())
    storage.on('notice', (notice) => t.fail(notice.message))
    await storage.ready()
    t.equal(storage.dir, dir)
    t.notOk((await readdir(dir)).some((name) => name.includes('set-aside')))
  }
})

t.test('a damaged store is set aside, and what is known of it forgotten', async (t) => {
  const testbed = await Testbed.make(t)
  for (const isCopy of [false, true]) {
    const dir = await testbed.dir()
    const first = new Storage({ dir, isCopy })
    await first.ready()
    first.memory.applied = { log: 7 }
    first.memory.certificates = ['a certificate']
    await first.save()
    await first.close()
    await writeFile(join(dir, 'store', 'db', 'CURRENT'), '')
    const second = new Storage({ dir, isCopy })
    const notice = once(second, 'notice')
    await second.ready()
    const next = isCopy ? /others are asked/ : /a new log is begun/
    t.match(await notice, [{ code: 'STORAGE_FAILED', message: next }])
    t.same(second.memory.applied, {})
    t.same(second.memory.certificates, ['a certificate'])
    await second.close()
    t.equal((await readdir(dir)).filter((name) => name.startsWith('store-set-aside-')).length, 1)
  }
})

t.test(
  'where no more files may be opened, nothing is set aside, forgotten or called in use',
  { skip: skipWithoutLimits },
  async (t) => {
    const dir = t.testdir()
    const script = `
      import { loadMemory } from ${moduleOf('memory')}
      import { keepProcessKey } from ${moduleOf('own-keys')}
      import { Storage } from ${moduleOf('storage')}
      const [, dir] = process.argv
      const first = new Storage({ dir })
      await first.ready()
      first.memory.grants.push('a grant')
      await first.save()
      await first.close()
      const failures = []
      leaveOpen(0)
      await loadMemory(dir).catch(({ code }) => failures.push(code))
      await keepProcessKey(Buffer.alloc(32), dir).catch(({ message }) => failures.push(message))
      for (let few = 0; ; few++) {
        leaveOpen(few)
        const storage = new Storage({ dir })
        storage.on('notice', ({ message }) => failures.push(message))
        const error = await storage.ready().then(() => null, (error) => error)
        if (!error) {
          const { grants } = storage.memory
          await storage.close()
          console.log(JSON.stringify({ failures, grants }))
          process.exit()
        }
        failures.push(error.message)
      }`
    const { failures, grants } = withFewFiles(script, dir) as Record<string, string[]>
    t.ok(failures && failures.length > 4, `${failures?.length} failures`)
    t.equal(failures?.shift(), 'EMFILE')
    for (const failure of failures ?? []) t.match(failure, /^STORAGE_FAILED: .*ulimit -n/)
    t.strictSame(grants, ['a grant'])
    t.notOk((await readdir(dir)).some((name) => name.includes('set-aside')))
  }
)

t.test('a folder that is deleted is noticed, and can be made again', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = join(await testbed.dir(), 'data')
  const storage = new Storage({ dir, checkInterval: 20 })
  t.teardown(() => storage.close())
  await storage.ready()
  const failed = once(storage, 'failed')
  await rename(dir, `${dir}-gone`)
  t.match(await failed, [
    { reason: { code: 'STORAGE_FAILED', message: /deleted/ }, isDamaged: false }
  ])
  t.ok(await storage.hasRoom())
  await storage.reopen(false)
  t.equal(storage.failure, null)
  await storage.save()
  t.ok((await readdir(dir)).includes('registry.json'))
})

t.test('what remembers nothing any more says so, and a copy goes on', async (t) => {
  const testbed = await Testbed.make(t)
  for (const isCopy of [false, true]) {
    const dir = await testbed.dir()
    const storage = new Storage({ dir, isCopy })
    t.teardown(() => storage.close())
    await storage.ready()
    await mkdir(join(dir, 'registry.json.new'))
    const failed = once(storage, 'failed')
    if (isCopy) await storage.save()
    else await t.rejects(storage.save(), { code: 'STORAGE_FAILED' })
    t.match(await failed, [{ reason: { code: 'STORAGE_FAILED' } }])
    if (!isCopy) continue
    await storage.workInMemory()
    await storage.save()
    t.equal(storage.dir, '')
  }
})

function moduleOf(name: string): string {
  return JSON.stringify(new URL(`../../../lib/registry/log/${name}.js`, import.meta.url).href)
}

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
