import t from 'tap'
import { MEMORY, StreamMemory } from '../../lib/link/memory.js'
import { idleStream } from './pair.js'

t.test('each stream takes less when much waits, and never nothing', async (t) => {
  const memory = new StreamMemory(1000)
  const ample = memory.share
  memory.waiting = 1001
  t.ok(memory.share < ample)
  t.ok(memory.share > 0)
  t.notOk(memory.isScarce)
  memory.waiting = 2001
  t.ok(memory.isScarce)
})

t.test('what ten thousand streams take whose readers do not read is bounded', async (t) => {
  const before = MEMORY.waiting
  const chunk = Buffer.alloc(8 * 1024)
  const streams = Array.from({ length: 10_000 }, idleStream)
  for (const stream of streams) while (stream.write(chunk));
  const taken = MEMORY.waiting - before
  t.ok(taken < 256 * 1024 * 1024, `${taken} bytes in all`)
  t.ok(
    streams.every(({ unsent }) => unsent > 0),
    'and each has its part'
  )
  for (const stream of streams) stream.destroy()
  t.equal(MEMORY.waiting, before, 'and all of it is given back')
})
