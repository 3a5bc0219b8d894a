import t from 'tap'
import { HalfOpen } from '../../lib/gateway/half-open.js'

t.test('who sends no more is gone when nothing was written for a second', async (t) => {
  const socket = { readableEnded: false, bytesWritten: 0, writableLength: 0 }
  const halfOpen = new HalfOpen(socket)
  t.notOk(halfOpen.hasLeft(0))
  t.notOk(halfOpen.hasLeft(60_000), 'it may still ask')
  socket.readableEnded = true
  t.notOk(halfOpen.hasLeft(60_000))
  t.notOk(halfOpen.hasLeft(61_000))
  socket.bytesWritten = 1
  t.notOk(halfOpen.hasLeft(61_500), 'something was written meanwhile')
  socket.writableLength = 1
  t.notOk(halfOpen.hasLeft(70_000), 'it has not taken all')
  socket.writableLength = 0
  t.notOk(halfOpen.hasLeft(71_000))
  t.ok(halfOpen.hasLeft(71_001))
})
