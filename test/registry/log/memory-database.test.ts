import t from 'tap'
import { MemoryDatabase } from '../../../lib/registry/log/memory-database.js'
import { makeStore } from '../../../lib/registry/log/store.js'
import { secretPair } from '../../link/pair.js'

const BLOCKS = 300

t.test(
  'a log in memory is as one on a disk: written, cleared, closed and opened again',
  async (t) => {
    for (const [place, store] of [
      ['disk', makeStore(t.testdir())],
      ['memory', makeStore(new MemoryDatabase())]
    ] as const) {
      t.teardown(() => store.close())
      const log = store.get({ name: 'log' })
      await log.ready()
      for (let i = 0; i < BLOCKS; i++) await log.append(Buffer.from(`block ${i}`))
      await log.clear(10, 250)
      await log.close()
      const again = store.get({ key: log.key })
      await again.ready()
      t.equal(again.length, BLOCKS, place)
      const found = await Promise.all(
        [9, 10, 249, 250].map((i) => again.get(i, { wait: false }).catch(() => null))
      )
      t.same(found.map(String), ['block 9', 'null', 'null', 'block 250'], place)
    }
  }
)

t.test('a log is copied into memory, and from there', async (t) => {
  const first = makeStore(t.testdir())
  const second = makeStore(new MemoryDatabase())
  const third = makeStore(new MemoryDatabase())
  for (const store of [first, second, third]) t.teardown(() => store.close())
  const log = first.get({ name: 'log' })
  for (let i = 0; i < BLOCKS; i++) await log.append(Buffer.from(`block ${i}`))
  for (const [from, to] of [
    [first, second],
    [second, third]
  ] as const) {
    const { initiator, responder } = secretPair(t)
    from.replicate(initiator)
    to.replicate(responder)
    const copy = to.get({ key: log.key })
    t.equal(String(await copy.get(0)), 'block 0')
    t.equal(String(await copy.get(BLOCKS - 1)), `block ${BLOCKS - 1}`)
    for (let i = 0; i < BLOCKS; i++) await copy.get(i)
  }
})

t.test('a snapshot of it shows what was there, whatever is written later', async (t) => {
  const database = new MemoryDatabase()
  await database.ready()
  const [a, b] = [Buffer.from('a'), Buffer.from('b')]
  const write = async (change: (writes: ReturnType<MemoryDatabase['write']>) => void) => {
    const writes = database.write()
    change(writes)
    await writes.flush()
  }
  await write((writes) => writes.tryPut(a, 'one'))
  const before = database.snapshot()
  await write((writes) => {
    writes.tryDelete(a)
    writes.tryPut(b, 'two')
  })
  t.same([await before.get(a), await before.get(b)].map(String), ['one', 'null'])
  t.same([await database.get(a), await database.get(b)].map(String), ['null', 'two'])
  await write((writes) => writes.tryDeleteRange(a, Buffer.from('c')))
  t.equal(await database.get(b), null)
})
