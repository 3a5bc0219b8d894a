import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Abort } from '../../../lib/core/abort.js'
import { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { hashOf } from '../../../lib/hosting/bundle/chunk.js'
import { ChunkStore } from '../../../lib/hosting/bundle/chunk-store.js'
import { ChunkExchange } from '../../../lib/hosting/chunks/chunk-exchange.js'
import { CHUNKS } from '../../../lib/hosting/chunks/chunk-frames.js'
import { ChunkPeer } from '../../../lib/hosting/chunks/chunk-peer.js'
import { Acceptor } from '../../../lib/link/acceptor.js'
import { LinkPool } from '../../../lib/link/pool.js'
import { Testbed } from '../../testbed.js'
import { slowness } from '../../watchdog.js'
import { aFolder } from '../bundle/folders.js'
import { aBundle, quay } from './quay.js'

const SIZES = Array.from({ length: 40 }, (_, i) => 10_000 + i)
const LIST_BYTES = 1 + 36 * SIZES.length
const BYTES = SIZES.reduce((sum, size) => sum + size, 0)

t.test(
  'a bundle is fetched from who has it, over the stream that the deployer has opened',
  async (t) => {
    const { berth } = quay(t)
    const [pusher, host] = [await berth(), await berth()]
    pusher.isReachable = false
    const { list, entries } = await aBundle(pusher.store, [1_048_576, 5, 700_000])
    await pusher.exchange.join(host.key)
    const fetched = await host.exchange.fetch(list, { sources: { pusher: pusher.key } })
    t.same(fetched, entries)
    t.same(await host.store.missing(entries), [])
    t.same(await host.store.list(list), entries)
    t.equal(host.exchange.progressOf(list), null)
  }
)

t.test('each chunk leaves the deployer once, and goes on from the host that took it', async (t) => {
  const { berth } = quay(t)
  const pusher = await berth()
  pusher.isReachable = false
  const hosts = await Promise.all(Array.from({ length: 5 }, () => berth()))
  const peers = hosts.map(({ key }) => key)
  const { list, entries } = await aBundle(pusher.store, SIZES)
  for (const host of hosts) await pusher.exchange.join(host.key)
  await Promise.all(
    hosts.map(({ exchange }) => exchange.fetch(list, { sources: { pusher: pusher.key, peers } }))
  )
  for (const { store } of hosts) t.same(await store.missing(entries), [])
  const { sent, sentBytes } = pusher.exchange.stats
  t.equal(sent, SIZES.length + hosts.length, 'each chunk once, and the list to each')
  t.equal(sentBytes, BYTES + hosts.length * LIST_BYTES)
  const passing = hosts.filter(({ exchange }) => exchange.stats.sent > 0)
  t.ok(
    passing.length >= 3,
    'they pass on: all but who comes first for none, as one in a thousand does'
  )
})

t.test(
  'who waits moves on when the host that it waits for gets nothing, and not before',
  async (t) => {
    const { berth } = quay(t)
    const pusher = await berth()
    const [host, idler] = [await berth({ stallTimeout: 200 * slowness() }), await berth()]
    const peers = [host.key, idler.key]
    const { list, entries } = await aBundle(pusher.store, SIZES)
    // The idler was told nothing of the bundle, so it never has a chunk of it.
    await host.exchange.fetch(list, { sources: { pusher: pusher.key, peers } })
    t.same(await host.store.missing(entries), [])
    t.equal(idler.exchange.stats.sent, 0)
  }
)

t.test(
  'who waits goes on waiting while something comes to the host that it waits for',
  async (t) => {
    const { berth } = quay(t)
    // It gives its chunks one by one, so slowly that all of them take far longer than anybody waits for a byte.
    const store = new ChunkStore(await aFolder(t), { minFree: 0 })
    const pusher = await berth({ store })
    const { list, entries } = await aBundle(store, Array(8).fill(50_000))
    const { read } = store
    store.read = async (hash) => {
      await new Promise((resolve) => setTimeout(resolve, 150))
      return read.call(store, hash)
    }
    const stallTimeout = 1000 * slowness()
    const hosts = await Promise.all([1, 2].map(() => berth({ stallTimeout, progressInterval: 10 })))
    const peers = hosts.map(({ key }) => key)
    await Promise.all(
      hosts.map(({ exchange }) => exchange.fetch(list, { sources: { pusher: pusher.key, peers } }))
    )
    t.equal(pusher.exchange.stats.sent, entries.length + 2)
  }
)

t.test('without the deployer, hosts fetch from those that have all', async (t) => {
  const { berth } = quay(t)
  const [one, two, late] = [await berth(), await berth(), await berth()]
  const { list, entries } = await aBundle(one.store, SIZES)
  const seeders = [one.key]
  await two.exchange.fetch(list, { sources: { seeders } })
  await late.exchange.fetch(list, { sources: { seeders: [one.key, two.key] } })
  t.same(await late.store.missing(entries), [])
  for (const { exchange } of [one, two]) t.ok(exchange.stats.sent > 5, 'both share in it')
})

t.test('a fetch that was interrupted goes on where it was, and no chunk comes twice', async (t) => {
  const { berth } = quay(t)
  const [pusher, host] = [await berth(), await berth()]
  const { list, entries } = await aBundle(pusher.store, SIZES)
  const stop = new AbortController()
  const { write } = host.store
  let written = 0
  host.store.write = async (chunk) => {
    if (++written === 15) stop.abort(SeaportError.CLOSED('the host is stopped'))
    return write.call(host.store, chunk)
  }
  const sources = { pusher: pusher.key }
  await t.rejects(host.exchange.fetch(list, { sources, signal: stop.signal }), { code: 'CLOSED' })
  const missing = await host.store.missing(entries)
  t.ok(missing.length < entries.length)
  // One that was under way when it was stopped may come again, so hashes are compared, and not how many came.
  const came = new Set<string>()
  host.store.write = (chunk) => {
    came.add(hashOf(chunk))
    return write.call(host.store, chunk)
  }
  await host.exchange.fetch(list, { sources })
  const wanted = new Set(missing.map(({ hash }) => hash))
  t.same(
    [...came].filter((hash) => !wanted.has(hash)),
    [],
    'nothing that was there came again'
  )
  t.same(await host.store.missing(entries), [])
})

t.test('a deployer that dies in the middle is replaced by itself, come back', async (t) => {
  const { berth } = quay(t)
  const [pusher, host] = [await berth(), await berth()]
  const { list, entries } = await aBundle(pusher.store, SIZES)
  const { write } = host.store
  let written = 0
  host.store.write = async (chunk) => {
    if (++written === 10) for (const { initiator } of pusher.pairs) initiator.destroy()
    return write.call(host.store, chunk)
  }
  await pusher.exchange.join(host.key)
  pusher.isReachable = false
  await t.rejects(host.exchange.fetch(list, { sources: { pusher: pusher.key } }), {
    code: 'LINK_LOST'
  })
  await pusher.exchange.join(host.key)
  await host.exchange.fetch(list, { sources: { pusher: pusher.key } })
  t.same(await host.store.missing(entries), [])
})

t.test('two fetches of one bundle are one, with the sources of both', async (t) => {
  const { berth } = quay(t)
  const [one, host] = [await berth(), await berth()]
  const { list, entries } = await aBundle(one.store, SIZES)
  const nobody = 'ab'.repeat(32)
  const first = host.exchange.fetch(list, { sources: { seeders: [one.key] } })
  const second = host.exchange.fetch(list, { sources: { pusher: nobody } })
  t.equal(await first, await second)
  t.same(await host.store.missing(entries), [])
  t.equal(one.exchange.stats.sent, entries.length + 1)
})

t.test('a chunk that is not what its hash says is told, and fetched elsewhere', async (t) => {
  const { berth } = quay(t)
  const [liar, honest, host] = [await berth(), await berth(), await berth()]
  const { list, entries } = await aBundle(honest.store, SIZES)
  liar.store.has = async () => true
  liar.store.list = async () => entries
  liar.store.read = async (hash) => {
    const chunk = Buffer.from((await honest.store.read(hash)) ?? '')
    chunk[5] = (chunk[5] ?? 0) ^ 1
    return chunk
  }
  await host.exchange.fetch(list, { sources: { seeders: [liar.key], pusher: honest.key } })
  t.same(await host.store.missing(entries), [])
  t.match(host.notices, [{ code: 'BAD_BUNDLE', message: new RegExp(liar.key) }])
  t.equal(host.exchange.stats.bad, host.notices.length)
  const only = await berth()
  await t.rejects(only.exchange.fetch(list, { sources: { seeders: [liar.key] } }), {
    code: 'BAD_BUNDLE'
  })
  t.notOk(await only.store.has(list))
})

t.test('only those who may have a bundle get a chunk of it, and of no other', async (t) => {
  const { berth } = quay(t)
  const allowed = new Map<string, string>()
  const host = await berth({
    authorize: (key, list) =>
      allowed.get(key) === list || SeaportError.NOT_GRANTED('ask for the grant --host')
  })
  const [mine, other] = [await aBundle(host.store, [10, 20]), await aBundle(host.store, [30])]
  const stranger = await berth()
  const sources = { seeders: [host.key] }
  await t.rejects(stranger.exchange.fetch(mine.list, { sources }), {
    code: 'NOT_GRANTED',
    message: /--host/
  })
  t.equal(host.exchange.stats.sent, 0)
  allowed.set(stranger.key, mine.list)
  await stranger.exchange.fetch(mine.list, { sources })
  await t.rejects(stranger.exchange.fetch(other.list, { sources }), { code: 'NOT_GRANTED' })
  const guess = other.entries[0]?.hash as string
  // It asks for a chunk of the other bundle in the name of its own.
  const rogue = await berth()
  allowed.set(rogue.key, mine.list)
  await rogue.store.write((await host.store.read(mine.list)) as Buffer)
  rogue.store.list = async () => [{ hash: guess, size: 30 }]
  await t.rejects(rogue.exchange.fetch(mine.list, { sources }), { code: 'NOT_FOUND' })
})

t.test(
  'a list that is none, a bundle that is too large, and a full disk are refused before chunks come',
  async (t) => {
    const { berth } = quay(t)
    const [pusher, host] = [await berth(), await berth()]
    const sources = { pusher: pusher.key }
    const noList = await pusher.store.write(Buffer.from('no list'))
    await t.rejects(host.exchange.fetch(noList, { sources }), { code: 'BAD_BUNDLE' })
    t.notOk(await host.store.has(noList))
    const full = await berth({ store: new ChunkStore(await aFolder(t), { minFree: 0.999999 }) })
    const { list } = await aBundle(pusher.store, SIZES)
    const before = pusher.exchange.stats.sent
    await t.rejects(full.exchange.fetch(list, { sources }), { code: 'DISK_FULL' })
    t.equal(pusher.exchange.stats.sent - before, 1, 'the list alone')
  }
)

t.test('a chunk that the disk of the giver has spoilt is fetched elsewhere', async (t) => {
  const { berth } = quay(t)
  const folder = await aFolder(t)
  const spoilt = await berth({ store: new ChunkStore(folder, { minFree: 0 }) })
  const [good, host] = [await berth(), await berth()]
  const { list, entries } = await aBundle(good.store, [100, 200])
  for (const { hash } of [...entries, { hash: list }]) {
    await spoilt.store.write((await good.store.read(hash)) as Buffer)
  }
  const { hash } = entries[0] as { hash: string }
  await rm(join(folder, hash.slice(0, 2), hash.slice(2)))
  await writeFile(join(folder, hash.slice(0, 2), hash.slice(2)), 'spoilt')
  await host.exchange.fetch(list, { sources: { seeders: [spoilt.key], pusher: good.key } })
  t.same(await host.store.missing(entries), [])
  t.equal(spoilt.store.stats.broken, 1)
})

t.test('who asks for more at a time than may be asked is cut off', async (t) => {
  const { berth } = quay(t)
  const [host, greedy] = [await berth(), await berth()]
  const hash = hashOf(Buffer.from('nobody has it'))
  const signal = new Abort()
  const told = once(host.exchange, 'notice')
  // Its own requests go past the exchange, which would ask for four at a time.
  const peer = new ChunkPeer({ stream: await greedy.connect(host.key), key: host.key })
  peer.open()
  const asked = Array.from({ length: 65 }, () => peer.ask(hash, hash, signal).catch(() => {}))
  t.match(await told, [{ code: 'BAD_MESSAGE' }])
  await Promise.all(asked)
})

t.test('an exchange that is closed fetches no more and takes no stream', async (t) => {
  const { berth } = quay(t)
  const [pusher, host] = [await berth(), await berth()]
  const { list } = await aBundle(pusher.store, SIZES)
  pusher.store.read = () => new Promise(() => {})
  const fetching = host.exchange.fetch(list, { sources: { pusher: pusher.key } })
  host.exchange.close()
  await t.rejects(fetching, { code: 'CLOSED' })
  await t.rejects(host.exchange.fetch(list, { sources: {} }), { code: 'CLOSED' })
})

t.test(
  'a document is fetched by its hash, from the first who has it as it should be',
  async (t) => {
    const { berth } = quay(t)
    const [liar, honest, host] = [await berth(), await berth(), await berth()]
    const document = Buffer.from('{ "a": "release" }')
    const hash = await honest.store.write(document)
    liar.store.has = async () => true
    liar.store.read = async () => Buffer.from('another release')
    const sources = { seeders: [host.key, liar.key], pusher: honest.key }
    t.same(await host.exchange.fetchDocument(hash, { sources }), document)
    t.match(host.notices, [{ code: 'BAD_BUNDLE', message: new RegExp(liar.key) }])
    t.same(await host.exchange.fetchDocument(hash, { sources: {} }), document, 'it is kept')
    const nowhere = hashOf(Buffer.from('nowhere'))
    await t.rejects(host.exchange.fetchDocument(nowhere, { sources: {} }), { code: 'NO_INSTANCE' })
    await host.store.retain([hash])
    t.ok(await host.store.has(hash), 'a release that is kept stays')
  }
)

t.test('chunks go over links that are punched through a DHT', async (t) => {
  const bed = await Testbed.make(t)
  const store = async () => new ChunkStore(await aFolder(t), { minFree: 0 })
  const [mine, theirs] = [await store(), await store()]
  const network = await bed.network()
  const acceptor = new Acceptor({ dht: network.dht, keyPair: KeyPair() })
  const key = toHex(acceptor.publicKey)
  const options = { authorize: () => true, connect: () => Promise.reject(new Error('not needed')) }
  const host = new ChunkExchange({ ...options, store: theirs, key })
  acceptor.handle(CHUNKS, (stream, remote) => host.accept(stream, remote))
  await acceptor.ready()
  t.teardown(() => acceptor.close())
  const keyPair = KeyPair()
  const { dht } = await bed.network()
  const pool = new LinkPool({ connect: (remote) => dht.connect(remote, { keyPair }) })
  t.teardown(() => pool.close())
  const pusher = new ChunkExchange({
    store: mine,
    key: toHex(keyPair.publicKey),
    authorize: () => true,
    connect: (remote, signal) => pool.open(remote, { purpose: CHUNKS, signal })
  })
  const { list, entries } = await aBundle(mine, SIZES)
  await pusher.join(key)
  await host.fetch(list, { sources: { pusher: toHex(keyPair.publicKey) } })
  t.same(await theirs.missing(entries), [])
  pusher.close()
  host.close()
})

t.test('a link that is lost for a moment turns few chunks to the deployer', async (t) => {
  const { berth } = quay(t)
  const pusher = await berth()
  const [one, two] = [await berth(), await berth()]
  const { list, entries } = await aBundle(pusher.store, SIZES)
  const { write } = two.store
  let written = 0
  two.store.write = async (chunk) => {
    // The link between the hosts breaks once, and is made anew.
    if (++written === 10) for (const { initiator } of two.pairs) initiator.destroy()
    return write.call(two.store, chunk)
  }
  const sources = { pusher: pusher.key, peers: [one.key, two.key] }
  await Promise.all([one, two].map(({ exchange }) => exchange.fetch(list, { sources })))
  for (const { store } of [one, two]) t.same(await store.missing(entries), [])
  // As many as are asked for at a time, of each host, and the lists.
  const most = entries.length + 2 * 4 + 2 * 4 + 2
  t.ok(pusher.exchange.stats.sent <= most, `${pusher.exchange.stats.sent} of at most ${most}`)
})
