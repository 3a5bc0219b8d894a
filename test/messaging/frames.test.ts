import t from 'tap'
import { type Body, decodeBody, encodeBody } from '../../lib/messaging/body.js'
import { FrameReader } from '../../lib/messaging/frame-reader.js'
import {
  ANSWER,
  CALL,
  CANCEL,
  decodeFrame,
  EMIT,
  EVENT,
  encodeFrame,
  FAILURE,
  FETCH,
  type Frame,
  HELLO,
  ITEM,
  LEAVING,
  MISSED,
  PARKED,
  QUEUED,
  STARTED,
  SUBSCRIBE,
  SUBSCRIBED,
  sizeOfCall
} from '../../lib/messaging/frames.js'
import { randomFrom } from '../random.js'

const body: Body = encodeBody({ a: 1 })
const token = Buffer.alloc(16, 3)
const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`
const CALL_FRAME = {
  type: CALL,
  id: 7,
  timeLeft: 300,
  isStreaming: true,
  name: 'fetch',
  meta: { traceparent },
  body
} as const
const FRAMES: Frame[] = [
  { type: HELLO, version: 1 },
  CALL_FRAME,
  { ...CALL_FRAME, id: 2 ** 32 - 1, isStreaming: false, meta: {}, body: encodeBody(undefined) },
  { type: ANSWER, id: 7, body: encodeBody(Buffer.from('bytes')) },
  { type: ITEM, id: 7, body },
  {
    type: FAILURE,
    id: 7,
    executed: 'perhaps',
    code: 'DEADLINE',
    handlerCode: 'ELATE',
    text: 'too late'
  },
  { type: CANCEL, id: 7 },
  { type: QUEUED, id: 7 },
  { type: STARTED, id: 7 },
  { type: PARKED, id: 7, token },
  { type: FETCH, id: 7, token },
  { type: LEAVING },
  { type: EMIT, name: 'TICK', body },
  { type: SUBSCRIBE, after: null, types: ['*'] },
  { type: SUBSCRIBE, after: { epoch: 2 ** 41, seq: 2 ** 40 }, types: ['TICK', 'a.b'] },
  { type: SUBSCRIBED, epoch: 2 ** 41, seq: 0 },
  { type: MISSED, count: 5 },
  { type: EVENT, seq: 9, name: 'TICK', body }
]

function read(pieces: Buffer[], maxBytes = 65_536): Frame[] {
  const frames: Frame[] = []
  const reader = new FrameReader({
    maxBytes,
    decode: decodeFrame,
    onframe: (frame) => frames.push(frame)
  })
  for (const piece of pieces) reader.push(piece)
  return frames
}

t.test('a frame that ends too early takes nothing of the next one', async (t) => {
  const next = encodeFrame({ type: EVENT, seq: 9, name: 'TICK', body })
  for (const frame of FRAMES) {
    const whole = encodeFrame(frame)
    // Its type, and no more.
    const cut = Buffer.from(whole.subarray(0, 5))
    cut.writeUInt32LE(1, 0)
    if (frame.type === LEAVING) t.same(read([Buffer.concat([cut, next])]).length, 2)
    else t.throws(() => read([Buffer.concat([cut, next])]), { code: 'BAD_MESSAGE' })
  }
})

t.test('each frame is read as it was written, however it is cut into pieces', async (t) => {
  const bytes = Buffer.concat(FRAMES.map(encodeFrame))
  t.same(read([bytes]), FRAMES)
  t.same(read([...bytes].map((byte) => Buffer.of(byte))), FRAMES)
  const random = randomFrom(16)
  for (let run = 0; run < 200; run++) {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.byteLength; ) {
      const size = 1 + Math.floor(random() * 60)
      pieces.push(bytes.subarray(at, at + size))
      at += size
    }
    t.same(read(pieces), FRAMES)
  }
  t.equal(sizeOfCall(CALL_FRAME), encodeFrame(CALL_FRAME).byteLength)
})

t.test('frames of a later version are passed by', async (t) => {
  const later = Buffer.concat([Buffer.of(4, 0, 0, 0, 200, 1, 2, 3), encodeFrame({ type: LEAVING })])
  t.same(read([later]), [{ type: LEAVING }])
})

t.test('what ends too early or is too large is refused before it is kept', async (t) => {
  t.throws(() => read([Buffer.of(0, 0, 0, 0)]), { code: 'BAD_MESSAGE' })
  t.throws(() => read([Buffer.of(2, 0, 0, 0, CALL, 1)]), { code: 'BAD_MESSAGE' })
  t.throws(() => read([Buffer.of(1, 0, 1, 0)]), { code: 'TOO_LARGE' })
})

t.test(
  'JSON that is deeper than anybody needs is refused, whatever its strings hold',
  async (t) => {
    const deep = (levels: number): Body => ({
      kind: 'json',
      bytes: Buffer.from('['.repeat(levels) + ']'.repeat(levels))
    })
    t.ok(decodeBody(deep(256)))
    t.throws(() => decodeBody(deep(257)), { code: 'BAD_MESSAGE' })
    t.throws(() => decodeBody(deep(1_000_000)), { code: 'BAD_MESSAGE' })
    const text = '"\\'.repeat(300) + '['.repeat(300)
    t.equal(decodeBody(encodeBody(text)), text)
    t.throws(() => decodeBody({ kind: 'json', bytes: Buffer.from('{') }), { code: 'BAD_MESSAGE' })
  }
)

t.test('what is no JSON is not sent', async (t) => {
  for (const value of [1n, () => {}, Symbol('x')]) t.throws(() => encodeBody(value), TypeError)
})
