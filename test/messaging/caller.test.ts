import t from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { encodeBody } from '../../lib/messaging/body.js'
import { Caller } from '../../lib/messaging/caller.js'
import {
  ANSWER,
  encodeFrame,
  FAILURE,
  type Frame,
  HELLO,
  PARKED
} from '../../lib/messaging/frames.js'
import { stream } from '../fuzz/stream.js'

/** Calls an instance that says what it is told to, and tells what each call ended with. */
function calling(
  count: number,
  { onparked, maxFrame }: { onparked?: () => void; maxFrame?: number } = {}
) {
  const line = stream()
  const caller = new Caller(line, { maxFrame, onleaving: () => {} })
  const ended: unknown[] = []
  const outgoing = {
    name: 'x',
    body: encodeBody(1),
    meta: {},
    deadline: performance.now() + 60_000
  }
  for (let i = 0; i < count; i++) {
    caller.call(outgoing, {
      onanswer: () => ended.push('answered'),
      onfailure: ({ code, executed, handlerCode }: SeaportError) =>
        ended.push([code, executed, ...(handlerCode ? [handlerCode] : [])]),
      ...(onparked && { onparked })
    })
  }
  const says = (...frames: Frame[]) => {
    for (const frame of frames) line.receiveData(encodeFrame(frame))
  }
  says({ type: HELLO, version: 1 })
  return { line, says, ended }
}

t.test('who is told to fetch what it cannot fetch hears that its call is lost', async (t) => {
  const { says, ended } = calling(2)
  says({ type: PARKED, id: 1, token: Buffer.alloc(16) })
  t.same(ended, [
    ['LINK_LOST', 'perhaps'],
    ['LINK_LOST', 'perhaps']
  ])
})

t.test('an instance that ends without an answer will not give it any more', async (t) => {
  const { line, says, ended } = calling(2)
  says({ type: ANSWER, id: 1, body: encodeBody(1) })
  line.receiveEnd()
  t.same(ended, ['answered', ['LINK_LOST', 'perhaps']])
})

t.test('a frame that is too large is the answer only where there is one call', async (t) => {
  const header = Buffer.from([0xff, 0xff, 0xff, 0xff, ANSWER])
  const together = calling(2)
  together.line.receiveData(header)
  t.same(together.ended, [
    ['LINK_LOST', 'perhaps'],
    ['LINK_LOST', 'perhaps']
  ])
  const alone = calling(1, { maxFrame: 1_000_000 })
  alone.line.receiveData(header)
  t.same(alone.ended, [['TOO_LARGE', 'yes']])
})

t.test('the code of a handler is shown without what would drive a terminal', async (t) => {
  const { says, ended } = calling(1)
  const failure = {
    executed: 'yes',
    code: 'COMMAND_FAILED',
    handlerCode: 'E\x1b[2J',
    text: ''
  } as const
  says({ type: FAILURE, id: 1, ...failure })
  t.same(ended, [['COMMAND_FAILED', 'yes', 'E\ufffd[2J']])
})
