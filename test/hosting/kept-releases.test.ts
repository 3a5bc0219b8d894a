import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { parseAppFile } from '../../lib/hosting/app-file.js'
import { packFolder } from '../../lib/hosting/bundle/pack.js'
import { HostFolder } from '../../lib/hosting/host-folder.js'
import { KeptReleases } from '../../lib/hosting/kept-releases.js'
import { encodeRelease, type Release, releaseOf } from '../../lib/hosting/release.js'
import type { Replica } from '../../lib/registry/replica/replica.js'
import { aFolder, fill, read } from './bundle/folders.js'
import { quay } from './chunks/quay.js'

const NOTHING = { used: [], unproven: new Set<string>() }

t.test('a release that is fetched while others are deleted is whole, and stays', async (t) => {
  const { kept, folder, dir, host, pusher, push } = await aHost(t)
  const { hash, release } = await push('hello')
  makeSuperfluous(kept, release)
  // What is needed is decided when nothing of the release is here, and the others are deleted when all of it is.
  const [isDecided, mayDelete] = [gate(), gate()]
  const prune = folder.prune.bind(folder)
  folder.prune = async (releases) => {
    isDecided.open()
    await mayDelete.opened
    return prune(releases)
  }
  const { fetchDocument, fetch } = host.exchange
  let pruning: Promise<unknown> = Promise.resolve()
  host.exchange.fetchDocument = async (...terms) => {
    pruning = kept.prune(() => NOTHING)
    await isDecided.opened
    return fetchDocument.apply(host.exchange, terms)
  }
  host.exchange.fetch = async (...terms) => {
    const entries = await fetch.apply(host.exchange, terms)
    mayDelete.open()
    await pruning
    return entries
  }
  await kept.fetch(hash, { app: 'hello', pusher: pusher.key })
  await kept.prune(() => NOTHING)
  t.equal(await readFile(join(dir, 'bundles', release.bundle, 'server.js'), 'utf8'), 'hello')
  t.ok(await folder.release(hash))
  const entries = await folder.store.list(release.bundle)
  t.same(await folder.store.missing(entries ?? []), [])
})

t.test(
  'while it cannot be read what a release needs, nothing is deleted, and it is said',
  async (t) => {
    for (const what of ['list', 'document'] as const) {
      const { kept, folder, dir, pusher, push, apps, pass } = await aHost(t)
      const [wanted, other] = [await push('wanted'), await push('other')]
      await kept.fetch(other.hash, { app: 'hello', pusher: pusher.key })
      await kept.fetch(wanted.hash, { app: 'hello', pusher: pusher.key })
      apps.push({ app: 'hello', release: wanted.hash, kept: [] })
      pass(3_600_000)
      const damaged = what === 'list' ? wanted.release.bundle : wanted.hash
      const file = join(dir, 'chunks', damaged.slice(0, 2), damaged.slice(2))
      const content = await readFile(file)
      await writeFile(file, 'what a failing disk gives')
      const before = await filesIn(dir)
      // A second time, too: what is damaged must not become what is not there.
      for (const _ of [1, 2]) {
        await t.rejects(
          kept.prune(() => NOTHING),
          { code: 'STORAGE_FAILED', message: /nothing is deleted/ }
        )
        t.same(await filesIn(dir), before)
        pass(3_600_000)
      }
      await writeFile(file, content)
      await kept.prune(() => NOTHING)
      t.notOk(await folder.release(other.hash), 'deleted once it can be read again')
      t.ok(await folder.release(wanted.hash))
      const entries = await folder.store.list(wanted.release.bundle)
      t.same(await folder.store.missing(entries ?? []), [])
    }
  }
)

t.test('the release to go back to stays unpacked until the wanted one has passed', async (t) => {
  const { kept, dir, pusher, push, apps, pass } = await aHost(t)
  const [first, former, wanted] = [await push('first'), await push('former'), await push('wanted')]
  for (const { hash } of [first, former, wanted])
    await kept.fetch(hash, { app: 'hello', pusher: pusher.key })
  apps.push({ app: 'hello', release: wanted.hash, kept: [former, first].map(releaseOnly) })
  pass(3_600_000)
  const bundles = async () => (await readdir(join(dir, 'bundles'))).sort()
  await kept.prune(() => ({ used: [], unproven: new Set(['hello']) }))
  t.same(await bundles(), [former, wanted].map(({ release }) => release.bundle).sort())
  await kept.prune(() => NOTHING)
  t.same(await bundles(), [wanted.release.bundle])
})

t.test('where the disk is full, a release that is there already can be started', async (t) => {
  const { kept, folder, pusher, push } = await aHost(t)
  const { hash } = await push('hello')
  await kept.fetch(hash, { app: 'hello', pusher: pusher.key })
  folder.store.checkRoom = async () => {
    throw SeaportError.DISK_FULL('there is no room')
  }
  t.match(await kept.fetch(hash, { app: 'hello' }), { app: 'hello' })
  await t.rejects(kept.fetch((await push('other')).hash, { app: 'hello', pusher: pusher.key }), {
    code: 'DISK_FULL'
  })
})

t.test('a release of another app is refused before anything of its bundle comes', async (t) => {
  const { kept, folder, pusher, push } = await aHost(t)
  const { hash, release } = await push('other', { app: 'other' })
  const terms = { app: 'hello', pusher: pusher.key }
  await t.rejects(kept.fetch(hash, terms), { code: 'BAD_BUNDLE', message: /of other, .* of hello/ })
  t.notOk(await folder.store.has(release.bundle))
  t.notOk(kept.has(hash))
  t.match(await kept.fetch(hash, { ...terms, app: 'other' }), { app: 'other' })
})

t.test('who closes it ends fetches, and waits until nothing is written any more', async (t) => {
  const { kept, folder, host, pusher, push } = await aHost(t)
  const [far, near] = [await push('far'), await push('near')]
  const terms = { app: 'hello', pusher: pusher.key }
  const { bytesOf } = folder.store
  const [isUnpacking, mayUnpack] = [gate(), gate()]
  folder.store.bytesOf = async function* (entries) {
    isUnpacking.open()
    await mayUnpack.opened
    yield* bytesOf.call(folder.store, entries)
  }
  const unpacking = kept.fetch(near.hash, terms)
  await isUnpacking.opened
  pusher.store.read = () => new Promise(() => {})
  const fetching = kept.fetch(far.hash, terms)
  let isClosed = false
  const closing = kept.close().then(() => {
    isClosed = true
  })
  await t.rejects(fetching, { code: 'CLOSED' })
  t.notOk(isClosed, 'one is unpacked yet')
  mayUnpack.open()
  await closing
  t.match(await unpacking, { app: 'hello' })
  await t.rejects(kept.fetch(near.hash, terms), { code: 'CLOSED' })
  host.exchange.close()
})

t.test('a document that is none keeps nothing from being deleted', async (t) => {
  const { kept, folder, pusher, push, apps, pass } = await aHost(t)
  const { hash } = await push('other')
  await kept.fetch(hash, { app: 'hello', pusher: pusher.key })
  pass(3_600_000)
  const none = await folder.store.write(Buffer.from('no release'))
  const noList = await push('no list', { bundle: none })
  await folder.store.write(noList.bytes)
  apps.push({ app: 'hello', release: none, kept: [noList].map(releaseOnly) })
  await kept.prune(() => NOTHING)
  t.notOk(await folder.release(hash))
})

t.test(
  'what came of a fetch that failed stays for ten minutes after the last try, and goes',
  async (t) => {
    const { kept, folder, dir, pusher, push, pass } = await aHost(t)
    const [lost, other] = [await push('lost'), await push('other')]
    const terms = { app: 'hello', pusher: pusher.key }
    t.equal(await kept.prune(() => NOTHING), 600_000, 'what the last process left may be asked for')
    pass(600_000)
    t.equal(await kept.prune(() => NOTHING), Infinity)
    const { bundle } = folder
    folder.bundle = async () => {
      throw SeaportError.DISK_FULL('there is no room')
    }
    await t.rejects(kept.fetch(lost.hash, terms), { code: 'DISK_FULL' })
    pass(300_000)
    t.equal(await kept.prune(() => NOTHING), 300_000)
    await t.rejects(kept.fetch(lost.hash, terms), { code: 'DISK_FULL' })
    folder.bundle = bundle
    await kept.fetch(other.hash, terms)
    pass(300_000)
    await kept.prune(() => NOTHING)
    t.ok(await folder.release(lost.hash), 'another try may come yet')
    pass(300_000)
    t.equal(await kept.prune(() => NOTHING), Infinity)
    const isEmpty = (path: string) => /^(bundles|chunks(\/..)?)$/.test(path)
    t.same(
      (await filesIn(dir)).filter((path) => !isEmpty(path)),
      []
    )
  }
)

t.test(
  'what the last process left of fetches that failed is deleted after ten minutes',
  async (t) => {
    const { kept, dir, pusher, push, apps, pass, again } = await aHost(t)
    const [wanted, stray] = [await push('wanted'), await push('stray')]
    for (const { hash } of [wanted, stray])
      await kept.fetch(hash, { app: 'hello', pusher: pusher.key })
    apps.push({ app: 'hello', release: wanted.hash, kept: [] })
    const next = again()
    const all = await filesIn(dir)
    await next.prune(() => NOTHING)
    t.same(await filesIn(dir), all, 'who pushes may come back')
    pass(600_000)
    await next.prune(() => NOTHING)
    const left = await filesIn(dir)
    t.ok(left.includes(join('bundles', wanted.release.bundle, 'server.js')))
    t.notOk(left.some((file) => file.includes(stray.release.bundle)))
  }
)

/** A host, the app statements that it knows, and a deployer of which it fetches. */
async function aHost(t: Test) {
  const { berth } = quay(t)
  const dir = await aFolder(t)
  const folder = new HostFolder(dir, { minFree: 0 })
  const [host, pusher] = [await berth({ store: folder.store }), await berth()]
  const apps: { app: string; release: string; kept: { release: string }[] }[] = []
  const replica = { directory: { resolve: () => [] }, statements: { list: () => apps } }
  let now = 0
  const again = () =>
    new KeptReleases({
      replica: replica as unknown as Replica,
      folder,
      exchange: host.exchange,
      now: () => now
    })
  const kept = again()
  const pass = (ms: number) => {
    now += ms
  }
  const push = async (content: string, fields: Partial<Release> = {}) => {
    const root = await aFolder(t)
    await fill(root, { 'server.js': content })
    const bundle = await packFolder(root, { store: pusher.store })
    const file = parseAppFile(
      JSON.stringify({ name: 'hello', version: '1.0.0', command: ['node', 'server.js'] })
    )
    const release = { ...releaseOf(file, bundle), ...fields }
    const { bytes, hash } = encodeRelease(release)
    await pusher.store.write(bytes)
    return { hash, release, bytes }
  }
  return { kept, folder, dir, host, pusher, push, apps, pass, again }
}

function releaseOnly({ hash }: { hash: string }) {
  return { release: hash }
}

async function filesIn(dir: string): Promise<string[]> {
  return Object.keys(await read(dir))
}

/** Has the next `prune` delete something. */
function makeSuperfluous(kept: KeptReleases, release: Release) {
  kept.set('ab'.repeat(32), release)
}

/** Something that is waited for until it is opened. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
