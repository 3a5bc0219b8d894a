import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { DATA, MAX_CREDIT, type OutgoingFrame, PACKET_BYTES } from '../../lib/link/frames.js'
import { MEMORY } from '../../lib/link/memory.js'
import { Outbox } from '../../lib/link/outbox.js'
import { LinkStream } from '../../lib/link/stream.js'
import { LINK_BUDGET, Window } from '../../lib/link/window.js'

const CHUNK = Buffer.alloc(64 * 1024)

t.test('what is read a little faster than packets are full leaves in full packets', async (t) => {
  // A machine that is busy may take longer between two turns than a rest waits; this clock goes by turns.
  let now = 0
  t.intercept(performance, 'now', {
    value: () => {
      now += 0.05
      return now
    }
  })
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

t.test('what fills a packet leaves at once, until others have to have their turn', async (t) => {
  let packets = 0
  const outbox = outboxOf(() => ++packets > 0)
  const one = streamOf(outbox)
  one.write(CHUNK.subarray(0, 100))
  t.equal(packets, 0, 'little waits for more')
  one.write(CHUNK)
  t.equal(packets, 1)

  const other = streamOf(outbox)
  other.write(CHUNK.subarray(0, 100))
  one.write(CHUNK)
  t.equal(packets, 1, 'two take turns')
  await turn()
  t.ok(packets > 1)

  packets = 0
  const many = 100
  for (let i = 0; i < many; i++) one.write(CHUNK)
  t.ok(packets > 1)
  t.ok(packets < many, `${packets} packets ahead of all else`)
})

t.test('what somebody waits for leaves at once if it is alone, and else together', async (t) => {
  const packets: number[] = []
  const outbox = outboxOf((frames) => packets.push(frames.length) > 0)
  const streams = Array.from({ length: 3 }, () => streamOf(outbox))
  let now = 0
  t.intercept(performance, 'now', { value: () => now })
  const say = (stream: LinkStream | undefined) => stream?.write(CHUNK.subarray(0, 100), true)
  say(streams[0])
  t.strictSame(packets, [1], 'it may be alone')
  say(streams[1])
  say(streams[2])
  t.strictSame(packets, [1], 'it was not')
  await turn()
  t.strictSame(packets, [1, 2])
  now += 1
  say(streams[0])
  t.strictSame(packets, [1, 2], 'and others may come this time')
  await turn()
  t.strictSame(packets, [1, 2, 1])
  now += 1
  say(streams[0])
  t.strictSame(packets, [1, 2, 1, 1])
})

t.test('what a stream is given in its turn leaves after what it had', async (t) => {
  const left: Buffer[] = []
  const outbox = outboxOf((frames) => {
    for (const frame of frames) if (frame.type === DATA) left.push(...frame.parts)
    return true
  })
  const stream = streamOf(outbox)
  let written = 0
  const write = () => {
    let isWelcome = true
    while (isWelcome && written < 10) isWelcome = stream.write(Buffer.alloc(200 * 1024, written++))
  }
  stream.attach({ ondata: () => true, onend() {}, ondrain: write, onclose() {} })
  streamOf(outbox).write(Buffer.alloc(1))
  write()
  await turn()
  const order = left.map((part) => part[0] as number)
  t.equal(written, 10)
  t.same(
    order,
    order.toSorted((a, b) => a - b)
  )
})

/** The packets in which so many chunks leave by a connection that is full after each, and drains soon. */
async function sizesOf(chunks: number, ends: boolean): Promise<number[]> {
  const sizes: number[] = []
  let left = chunks
  await new Promise<void>((resolve) => {
    const outbox = outboxOf((frames) => {
      sizes.push(frames.reduce((sum, frame) => sum + bytesOf(frame), 0))
      if (left === 0 && stream.unsent === 0) resolve()
      process.nextTick(() => outbox.drain())
      return false
    })
    const stream = streamOf(outbox)
    const write = () => {
      let isWelcome = true
      while (isWelcome && left > 0) {
        left--
        isWelcome = stream.write(CHUNK)
      }
      if (left === 0 && ends) stream.end()
    }
    const ondrain = () => left > 0 && setImmediate(write)
    stream.attach({ ondata: () => true, onend() {}, ondrain, onclose() {} })
    write()
  })
  return sizes
}

/** On a connection that has room. */
function outboxOf(send: (frames: OutgoingFrame[]) => boolean): Outbox {
  return new Outbox({ send, askForRoom: () => PACKET_BYTES, onoverflow: () => {} })
}

function streamOf(outbox: Outbox): LinkStream {
  return new LinkStream({
    id: 1,
    purpose: '',
    carrier: {
      path: 'dht',
      memory: MEMORY,
      schedule: (stream, isUrgent) => outbox.schedule(stream, isUrgent),
      cut() {},
      finish() {}
    },
    credit: MAX_CREDIT,
    window: new Window({ left: LINK_BUDGET })
  })
}

function bytesOf(frame: OutgoingFrame): number {
  return frame.type === DATA ? frame.byteLength : 0
}
