import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { Corestore, Hyperbee } from '../../../lib/registry/log/hypercore.js'
import { Log } from '../../../lib/registry/log/log.js'
import type { LogValue } from '../../../lib/registry/log/log-value.js'
import { gone } from '../../../lib/registry/trust/record.js'
import { Testbed } from '../../testbed.js'
import { record } from '../records.js'

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
