import { once } from 'node:events'
import { promisify } from 'node:util'
import { deflateRaw } from 'node:zlib'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Log } from '../../../lib/registry/log/log.js'
import { Maintenance } from '../../../lib/registry/log/maintenance.js'
import { Snapshots } from '../../../lib/registry/log/snapshots.js'
import type { Storage } from '../../../lib/registry/log/storage.js'
import { Follower, type FollowerOptions } from '../../../lib/registry/replica/follower.js'
import { gone, isGone, type LogEntry, recordOf } from '../../../lib/registry/trust/record.js'
import { type Snapshot, signSnapshot } from '../../../lib/registry/trust/snapshot.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { secretPair } from '../../link/pair.js'
import { restWhile } from '../../rest.js'
import { Testbed } from '../../testbed.js'
import { NOTE, type Note, note } from '../notes.js'
import { onDisk } from '../on-disk.js'
import { record, registry } from '../records.js'

const deflate = promisify<string, Buffer>(deflateRaw)
const MIN_TAIL = 50
const registryKeyPair = KeyPair()

/** A registrar's log, and what it takes to keep it short. */
async function writer(testbed: Testbed, kinds = new StatementKinds()) {
  const storage = await testbed.storage()
  const snapshots = new Snapshots(storage)
  const log = new Log(storage.store.get({ name: 'log' }), { snapshots, kinds })
  testbed.teardown(() => log.close())
  await log.ready()
  const compact = async () => {}
  const options = { log, snapshots, keyPair: registryKeyPair, compact, minTail: MIN_TAIL }
  const maintenance = new Maintenance(options)
  testbed.teardown(() => maintenance.close())
  /** Writes so many values of 20 instances, each a batch. */
  let seq = 0
  const write = async (count: number) => {
    for (let i = 0; i < count; i++) await log.put(record({ seq: ++seq }, keyPairs[i % 20]))
  }
  return { storage, snapshots, log, maintenance, write, held: () => snapshots.held(log.key) }
}

const keyPairs = Array.from({ length: 20 }, () => KeyPair())

/** One that follows it. */
async function reader(
  testbed: Testbed,
  logKey: string,
  options: Partial<FollowerOptions> & { storage?: Storage } = {}
) {
  const storage = options.storage ?? (await testbed.storage())
  const entries = new Map<string, LogEntry>()
  const notices: SeaportError[] = []
  const follower = new Follower({
    open: (options) => storage.store.get({ key: Buffer.from(logKey, 'hex'), ...options }),
    registry,
    snapshots: new Snapshots(storage),
    onentries: (some) => {
      for (const [key, entry] of some) entries.set(key, entry)
    },
    onretain: (keys) => {
      for (const key of entries.keys()) if (!keys.has(key)) entries.delete(key)
    },
    kinds: new StatementKinds(),
    onstatement: () => {},
    stall: 500,
    minTail: MIN_TAIL,
    spread: 0,
    ...options
  })
  follower.on('notice', (notice) => notices.push(notice))
  testbed.teardown(() => follower.close())
  await follower.ready()
  return { storage, follower, entries, notices }
}

/** Connects two stores, until the function that it returns is called. */
function connect(t: Test, a: { storage: Storage }, b: { storage: Storage }) {
  const { initiator, responder, freeze } = secretPair(t)
  a.storage.store.replicate(initiator)
  b.storage.store.replicate(responder)
  return { cut: () => initiator.destroy(), freeze }
}

async function reached(follower: Follower, length: number) {
  while (follower.applied < length) await once(follower, 'applied')
}

t.test(
  'a newcomer takes a snapshot and what came after it, and has all that the next one needs',
  async (t) => {
    const testbed = await Testbed.make(t)
    const source = await writer(testbed)
    await source.write(300)
    await source.maintenance.close()
    await source.write(10)
    const { log } = source
    const first = await reader(testbed, log.key)
    const line = connect(t, source, first)
    first.follower.offer(log.length, source.held())
    await reached(first.follower, log.length)
    t.equal(first.entries.size, 20)
    t.strictSame(first.follower.held, source.held())
    const tail = log.length - (source.held()?.length ?? 0)
    t.ok(
      (await onDisk(first.storage.store, log.key)) <= tail,
      'it read nothing that it did not need'
    )

    line.cut()
    const second = await reader(testbed, log.key)
    connect(t, first, second)
    second.follower.offer(first.follower.applied, first.follower.held)
    await reached(second.follower, log.length)
    t.strictSame(new Map(second.entries), new Map(first.entries))
  }
)

t.test(
  'who was away while all was overwritten many times catches up, and keeps little',
  async (t) => {
    const testbed = await Testbed.make(t)
    const source = await writer(testbed)
    const { log } = source
    await source.write(60)
    const first = await reader(testbed, log.key)
    const line = connect(t, source, first)
    first.follower.offer(log.length, source.held())
    await reached(first.follower, log.length)
    line.cut()
    const [one] = keyPairs
    await source.write(1500)
    if (one) await log.put(gone(record({ seq: 5000 }, one)))
    connect(t, source, first)
    first.follower.offer(log.length, source.held())
    await reached(first.follower, log.length)
    t.equal([...first.entries.values()].filter(isGone).length, 1)
    t.strictSame(
      [...first.entries.values()].map((entry) => JSON.stringify(entry)).sort(),
      log
        .entries()
        .map((entry) => JSON.stringify(entry))
        .sort()
    )
    // Both go on clearing, the writer beside the writing, as fast as they can.
    await restWhile(async () => (await onDisk(first.storage.store, log.key)) >= 600)
    while ((await onDisk(source.storage.store, log.key)) >= 600) await source.write(20)
  }
)

t.test('who follows all along fetches a snapshot now and then, and passes it on', async (t) => {
  const testbed = await Testbed.make(t)
  const source = await writer(testbed)
  const { log } = source
  const first = await reader(testbed, log.key)
  const line = connect(t, source, first)
  source.maintenance.on('snapshot', (snapshot) => first.follower.offer(log.length, snapshot))
  await source.write(200)
  await source.maintenance.close()
  while (first.follower.held?.key !== source.held()?.key) await once(first.follower, 'held')
  await reached(first.follower, log.length)
  t.ok((await onDisk(first.storage.store, log.key)) < log.length, 'blocks before it are cleared')
  line.cut()

  const again = await reader(testbed, log.key)
  connect(t, first, again)
  again.follower.offer(first.follower.applied, first.follower.held)
  await reached(again.follower, log.length)
  t.strictSame(new Map(again.entries), new Map(first.entries))
})

t.test('who comes back has on disk what it had read', async (t) => {
  const testbed = await Testbed.make(t)
  const source = await writer(testbed)
  const { log } = source
  await source.write(120)
  await source.maintenance.close()
  await source.write(7)
  const first = await reader(testbed, log.key)
  connect(t, source, first)
  first.follower.offer(log.length, source.held())
  await reached(first.follower, log.length)
  const { storage, follower } = first
  const { applied } = follower
  await follower.close()
  const again = await reader(testbed, log.key, { storage, applied })
  t.equal(again.follower.applied, applied, 'before anybody was asked')
  t.strictSame(new Map(again.entries), new Map(first.entries))
})

t.test(
  'a peer that names a snapshot and never sends it does not keep others from sending theirs',
  async (t) => {
    const testbed = await Testbed.make(t)
    const source = await writer(testbed)
    const { log } = source
    await source.write(120)
    await source.maintenance.close()
    await source.write(3)
    const good = source.held() as Snapshot
    const nobodys = toHex(KeyPair().publicKey)
    const { length, blocks, values } = good
    const first = await reader(testbed, log.key)
    const fields = { logKey: log.key, length: length + 1, key: nobodys, blocks, values }
    first.follower.offer(log.length, signSnapshot(registryKeyPair, fields))
    const honest = await reader(testbed, log.key)
    connect(t, source, honest)
    honest.follower.offer(log.length, good)
    await reached(honest.follower, log.length)
    connect(t, honest, first)
    first.follower.offer(log.length, honest.follower.held)
    await reached(first.follower, log.length)
    t.strictSame(new Map(first.entries), new Map(honest.entries))
  }
)

t.test('a peer that stops in the middle of a snapshot is overtaken by another', async (t) => {
  const testbed = await Testbed.make(t)
  const source = await writer(testbed)
  const { log } = source
  await source.write(120)
  await source.maintenance.close()
  const first = await reader(testbed, log.key)
  const line = connect(t, source, first)
  await once(first.follower.core, 'peer-add')
  line.freeze()
  first.follower.offer(log.length, source.held())
  const honest = await reader(testbed, log.key)
  connect(t, source, honest)
  honest.follower.offer(log.length, source.held())
  await reached(honest.follower, log.length)
  connect(t, honest, first)
  await reached(first.follower, log.length)
  t.equal(first.entries.size, 20)
})

t.test(
  'what a registrar’s snapshot should not hold is reported once, and the rest is read',
  async (t) => {
    const testbed = await Testbed.make(t)
    const source = await writer(testbed)
    const { log, storage } = source
    await source.write(40)
    const good = record({ seq: 1 })
    const lines = ['', 'null', '{"type":"x"}', '[]', JSON.stringify({ ...good, role: 7 })]
    const texts = [[...lines, JSON.stringify(good)].join('\n'), JSON.stringify(record({ seq: 1 }))]
    const core = storage.store.get({ keyPair: KeyPair() })
    await core.ready()
    for (const text of texts) await core.append(await deflate(text))
    const fields = { logKey: log.key, length: 30, key: toHex(core.key), blocks: 2, values: 2 }
    const first = await reader(testbed, log.key)
    connect(t, source, first)
    first.follower.offer(log.length, signSnapshot(registryKeyPair, fields))
    await reached(first.follower, log.length)
    t.ok(first.entries.has(good.key))
    t.strictSame(
      first.notices.map(({ code }) => code),
      ['BAD_MESSAGE']
    )
    await core.close()
  }
)

t.test('a snapshot that cannot be read is passed over: the log itself is read', async (t) => {
  const testbed = await Testbed.make(t)
  const source = await writer(testbed)
  const { log, storage } = source
  await source.write(40)
  const core = storage.store.get({ keyPair: KeyPair() })
  await core.ready()
  await core.append(Buffer.from('no snapshot'))
  const fields = { logKey: log.key, length: 30, key: toHex(core.key), blocks: 1, values: 2 }
  const first = await reader(testbed, log.key)
  connect(t, source, first)
  first.follower.offer(log.length, signSnapshot(registryKeyPair, fields))
  await reached(first.follower, log.length)
  t.equal(first.entries.size, 20)
  await core.close()
})

t.test(
  'a snapshot carries statements of every kind; who knows the kind reads it, who does not says nothing',
  async (t) => {
    const testbed = await Testbed.make(t)
    const kinds = new StatementKinds([NOTE])
    const source = await writer(testbed, kinds)
    const said = note(registry, KeyPair())
    await source.log.put(said)
    await source.write(120)
    await source.maintenance.close()
    const snapshot = source.held() as Snapshot
    t.ok(snapshot.length > 2, 'its block is before the snapshot')
    for (const [known, expected] of [
      [kinds, [said]],
      [new StatementKinds(), []]
    ] as const) {
      const heard: Note[] = []
      const one = await reader(testbed, source.log.key, {
        kinds: known,
        onstatement: (statement) => heard.push(statement as Note)
      })
      connect(t, source, one)
      one.follower.offer(source.log.length, snapshot)
      await reached(one.follower, source.log.length)
      t.strictSame(heard, expected)
      t.equal(one.entries.size, 20)
      t.strictSame(one.notices, [])
    }
  }
)

t.test(
  'a log that is copied anew says nothing that is older than what was read of it',
  async (t) => {
    const testbed = await Testbed.make(t)
    for (const hasSnapshot of [false, true]) {
      const source = await writer(testbed)
      await source.write(100)
      if (hasSnapshot) await source.maintenance.close()
      await source.write(45)
      const { log } = source
      const first = await reader(testbed, log.key)
      const line = connect(t, source, first)
      first.follower.offer(log.length, source.held())
      await reached(first.follower, log.length)
      line.cut()
      await source.write(10)
      const latest = new Map(log.entries().map((entry) => [recordOf(entry).key, entry]))
      const said: [string, LogEntry][] = []
      const retained: ReadonlySet<string>[] = []
      const second = await reader(testbed, log.key, {
        before: first.follower,
        onentries: (some) => void said.push(...some),
        onretain: (keys) => void retained.push(keys)
      })
      connect(t, source, second)
      second.follower.offer(log.length, source.held())
      await reached(second.follower, log.length)
      const seqs = (entries: Iterable<[string, LogEntry]>) =>
        new Map([...entries].map(([key, entry]) => [key, recordOf(entry).seq]))
      t.same(seqs(said), seqs(latest), 'all of it was read')
      for (const [key, entry] of said) {
        const known = first.entries.get(key)
        t.ok(known && recordOf(entry).seq >= recordOf(known).seq)
      }
      for (const keys of retained) t.equal(keys.size, 20)
    }
  }
)
