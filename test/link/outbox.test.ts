import t from 'tap'
import { DATA, MAX_CREDIT, type OutgoingFrame, PACKET_BYTES } from '../../lib/link/frames.js'
import { Outbox } from '../../lib/link/outbox.js'
import { LinkStream } from '../../lib/link/stream.js'
import { LINK_BUDGET, Window } from '../../lib/link/window.js'

const CHUNK = Buffer.alloc(64 * 1024)

t.test('what is read a little faster than packets are full leaves in full packets', async (t) => {
  const chunks = 20
  const sent = await sizesOf(chunks, true)
  const total = sent.reduce((sum, size) => sum + size, 0)
  t.equal(total, chunks * CHUNK.byteLength)
  t.equal(sent.length, chunks + 1, 'and the rest in one more')
  t.ok(sent.slice(0, -1).every((size) => size > PACKET_BYTES - 100))
})

t.test('the rest of what was read leaves soon, also when no more follows', async (t) => {
  const sent = await sizesOf(1, false)
  t.equal(sent.length, 2)
})

/** The packets in which so many chunks leave by a connection that is full after each, and drains soon. */
async function sizesOf(chunks: number, ends: boolean): Promise<number[]> {
  const sizes: number[] = []
  let left = chunks
  await new Promise<void>((resolve) => {
    const outbox: Outbox = new Outbox({
      send(frames) {
        sizes.push(frames.reduce((sum, frame) => sum + bytesOf(frame), 0))
        if (left === 0 && stream.unsent === 0) resolve()
        process.nextTick(() => outbox.drain())
        return false
      },
      askForRoom: () => PACKET_BYTES,
      onoverflow: () => {}
    })
    const stream = new LinkStream({
      id: 1,
      carrier: { schedule: (stream) => outbox.schedule(stream), cut() {}, finish() {} },
      credit: MAX_CREDIT,
      window: new Window({ left: LINK_BUDGET })
    })
    const write = () => {
      left--
      stream.write(CHUNK)
      if (left === 0 && ends) stream.end()
    }
    const ondrain = () => left > 0 && setImmediate(write)
    stream.attach({ ondata: () => true, onend() {}, ondrain, onclose() {} })
    write()
  })
  return sizes
}

function bytesOf(frame: OutgoingFrame): number {
  return frame.type === DATA ? frame.byteLength : 0
}
