import { promisify } from 'node:util'
import { deflateRaw } from 'node:zlib'
import t, { type Test } from 'tap'
import { crypto } from '../../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Hyperbee } from '../../../lib/registry/log/hypercore.js'
import { Log } from '../../../lib/registry/log/log.js'
import type { LogValue } from '../../../lib/registry/log/log-value.js'
import { Maintenance } from '../../../lib/registry/log/maintenance.js'
import { Snapshots } from '../../../lib/registry/log/snapshots.js'
import type { Storage } from '../../../lib/registry/log/storage.js'
import { gone, recordOf } from '../../../lib/registry/trust/record.js'
import { checkSnapshot, signSnapshot } from '../../../lib/registry/trust/snapshot.js'
import { Testbed } from '../../testbed.js'
import { onDisk } from '../on-disk.js'
import { record } from '../records.js'

const deflate = promisify<Buffer, Buffer>(deflateRaw)
const registryKeyPair = KeyPair()
const logKey = toHex(KeyPair().publicKey)

async function shelf(t: Test): Promise<{ snapshots: Snapshots; storage: Storage; dir: string }> {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const storage = await testbed.storage(dir)
  return { storage, snapshots: new Snapshots(storage), dir }
}

async function read(snapshots: Snapshots, snapshot: Parameters<Snapshots['read']>[0]) {
  const lines: string[] = []
  for await (const some of snapshots.read(snapshot, { stall: 300 })) lines.push(...some)
  return lines
}

t.test(
  'what is written in a snapshot is read from it, and one takes the place of another',
  async (t) => {
    const { snapshots, storage } = await shelf(t)
    const values = Array.from({ length: 1200 }, (_, i) => record({ seq: i + 1 }, owner))
    const first = await snapshots.write(registryKeyPair, logKey, 5000, values)
    t.match(first, { logKey, length: 5000, values: 1200 })
    t.ok(first.blocks > 1, 'in pieces')
    t.strictSame(checkSnapshot(JSON.parse(JSON.stringify(first)), registryKeyPair.publicKey), first)
    t.equal(snapshots.held(logKey), null, 'not before it is there as a whole')
    await snapshots.hold(first)
    t.strictSame(
      await read(snapshots, first),
      values.map((value) => JSON.stringify(value))
    )
    const second = await snapshots.write(registryKeyPair, logKey, 6000, values.slice(0, 3))
    await snapshots.hold(second)
    t.equal(snapshots.held(logKey), second)
    t.equal((await read(snapshots, second)).length, 3)
    t.equal((await read(snapshots, first)).length, 1200, 'for those who are still at it')
    await snapshots.hold(await snapshots.write(registryKeyPair, logKey, 7000, values.slice(0, 4)))
    t.equal(await onDisk(storage.store, first.key), 0, 'its place is given back')
    await t.rejects(read(snapshots, first), { code: 'CLOSED' })
  }
)

const owner = KeyPair()

t.test('what a crash left of a snapshot is cleared in the next run', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const storage = await testbed.storage(dir)
  const left = await new Snapshots(storage).write(registryKeyPair, logKey, 1, [record()])
  t.equal(await onDisk(storage.store, left.key), 1)
  await storage.close()
  const again = await testbed.storage(dir)
  await new Snapshots(again).sweep()
  t.equal(await onDisk(again.store, left.key), 0)
  t.strictSame(again.memory.strays, {})
})

t.test('nobody but the registry can say what a snapshot is', async (t) => {
  const fields = { logKey, length: 7, key: logKey, blocks: 1, values: 1 }
  const snapshot = signSnapshot(registryKeyPair, fields)
  const check = (value: unknown) => () => checkSnapshot(value, registryKeyPair.publicKey)
  t.throws(check(signSnapshot(KeyPair(), fields)), { code: 'BAD_MESSAGE' })
  const forged = { ...signSnapshot(KeyPair(), fields), registry: snapshot.registry }
  t.throws(check(forged), { code: 'BAD_SIGNATURE' })
  for (const change of [{ length: 8 }, { logKey: toHex(owner.publicKey) }, { blocks: 2 }]) {
    t.throws(check({ ...snapshot, ...change }), { code: 'BAD_SIGNATURE' })
  }
  const bad = [{ length: -1 }, { blocks: 1.5 }, { key: 'no key' }, { type: 'hyperseaport/x/1' }]
  for (const change of bad) t.throws(check({ ...snapshot, ...change }))
  for (const value of [null, [], 'x', {}, { signature: 1 }]) t.throws(check(value))
})

const HOSTILE = {
  'is not deflated': [Buffer.from('{"type":"hyperseaport/record/1"}')],
  'is empty': [Buffer.alloc(0)],
  'is cut off': [(await deflate(crypto.randomBytes(5000))).subarray(0, 2000)],
  'unfolds to very much': [await deflate(Buffer.alloc(64 * 1024 * 1024, ' '))]
}

for (const [what, blocks] of Object.entries(HOSTILE)) {
  t.test(`a registrar’s block that ${what} ends the reading, and no more`, async (t) => {
    const { snapshots, storage } = await shelf(t)
    const core = storage.store.get({ keyPair: KeyPair() })
    await core.ready()
    for (const block of blocks) await core.append(block)
    const fields = { logKey, length: 9, key: toHex(core.key), blocks: blocks.length, values: 1 }
    const snapshot = signSnapshot(registryKeyPair, fields)
    const before = process.memoryUsage().rss
    await t.rejects(read(snapshots, snapshot), { code: 'BAD_MESSAGE' })
    t.ok(process.memoryUsage().rss - before < 16 * 1024 * 1024)
    await core.close()
  })
}

t.test('one that says it has more blocks than come is given up', async (t) => {
  const { snapshots } = await shelf(t)
  const written = await snapshots.write(registryKeyPair, logKey, 3, [record()])
  await t.rejects(read(snapshots, { ...written, blocks: 2 ** 40 }), { code: 'CLOSED' })
})

t.test(
  'a log that is kept short says the same as ever, to us after a crash and to any Hyperbee tool',
  async (t) => {
    const testbed = await Testbed.make(t)
    const dir = await testbed.dir()
    const storage = await testbed.storage(dir)
    const snapshots = new Snapshots(storage)
    const log = new Log(storage.store.get({ name: 'log' }), { snapshots })
    await log.ready()
    const maintenance = new Maintenance({
      log,
      snapshots,
      keyPair: registryKeyPair,
      compact: async () => {},
      minTail: 50
    })
    const keyPairs = Array.from({ length: 40 }, () => KeyPair())
    const expected = new Map<string, LogValue>()
    let seq = 0
    // Clearing goes on beside the writing, as fast as it can.
    while (seq < 30 || (log.stats.cleared <= 200 && seq < 300)) {
      seq++
      const some = keyPairs.filter((_, i) => (i * seq) % 7 < 3)
      const values = some.map((keyPair, i) => {
        const one = record({ seq, version: `1.${(i + seq) % 3}.0` }, keyPair)
        return i % 9 === 0 ? gone(one) : one
      })
      for (const value of values) expected.set(recordOf(value).key, value)
      await Promise.all(values.map((value) => log.put(value)))
    }
    await maintenance.close()
    const last = record({ seq: ++seq }, keyPairs[0])
    expected.set(last.key, last)
    await log.put(last)
    const snapshot = snapshots.held(log.key)
    t.ok(snapshot && snapshot.length < log.length)
    t.ok(log.stats.cleared > 200, `${log.stats.cleared} of ${log.length} blocks are cleared`)

    const bee = new Hyperbee<LogValue>(storage.store.get({ name: 'log' }), {
      keyEncoding: 'utf-8',
      valueEncoding: 'json'
    })
    await bee.ready()
    const found: LogValue[] = []
    for await (const { value } of bee.createReadStream()) found.push(value)
    await bee.close()
    t.strictSame(sorted(found), sorted(expected.values()))

    await log.close()
    for (const reopened of [new Snapshots(storage), null]) {
      const again = new Log(storage.store.get({ name: 'log' }), { snapshots: reopened })
      await again.ready()
      t.strictSame(sorted(again.values()), sorted(expected.values()))
      const one = record({ seq: ++seq, version: '9.9.9' }, keyPairs[3])
      expected.set(one.key, one)
      await again.put(one)
      await again.close()
    }
  }
)

function sorted(values: Iterable<LogValue>): string[] {
  return [...values].map((value) => JSON.stringify(value)).sort()
}
