import t from 'tap'
import type { OutgoingFrame } from '../../lib/link/frames.js'
import { inTime } from '../watchdog.js'
import { idleStream } from './pair.js'

const CREDIT = 2 ** 29
const QUANTUM_BYTES = 64 * 1024

t.test('what is written in very many small pieces leaves as fast as it was written', async (t) => {
  const PIECES = 400_000
  const stream = idleStream()
  stream.receiveCredit(CREDIT)
  const piece = Buffer.from('ab')
  for (let i = 0; i < PIECES; i++) stream.write(piece)
  const since = performance.now()
  let sent = ''
  while (stream.isReady) {
    const frames: OutgoingFrame[] = []
    // An odd quantum divides pieces.
    stream.takeTurn(frames, QUANTUM_BYTES - 1)
    for (const frame of frames) if ('parts' in frame) sent += Buffer.concat(frame.parts).toString()
  }
  const took = performance.now() - since
  t.equal(sent.length, 2 * PIECES)
  t.equal(sent, 'ab'.repeat(PIECES))
  t.ok(inTime(took, 4000), `it took ${Math.round(took)} ms`)
})

t.test(
  'what came in many small pieces is read in its order, in parts and while more comes',
  async (t) => {
    const stream = idleStream()
    const came: number[] = []
    let isReading = false
    let told = 0
    const receive = (count: number) => {
      for (let i = 0; i < count; i++) stream.receiveData(Buffer.of(told++ % 251))
    }
    stream.attach({
      ondata(bytes) {
        came.push(...bytes)
        isReading = came.length % 700 !== 0
        return isReading
      },
      onend() {},
      ondrain() {},
      onclose() {}
    })
    receive(3000)
    while (came.length < 2100) stream.resume()
    receive(500)
    while (came.length < 3500) stream.resume()
    receive(10)
    stream.resume()
    t.strictSame(
      came,
      Array.from({ length: 3510 }, (_, i) => i % 251)
    )
  }
)
