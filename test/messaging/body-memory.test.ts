import t from 'tap'
import { BodyMemory } from '../../lib/messaging/body-memory.js'
import { restWhile } from '../rest.js'
import { bay, deferred } from './bay.js'

t.test('one sender has half of the room, and all have no more than there is', async (t) => {
  const memory = new BodyMemory(100)
  const [a, b, c] = [memory.open('a'), memory.open('b'), memory.open('c')]
  a.take(50)
  t.throws(() => memory.open('a').take(1), { code: 'BUSY', executed: 'no' })
  b.take(40)
  t.throws(() => c.take(20), { code: 'BUSY' })
  c.take(10)
  t.equal(memory.held, 100)
  a.release()
  a.release()
  a.take(10)
  t.equal(memory.held, 50, 'what was released counts no more')
  b.release()
  c.release()
  t.equal(memory.held, 0)
})

t.test(
  'large calls beyond the room are told BUSY, and it is free again after the others',
  async (t) => {
    const open = deferred()
    const began = deferred()
    const memory = new BodyMemory(4_000_000)
    const keep = async (data: Buffer) => {
      began.resolve()
      await open.promise
      return data.byteLength
    }
    const { sender } = await bay(t, { instances: { a: { keep } }, service: { memory } })
    const large = Buffer.alloc(1_500_000)
    const first = sender.send('keep', large)
    await began.promise
    t.ok(memory.held > 1_000_000, `${memory.held} bytes are held`)
    await t.rejects(sender.send('keep', large), { code: 'BUSY', executed: 'no' })
    open.resolve()
    t.equal(await first, large.byteLength)
    await restWhile(() => memory.held > 0)
    t.equal(await sender.send('keep', large), large.byteLength)
    await restWhile(() => memory.held > 0)
  }
)
