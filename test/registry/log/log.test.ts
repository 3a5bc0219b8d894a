import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Corestore, Hyperbee } from '../../../lib/registry/log/hypercore.js'
import { Log } from '../../../lib/registry/log/log.js'
import type { LogValue } from '../../../lib/registry/log/log-value.js'
import { Maintenance } from '../../../lib/registry/log/maintenance.js'
import { Snapshots } from '../../../lib/registry/log/snapshots.js'
import { gone } from '../../../lib/registry/trust/record.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { Testbed } from '../../testbed.js'
import { NOTE, note } from '../notes.js'
import { record, registry } from '../records.js'

t.test(
  'what a log was told, in whatever batches, stands in its bee for every other reader',
  async (t) => {
    const testbed = await Testbed.make(t)
    const store = new Corestore(await testbed.dir())
    t.teardown(() => store.close())
    const log = new Log(store.get({ name: 'log' }))
    await log.ready()
    const written: string[] = []
    log.on('written', (values: LogValue[]) => written.push(...values.map(({ type }) => type)))
    const keyPairs = Array.from({ length: 60 }, () => KeyPair())
    const expected = new Map<string, LogValue>()
    let puts = 0
    // Batches of growing sizes, each with new places, overwritten ones and some that are left for others.
    for (let round = 1; round <= 12; round++) {
      const some = keyPairs.filter((_, i) => (i * round) % 5 < 3)
      const values = some.map((keyPair, i) => {
        const version = `1.0.${(i * round) % 4}`
        const one = record({ seq: round, version }, keyPair)
        return i % 7 === 0 ? gone(one) : one
      })
      for (const [i, value] of values.entries()) {
        expected.set(toHex((some[i] as KeyPair).publicKey), value)
      }
      await Promise.all(values.map((value) => log.put(value)))
      puts += values.length
    }
    t.equal(written.length, puts, 'each write was told')
    const bee = new Hyperbee<LogValue>(store.get({ name: 'log' }), {
      keyEncoding: 'utf-8',
      valueEncoding: 'json'
    })
    await bee.ready()
    const found = new Map<string, LogValue>()
    const places: string[] = []
    for await (const { key: place, value } of bee.createReadStream()) {
      places.push(place)
      found.set(place.slice(place.lastIndexOf('/') + 1), value)
    }
    t.strictSame([...found].sort(), [...expected].sort())
    t.equal(places.length, expected.size, 'no place is left behind')
    t.strictSame(places, places.toSorted(), 'in order')
    await bee.close()
  }
)

t.test(
  'a registrar of an older build loses nothing of the kinds that it does not know',
  async (t) => {
    const testbed = await Testbed.make(t)
    const storage = await testbed.storage()
    const snapshots = new Snapshots(storage)
    const kinds = new StatementKinds([NOTE])
    const keyPair = KeyPair()
    const open = async (name: string, options = {}) => {
      const log = new Log(storage.store.get({ name }), { snapshots, ...options })
      testbed.teardown(() => log.close())
      await log.ready()
      return log
    }
    const newer = await open('log', { kinds })
    const last = note(registry, keyPair, { seq: 2 })
    await newer.put(note(registry, keyPair))
    await newer.put(record({}, keyPair))
    await newer.put(last)
    await newer.close()

    // It writes on, makes snapshots, and clears what they stand for.
    const older = await open('log')
    t.equal(older.size, 2, 'of one place it has the last value')
    await t.rejects(older.put(last), { code: 'UNKNOWN_KIND' })
    const compact = async () => {}
    const maintenance = new Maintenance({ log: older, snapshots, keyPair, compact, minTail: 20 })
    for (let seq = 2; seq < 200; seq++) await older.put(record({ seq }, keyPair))
    await maintenance.close()
    t.ok(snapshots.held(older.key) && older.stats.cleared > 0)
    await older.close()

    const olderAgain = await open('log')
    t.equal(olderAgain.size, 2)
    // As it does when others have more of its log than it has.
    const anew = await open('anew')
    await anew.adopt(olderAgain)
    await anew.close()
    await olderAgain.close()

    for (const name of ['log', 'anew']) {
      const again = await open(name, { kinds })
      t.ok(again.has(last), name)
      t.strictSame(
        again.values().filter(({ type }) => type === NOTE.type),
        [last]
      )
      await again.put(note(registry, keyPair, { seq: 3 }))
      t.equal(again.size, 2, 'a later one takes its place')
      await again.close()
    }
  }
)
