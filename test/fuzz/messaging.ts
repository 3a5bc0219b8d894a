import { decodeBody, encodeBody } from '../../lib/messaging/body.js'
import { Caller } from '../../lib/messaging/caller.js'
import { Commands } from '../../lib/messaging/commands.js'
import { EventRing } from '../../lib/messaging/event-ring.js'
import { FrameReader } from '../../lib/messaging/frame-reader.js'
import { decodeFrame, encodeFrame, type Frame } from '../../lib/messaging/frames.js'
import { JsonLines } from '../../lib/messaging/json-lines.js'
import { ParkedAnswers } from '../../lib/messaging/parked-answers.js'
import { Responder } from '../../lib/messaging/responder.js'
import { Subscriber } from '../../lib/messaging/subscriber.js'
import { Subscription } from '../../lib/messaging/subscription.js'
import { settled } from './line.js'
import type { Target } from './mutants.js'
import { feed, stream } from './stream.js'

const token = Buffer.alloc(16, 3)
const body = encodeBody({ a: [1, 'two', null] })
const call = { type: 1, timeLeft: 300, isStreaming: false, meta: {}, body } as const

const ASKED: Frame[] = [
  { type: 0, version: 1 },
  { ...call, id: 1, name: 'echo' },
  { ...call, id: 2, name: 'hang', meta: { principal: 'ada' } },
  { type: 5, id: 2 },
  { type: 9, id: 3, token },
  { type: 11, name: 'TICK', body }
]

const ANSWERED: Frame[] = [
  { type: 0, version: 1 },
  { type: 2, id: 1, body },
  { type: 6, id: 2 },
  { type: 7, id: 2 },
  { type: 4, id: 2, executed: 'yes', code: 'COMMAND_FAILED', handlerCode: 'E', text: 'no' },
  { type: 8, id: 3, token },
  { type: 10 }
]

const HEARD: Frame[] = [
  { type: 0, version: 1 },
  { type: 13, epoch: 5, seq: 0 },
  { type: 15, seq: 1, name: 'TICK', body },
  { type: 14, count: 3 },
  { type: 15, seq: 5, name: 'TICK', body }
]

export const messagingTargets: Record<string, Target> = {
  'frames of a conversation': {
    valid: [Buffer.concat([...ASKED, ...ANSWERED, ...HEARD].map(encodeFrame))],
    read([input]) {
      const onframe = (frame: Frame) => 'body' in frame && decodeBody(frame.body)
      new FrameReader({ maxBytes: 65_536, decode: decodeFrame, onframe }).push(input as Buffer)
    }
  },
  'a conversation as its service hears it': {
    valid: ASKED.map(encodeFrame),
    async read(pieces) {
      const commands = new Commands({ onfirst: () => {} })
      commands.handle('echo', (data) => data).handle('hang', () => new Promise(() => {}))
      const heard = stream()
      new Responder(heard, {
        peer: '01'.repeat(32),
        commands,
        denialOf: () => null,
        parked: new ParkedAnswers(),
        onemit: () => {},
        onclose: () => {}
      })
      try {
        await feed(heard, pieces)
      } finally {
        heard.destroy()
      }
    }
  },
  'lines of a program': {
    valid: [
      Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"a":1}}\n{"jsonrpc":"2.0","method":"event",'),
      Buffer.from('"params":{"type":"TICK","data":1}}\n\n')
    ],
    read(pieces) {
      let [values, bad] = [0, 0]
      const lines = new JsonLines({ maxBytes: 64, onvalue: () => values++, onbad: () => bad++ })
      for (const piece of pieces) lines.push(piece)
      const newlines = Buffer.concat(pieces).filter((byte) => byte === 0x0a).length
      // One that is too long is told before its end.
      if (values + bad > newlines + 1) throw new Error('more lines than there were')
    }
  },
  'who hears events': {
    valid: [
      encodeFrame({ type: 0, version: 1 }),
      encodeFrame({ type: 12, after: { epoch: 5, seq: 1 }, types: ['TICK', 'TOCK'] }),
      encodeFrame({ type: 12, after: null, types: ['*'] })
    ],
    async read(pieces) {
      const ring = new EventRing({ epoch: 5 })
      const emit = () => ring.add('TICK', body)
      for (let i = 0; i < 3; i++) emit()
      const heard = stream()
      const peer = '01'.repeat(32)
      const subscriber = new Subscriber(heard, {
        peer,
        ring,
        denialOf: () => null,
        onclose: () => {}
      })
      try {
        await feed(heard, pieces)
        subscriber.send(emit())
      } finally {
        heard.destroy()
      }
    }
  },
  'events as they are heard': {
    valid: HEARD.map(encodeFrame),
    async read(pieces) {
      const heard = stream()
      let seq = 0
      const subscription = new Subscription({
        pool: {
          open: async () => heard,
          follow: () => ({ seek() {}, stop() {} }),
          pathOf: () => null
        },
        remotePublicKey: Buffer.alloc(32),
        after: null,
        types: () => ['*'],
        onevent: (at) => {
          if (at.seq <= seq && at.epoch === 5) throw new Error('an event twice')
          if (at.epoch === 5) seq = at.seq
        },
        onsubscribed: () => {},
        ondenied: () => {}
      })
      subscription.open()
      await settled()
      try {
        await feed(heard, pieces)
      } finally {
        subscription.close()
        heard.destroy()
      }
    }
  },
  'a conversation as who calls hears it': {
    valid: ANSWERED.map(encodeFrame),
    async read(pieces) {
      const heard = stream()
      const caller = new Caller(heard, { onleaving: () => {} })
      let answers = 0
      const answered = {
        onanswer: () => answers++,
        onfailure: () => answers++,
        onparked: () => answers++
      }
      const deadline = performance.now() + 1000
      for (const name of ['one', 'two', 'three']) {
        caller.call({ name, body, meta: {}, deadline }, answered)
      }
      const fed = await feed(heard, pieces).catch((reason) => reason)
      heard.destroy()
      if (answers !== 3) throw new Error(`3 calls had ${answers} answers`)
      if (fed) throw fed
    }
  }
}
