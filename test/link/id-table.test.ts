import t from 'tap'
import { IdTable } from '../../lib/link/id-table.js'
import { randomFrom } from '../random.js'

t.test('a table finds what a Map finds, however numbers come and go', async (t) => {
  for (const [kept, step] of [
    [32, 2],
    [500, 2],
    [500, 1],
    // All at home in the same few places.
    [200, 128],
    [200, 2 ** 31 + 2]
  ] as const) {
    const random = randomFrom(kept + step)
    const table = new IdTable<string>()
    const map = new Map<number, string>()
    for (let i = 0; i < 3000; i++) {
      const id = 1 + i * step
      table.set(id, `${id}`)
      map.set(id, `${id}`)
      const victims = [...map.keys()].filter(() => map.size > kept && random() < 2 / kept)
      for (const victim of victims) {
        table.delete(victim)
        map.delete(victim)
      }
      if (i % 100 > 0) continue
      t.equal(table.size, map.size)
      t.strictSame(table.values().sort(), [...map.values()].sort())
      t.ok([...map].every(([id, value]) => table.get(id) === value))
      t.equal(table.get(id + step), undefined)
    }
  }
})

t.test('a number may get another value, and lose one that it has not', async (t) => {
  const table = new IdTable<string>()
  table.set(7, 'opening')
  table.set(7, 'open')
  t.equal(table.get(7), 'open')
  table.delete(9)
  t.equal(table.size, 1)
  table.clear()
  t.equal(table.size, 0)
  t.equal(table.get(7), undefined)
})
