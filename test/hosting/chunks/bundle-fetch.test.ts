import t from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { ChunkStore } from '../../../lib/hosting/bundle/chunk-store.js'
import { BundleFetch } from '../../../lib/hosting/chunks/bundle-fetch.js'
import { slowness } from '../../watchdog.js'
import { aFolder } from '../bundle/folders.js'
import { aBundle, quay } from './quay.js'

const KEYS = ['aa'.repeat(32), 'bb'.repeat(32), 'cc'.repeat(32)] as const
const SIZES = Array.from({ length: 20 }, (_, i) => 10_000 + i)

t.test(
  'a deployer that has returned is asked on its new stream, not on one that is dead',
  async (t) => {
    const { berth } = quay(t)
    const [pusher, host] = [await berth(), await berth()]
    pusher.isReachable = false
    const { list, entries } = await aBundle(pusher.store, SIZES)
    for (let i = 0; i < 4; i++) {
      // Nobody answers at its other end, and nobody has noticed yet.
      await pusher.connect(host.key)
    }
    await pusher.exchange.join(host.key)
    await host.exchange.fetch(list, { sources: { pusher: pusher.key } })
    t.same(await host.store.missing(entries), [])
  }
)

t.test(
  'a fetch that waits for a deployer that was lost goes on when it has returned',
  async (t) => {
    const { berth } = quay(t)
    const host = await berth({ stallTimeout: 300 * slowness() })
    const lost = await berth()
    lost.isReachable = false
    const returned = await berth({ store: new ChunkStore(await aFolder(t), { minFree: 0 }) }, lost)
    returned.isReachable = false
    const { list, entries } = await aBundle(lost.store, SIZES)
    for (const { hash } of [...entries, { hash: list }]) {
      await returned.store.write((await lost.store.read(hash)) as Buffer)
    }
    const { read } = lost.store
    let given = 0
    let again: Promise<unknown> = Promise.resolve()
    const sources = { pusher: lost.key }
    lost.store.read = async (hash) => {
      if (++given < 5) return read.call(lost.store, hash)
      again = returned.exchange.join(host.key).then(() => host.exchange.fetch(list, { sources }))
      return new Promise(() => {})
    }
    await lost.exchange.join(host.key)
    await host.exchange.fetch(list, { sources })
    await again
    t.same(await host.store.missing(entries), [])
  }
)

t.test(
  'when a deployer has returned, what waits for it is asked of the host that comes first for it once more',
  async (t) => {
    const store = new ChunkStore(await aFolder(t), { minFree: 0 })
    const { list, entries } = await aBundle(store, SIZES)
    const chunks = await chunksIn(store, entries)
    await store.retain([], [list])
    const [self, other, pusher] = KEYS
    const sources = { pusher, peers: [self, other] }
    const asked: string[] = []
    const given: string[] = []
    let isBack = false
    let turnBack = () => {}
    const back = new Promise<void>((resolve) => {
      turnBack = resolve
    })
    const fetch = new BundleFetch({
      ...{ list, key: self, store, sources },
      signals: [],
      ask: async (key, hash) => {
        asked.push(hash)
        if (key === pusher) await back
        else if (!isBack) throw SeaportError.NOT_FOUND('the other has lost the deployer, too')
        given.push(`${key} ${hash}`)
        return chunks.get(hash) as Buffer
      },
      onnotice: (error) => t.fail(error.message),
      onchange: () => {}
    })
    const done = fetch.run()
    let before = -1
    while (asked.length === 0 || asked.length !== before) {
      before = asked.length
      for (let i = 0; i < 20; i++) await new Promise(setImmediate)
    }
    isBack = true
    fetch.add(sources)
    turnBack()
    await done
    t.same(await store.missing(entries), [])
    t.equal(given.length, entries.length, 'none came twice')
    t.ok(given.some((one) => one.startsWith(other)))
  }
)

t.test(
  'what is being asked for when a deployer returns is asked of it once more, if that fails',
  async (t) => {
    const store = new ChunkStore(await aFolder(t), { minFree: 0 })
    const { list, entries } = await aBundle(store, SIZES)
    const chunks = await chunksIn(store, [...entries, { hash: list }])
    for (const listIsHere of [true, false]) {
      await store.retain([], listIsHere ? [list] : [])
      const [self, other, pusher] = KEYS
      const sources = { pusher, peers: [self, other] }
      let isBack = false
      const lost = new Set<string>()
      const fetch: BundleFetch = new BundleFetch({
        ...{ list, key: self, store, sources },
        signals: [],
        ask: async (key, hash) => {
          if (isBack && key === pusher) return chunks.get(hash) as Buffer
          // Whoever is asked second for a chunk is the last who could have it.
          if (lost.has(hash) && !isBack) {
            isBack = true
            fetch.add(sources)
          }
          lost.add(hash)
          throw SeaportError.NOT_FOUND('it was lost')
        },
        onnotice: (error) => t.fail(error.message),
        onchange: () => {}
      })
      await fetch.run()
      t.same(await store.missing(entries), [])
    }
  }
)

t.test('two deployers with one key are each asked for what they have', async (t) => {
  const { berth } = quay(t)
  const host = await berth()
  const one = await berth()
  const two = await berth({}, one)
  const bundles = [await aBundle(one.store, SIZES), await aBundle(two.store, SIZES)]
  await one.exchange.join(host.key)
  await two.exchange.join(host.key)
  const sources = { pusher: one.key }
  await Promise.all(bundles.map(({ list }) => host.exchange.fetch(list, { sources })))
  for (const { entries } of bundles) t.same(await host.store.missing(entries), [])
  const { sent } = one.exchange.stats
  t.ok(sent <= SIZES.length + 1 + 4, `${sent} chunks: few are asked for in vain, or twice`)
})

t.test(
  'who pushes a bundle that another has begun to push ends the work of the other',
  async (t) => {
    const { berth } = quay(t)
    const [one, two, host] = [await berth(), await berth(), await berth()]
    const { list, entries } = await aBundle(two.store, SIZES)
    // The first one never answers, and the fetch has asked it for the list already.
    let isAsked = () => {}
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve
    })
    one.store.has = async () => {
      isAsked()
      throw SeaportError.LINK_LOST('it is gone')
    }
    const first = host.exchange.fetch(list, { sources: { pusher: one.key } })
    await asked
    const second = host.exchange.fetch(list, { sources: { pusher: two.key } })
    await Promise.all([first, second])
    t.same(await host.store.missing(entries), [])
  }
)

t.test('a second deployer does not keep the first from being asked', async (t) => {
  const { berth } = quay(t)
  const [one, host] = [await berth(), await berth()]
  const { list, entries } = await aBundle(one.store, SIZES)
  const { read } = one.store
  let given = 0
  let second: Promise<unknown> = Promise.resolve()
  one.store.read = async (hash) => {
    if (++given === 3) second = host.exchange.fetch(list, { sources: { pusher: 'ab'.repeat(32) } })
    return read.call(one.store, hash)
  }
  await host.exchange.fetch(list, { sources: { pusher: one.key } })
  await second
  t.same(await host.store.missing(entries), [])
})

/** Chunks of a store by their hashes, to be had when they are deleted there. */
async function chunksIn(store: ChunkStore, entries: readonly { hash: string }[]) {
  const chunks = new Map<string, Buffer>()
  for (const { hash } of entries) chunks.set(hash, (await store.read(hash)) as Buffer)
  return chunks
}
