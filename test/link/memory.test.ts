import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { MEMORY, StreamMemory } from '../../lib/link/memory.js'
import type { LinkStream } from '../../lib/link/stream.js'
import { LINK_BUDGET, LinkBudget, MIN_WINDOW, Window } from '../../lib/link/window.js'
import { restWhile } from '../rest.js'
import { idleStream, linkPair, streamPair } from './pair.js'

const ROOMY = { plenty: 1e9, limit: 1e9 }

t.test('each stream takes less when much waits, and never nothing', async (t) => {
  const memory = new StreamMemory({ plenty: 1000, limit: 4000 })
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

t.test('what all links may be sent before anybody reads is bounded', async (t) => {
  const all = { left: LINK_BUDGET * 2 }
  const links = Array.from({ length: 64 }, () => new LinkBudget(all))
  const windows = links.flatMap((link) => Array.from({ length: 500 }, () => new Window(link)))
  const sum = windows.reduce((sum, { size }) => sum + size, 0)
  t.ok(sum <= LINK_BUDGET * 2 + windows.length * MIN_WINDOW, `${sum} bytes`)
  t.ok(sum < links.length * LINK_BUDGET, 'which is less than each link might have alone')
  for (const window of windows) window.release()
  t.equal(all.left, LINK_BUDGET * 2, 'and all of it is given back')
  t.ok(links.every(({ left }) => left === LINK_BUDGET))
})

t.test(
  'a link that is lost gives back what was kept for streams that were being opened',
  async (t) => {
    const memory = new StreamMemory(ROOMY)
    const { left } = memory.windows
    let onasked = () => {}
    const asked = new Promise<void>((resolve) => {
      onasked = resolve
    })
    const { opener } = linkPair(t, onasked, { opener: { memory } })
    const opening = opener.open()
    await asked
    t.ok(memory.windows.left < left)
    opener.destroy()
    await t.rejects(opening)
    t.equal(memory.windows.left, left)
  }
)

t.test('where too much waits, the largest of those who do not read is cut', async (t) => {
  let now = 0
  const memory = new StreamMemory({ ...ROOMY, limit: 32_000, interval: 1, now: () => now })
  const open = async () => {
    const [near, far] = await (await pairOf(t, memory)).openBare()
    return { near, far, isOpen: isOpen(near) }
  }
  const [large, small, quick] = [await open(), await open(), await open()]

  // Nobody reads at the far ends.
  small.near.write(Buffer.alloc(6000))
  large.near.write(Buffer.alloc(12_000))
  await holding(memory, 18_000)
  now = 29_999
  quick.near.write(Buffer.alloc(13_000))
  await holding(memory, 31_000)
  now = 59_998
  await sleep(20)
  t.equal(memory.stats.cut, 0, 'nobody is while there is room, however long they do not read')

  const reason = new Promise((resolve) => large.near.whenClosed(resolve))
  small.near.write(Buffer.alloc(3000))
  t.match(await reason, { message: /LIMIT_REACHED/ }, 'and the other side is told')
  await sleep(20)
  t.equal(memory.stats.cut, 1)
  t.ok(small.isOpen(), 'who holds less goes on')
  t.ok(quick.isOpen(), 'and so does who holds more, and read 30 s ago')
})

t.test('a drop now and then is no reading', async (t) => {
  let now = 0
  const memory = new StreamMemory({ ...ROOMY, limit: 5000, interval: 1, now: () => now })
  const [near, far] = await (await pairOf(t, memory)).openBare()
  for (let i = 1; i <= 14; i++) {
    near.write(Buffer.alloc(1000))
    await holding(memory, i * 1000)
  }
  far.attach({ ondata: () => false, onend() {}, ondrain() {}, onclose() {} })
  const closed = new Promise((resolve) => near.whenClosed(resolve))
  while (now < 50_000) {
    now += 10_000
    far.resume()
    await sleep(10)
  }
  t.match(await closed, { message: /LIMIT_REACHED/ })
})

t.test('what waits to be sent is cut like what waits to be read', async (t) => {
  let now = 0
  const memory = new StreamMemory({ ...ROOMY, limit: 32_000, interval: 1, now: () => now })
  const { openBare } = await streamPair(t, { opener: { memory } })
  const [near] = await openBare()
  // More than its window takes.
  near.write(Buffer.alloc(1_000_000))
  const clock = setInterval(() => {
    now += 30_000
  }, 5)
  t.teardown(() => clearInterval(clock))
  const reason = await new Promise((resolve) => near.whenClosed(resolve))
  t.match(reason, { code: 'LIMIT_REACHED' })
  t.equal(memory.waiting, 0)
})

/** Links of which the acceptor's end counts what waits in this memory. */
function pairOf(t: Test, memory: StreamMemory) {
  return streamPair(t, { opener: { memory: new StreamMemory(ROOMY) }, acceptor: { memory } })
}

async function holding(memory: StreamMemory, bytes: number) {
  await restWhile(() => memory.unread < bytes)
}

function isOpen(stream: LinkStream): () => boolean {
  let isOpen = true
  stream.whenClosed(() => {
    isOpen = false
  })
  return () => isOpen
}
