import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ChunkStore } from '../../lib/hosting/bundle/chunk-store.js'
import { packFolder } from '../../lib/hosting/bundle/pack.js'
import { HostFolder } from '../../lib/hosting/host-folder.js'
import { aFolder, fill, read } from './bundle/folders.js'

t.test('what is kept for a rollback alone is unpacked again when it is wanted', async (t) => {
  const { folder, store, stored } = await aHostFolder(t)
  const [former, next] = [await store('first'), await store('second')]
  await folder.discard([former], [next])
  t.same(await stored(), [next.release.bundle])
  t.same(await read(await unpacked(folder, former.release)), { 'server.js': 'first' })
})

t.test('what another release needs, too, stays unpacked, as does what was set up', async (t) => {
  const { folder, store, stored } = await aHostFolder(t)
  const [former, alike] = [await store('same'), await store('same')]
  const prepared = await store('set up', ['npm', 'ci'])
  const before = await stored()
  t.equal(before.length, 2)
  await folder.discard([former, prepared], [alike])
  t.same(await stored(), before)
})

t.test(
  'what was left when a host ended while it deleted a bundle goes with the next one',
  async (t) => {
    const { folder, dir, store, stored } = await aHostFolder(t)
    const former = await store('first')
    await mkdir(join(dir, 'bundles', `${former.release.bundle}.gone`))
    await folder.discard([former], [])
    t.same(await stored(), [])
  }
)

t.test('a bundle that is being unpacked is left alone when others are deleted', async (t) => {
  const { folder, dir, store, stored } = await aHostFolder(t)
  await store('first')
  const next = await store('next')
  await folder.discard([next], [])
  const { bytesOf } = folder.store
  folder.store.bytesOf = async function* (entries) {
    // By now there is the folder in which it is unpacked.
    await folder.prune([])
    yield* bytesOf.call(folder.store, entries)
  }
  const hold = folder.hold()
  hold.addBundle(next.release)
  await folder.store.missing((await folder.store.list(next.release.bundle)) ?? [])
  t.same(await read(await unpacked(folder, next.release)), { 'server.js': 'next' })
  t.same(await stored(), [next.release.bundle], 'the other one was deleted')
  hold.release()
  await mkdir(join(dir, 'bundles', `${next.release.bundle}.1.part`))
  await folder.prune([next])
  t.same(await stored(), [next.release.bundle], 'what another process has left is deleted')
})

t.test('a bundle is not unpacked where that would leave too little of the disk', async (t) => {
  const { folder, dir, store } = await aHostFolder(t)
  for (const setup of [null, ['npm', 'ci']]) {
    const { hash, release } = await store('first', setup)
    const hold = folder.hold()
    hold.addDocument(hash)
    await folder.store.missing((await folder.store.list(release.bundle)) ?? [])
    await folder.prune([])
    hold.release()
    for (const asked of [0, 1]) {
      const { store } = folder
      const { checkRoom } = ChunkStore.prototype
      let left = asked
      store.checkRoom = (bytes) => {
        return left-- > 0 ? checkRoom.call(store, bytes) : checkRoom.call(store, 2 ** 60)
      }
      await t.rejects(unpacked(folder, release), { code: 'DISK_FULL' }, `asked ${asked} times`)
      t.same(await readdir(join(dir, 'bundles')), [])
      store.checkRoom = checkRoom
    }
  }
})

async function aHostFolder(t: Test) {
  const dir = await aFolder(t)
  const folder = new HostFolder(dir, { minFree: 0 })
  const stored = async () => Object.keys(await read(join(dir, 'bundles'))).map(firstPart)
  const store = async (content: string, setup: string[] | null = null) => {
    const root = await aFolder(t)
    await fill(root, { 'server.js': content })
    const { list } = await packFolder(root, { store: folder.store })
    const release = { app: 'hello', bundle: list, setup, env: {} }
    await unpacked(folder, release)
    return { hash: list, release }
  }
  return { folder, dir, store, stored }
}

type Bundled = Parameters<HostFolder['bundle']>[0]

async function unpacked(folder: HostFolder, release: Bundled): Promise<string> {
  const entries = await folder.store.list(release.bundle)
  return folder.bundle(release, entries ?? [], async () => {})
}

function firstPart(path: string): string {
  return path.split('/')[0] as string
}
