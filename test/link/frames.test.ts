import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { c } from '../../lib/core/holepunch.js'
import {
  BLOCKED,
  CONNECTED,
  CREDIT,
  DATA,
  END,
  type Frame,
  MAX_CREDIT,
  MAX_PACKET_BYTES,
  OPEN,
  type OutgoingFrame,
  PING,
  PONG,
  packetEncoding,
  REFUSED,
  RESET,
  readPacket,
  sizeOf
} from '../../lib/link/frames.js'
import { RUNS } from '../runs.js'

const id = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const credit = fc.integer({ min: 0, max: MAX_CREDIT })
const purpose = fc.stringMatching(/^[a-z0-9._/-]{0,64}$/)
const code = fc.stringMatching(/^[A-Z][A-Z_]{0,39}$/)
/** As our decoder makes them: with a prototype. */
const plain = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(fields, { noNullPrototype: true })
const frame: fc.Arbitrary<Frame> = fc.oneof(
  plain({ type: fc.constant(OPEN), id, purpose, window: credit }),
  plain({ type: fc.constant(CONNECTED), id, window: credit }),
  plain({ type: fc.constant(REFUSED), id, code, text: fc.string({ maxLength: 170 }) }),
  plain({
    type: fc.constant(DATA),
    id,
    bytes: fc.uint8Array({ maxLength: 400 }).map(Buffer.from)
  }),
  plain({ type: fc.constant(CREDIT), id, amount: credit }),
  plain({ type: fc.constantFrom(BLOCKED, END, PING, PONG), id }),
  plain({ type: fc.constant(RESET), id, code })
)

t.test('what was written is read', async () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 20 }), (frames) => {
      assert.deepEqual([...readPacket(encode(frames))], frames)
    })
  )
})

t.test('a frame is as long as it says', async () => {
  fc.assert(
    fc.property(frame, (frame) => {
      assert.equal(sizeOf(outgoing(frame)), encode([frame]).byteLength)
    })
  )
})

t.test('many small writes leave as one frame', async (t) => {
  const parts = ['many ', 'small ', 'writes'].map((part) => Buffer.from(part))
  const packet = c.encode(packetEncoding, [{ type: DATA, id: 1, parts, byteLength: 17 }])
  t.same([...readPacket(packet)], [{ type: DATA, id: 1, bytes: Buffer.from('many small writes') }])
})

t.test('a packet that was cut off is a bad message, and nothing else', async () => {
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 5 }), fc.nat(), (frames, at) => {
      const packet = encode(frames)
      read(packet.subarray(0, at % packet.byteLength))
    })
  )
})

t.test('any bytes at all are frames or a bad message, and nothing else', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => read(Buffer.from(bytes))),
    { numRuns: RUNS }
  )
})

t.test('frames that break a limit are refused', async (t) => {
  const endless = Buffer.from([CREDIT, 1, 0xff, 255, 255, 255, 255, 255, 255, 31, 0])
  const pastTheEnd = Buffer.from([DATA, 1, 200, 1, 2, 3])
  const longCode = Buffer.concat([Buffer.from([RESET, 1, 41]), Buffer.alloc(41, 'A')])
  const hugeId = Buffer.from([END, 0xff, 255, 255, 255, 255, 255, 255, 255, 255])
  for (const packet of [endless, pastTheEnd, longCode, hugeId, Buffer.from([10, 1])]) {
    t.throws(() => [...readPacket(packet)], { code: 'BAD_MESSAGE' })
  }
  t.throws(() => [...readPacket(Buffer.alloc(MAX_PACKET_BYTES + 1))], { code: 'BAD_MESSAGE' })
})

t.test(
  'a denial with two keys, the longest role twice, and what to do arrives whole',
  async (t) => {
    const [key, role] = ['k'.repeat(64), 'r'.repeat(214)]
    const text = `this registry is private, and ${key} may not consume ${role}; an admin of it can change that: hyperseaport grant ${key} --consume '${role}'`
    const frame = { type: REFUSED, id: 1, code: 'NOT_GRANTED', text } as const
    t.match([...readPacket(c.encode(packetEncoding, [frame]))], [frame])
  }
)

t.test('a long text of any script is cut to what the other side accepts', async (t) => {
  for (const text of ['a', 'ü', '語', '🚢'].map((letter) => letter.repeat(1000))) {
    const packet = c.encode(packetEncoding, [{ type: REFUSED, id: 1, code: 'REFUSED', text }])
    const [frame] = readPacket(packet)
    t.match(frame, { type: REFUSED, code: 'REFUSED' })
  }
})

function outgoing(frame: Frame): OutgoingFrame {
  if (frame.type !== DATA) return frame
  const { type, id, bytes } = frame
  return { type, id, parts: [bytes], byteLength: bytes.byteLength }
}

function encode(frames: Frame[]): Buffer {
  return c.encode(packetEncoding, frames.map(outgoing))
}

/** Reads a packet that may be broken in any way. */
function read(packet: Buffer) {
  try {
    for (const _ of readPacket(packet));
  } catch (error) {
    assert.equal((error as SeaportError).code, 'BAD_MESSAGE')
  }
}
