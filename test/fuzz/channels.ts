import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type WebSocket from 'ws'
import { decodeFrame } from '../../lib/client/wire.js'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Browser } from '../../lib/gateway/channels/browser.js'
import { CHANNEL_LIMITS } from '../../lib/gateway/channels/channel-limits.js'
import { Feed } from '../../lib/gateway/channels/feed.js'
import { readResume } from '../../lib/gateway/channels/resume.js'
import { decodeWire, encodeWire, type WireFrame } from '../../lib/gateway/channels/wire.js'
import type { LinkStream } from '../../lib/link/stream.js'
import { encodeBody } from '../../lib/messaging/body.js'
import {
  type ChannelHead,
  decodeChannelFrame,
  encodeChannelFrame
} from '../../lib/messaging/clients/channel-frames.js'
import { Clients } from '../../lib/messaging/clients/clients.js'
import { readTicket, signTicket, verifyTicket } from '../../lib/messaging/clients/ticket.js'
import type { Listening } from '../../lib/messaging/speaker.js'
import { settled } from './line.js'
import type { Target } from './mutants.js'
import { feed, stream } from './stream.js'

const keyPair = KeyPair('05'.repeat(32))
const own = toHex(keyPair.publicKey)
const scope = { registry: '01'.repeat(32), role: 'chat' }
const peer = Buffer.alloc(32, 2)
const session = '0a'.repeat(16)
const fields = { session, id: 'ada', data: { team: 'red' }, gateway: `${toHex(peer)}.g` }
const { ticket, secret } = signTicket(keyPair, scope, fields)
const body = encodeBody({ a: [1, 'two', null] })
const epoch = 5

const OF_GATEWAY: ChannelHead[] = [
  { t: 'hello', gateway: 'g', epoch: 1, seq: 0 },
  { t: 'connect', n: 1, session, token: 'ada', viewer: 'v', origin: 'o', ticket, secret },
  { t: 'here', ticket, rooms: ['lobby'], changes: 0 },
  { t: 'resume', session, epoch, seq: 1 },
  { t: 'message', session, n: 1, answered: 0, to: 'all', type: 'say', id: 'bob' },
  { t: 'got', session, key: 'k1' },
  { t: 'gone', session, how: 'lost' }
]

const OF_INSTANCE: ChannelHead[] = [
  { t: 'welcome', epoch, seq: 1 },
  { t: 'admitted', n: 1, ticket, secret, resumed: 1, rooms: ['lobby'] },
  { t: 'event', seq: 2, kind: 'broadcast', type: 'news', filter: { team: 'red' }, room: 'lobby' },
  { t: 'replay', session, seq: 1, kind: 'direct', type: 'note', id: 'ada' },
  { t: 'replayed', session, epoch, seq: 2 },
  { t: 'missed', session, count: 2 },
  { t: 'at', seq: 3 },
  { t: 'answer', session, n: 1 },
  { t: 'answer', session, n: 2, code: 'BUSY', text: 'later' },
  { t: 'kept', session, key: 'k1', type: 'note' },
  { t: 'room', session, name: 'lobby', isIn: 1, changes: 1 },
  { t: 'refused', n: 2 },
  { t: 'close', session, code: 4100 },
  { t: 'leaving' }
]

const OF_PAGE = [
  Buffer.from(
    '{"t":"connect","token":"ada","resume":{"ticket":"a.b","secret":"s","at":{"i":[5,1]}}}'
  ),
  Buffer.from(
    '{"t":"message","n":1,"answered":0,"type":"say","to":"one","id":"bob","data":{"a":[1]}}'
  ),
  Buffer.from('{"t":"call","n":2,"type":"add","data":[1,2]}'),
  Buffer.from('{"t":"got","i":"i","k":"k1"}'),
  Buffer.from('{"t":"pong"}')
]

const encoded = (head: ChannelHead) => encodeChannelFrame(head, body)

/** A page whose WebSocket is in memory. */
function pageInMemory(admit: (browser: Browser, frame: WireFrame) => void = () => {}) {
  const socket = Object.assign(new EventEmitter(), {
    ...{ OPEN: 1, readyState: 1, close() {}, terminate() {} }
  })
  const connection = { writableLength: 0, write: () => true, cork() {}, uncork() {} }
  const browser = new Browser(
    {
      socket: socket as unknown as WebSocket,
      connection: connection as unknown as Duplex,
      client: ''
    },
    {
      limits: CHANNEL_LIMITS,
      onconnect: admit,
      homeOf: () => ({ send: (head, data) => void encodeChannelFrame(head, data) }),
      call: async (_, __, data) => data,
      onunread() {},
      onrooms() {},
      ongot() {},
      onclose() {}
    }
  )
  return { socket, browser }
}

export const channelTargets: Record<string, Target> = {
  'frames between gateways and instances': {
    valid: [...OF_GATEWAY, ...OF_INSTANCE].map((head) => encoded(head).subarray(4)),
    read(frames) {
      for (const frame of frames) {
        const read = decodeChannelFrame(frame)
        if (read) decodeChannelFrame(encodeChannelFrame(read.head, read.body).subarray(4))
      }
    }
  },
  'a gateway as an instance hears it': {
    valid: OF_GATEWAY.map(encoded),
    async read(pieces) {
      const clients = new Clients({
        scope,
        epoch,
        instances: () => [own],
        isInstance: (key) => key === own,
        onnotice: () => {},
        onwanted: () => {}
      })
      clients.wanted().allow('broadcast').allow('direct').allow('presence')
      clients.on('message', (data, client) => {
        client.join('lobby')
        return data
      })
      let accept: (stream: LinkStream, key: Buffer) => void = () => {}
      clients.listen({
        handle: (_, handler) => {
          accept = handler
        }
      } as Listening)
      // A folder that is not there is made only when something is kept.
      await clients.open(keyPair, '/nowhere')
      clients.broadcast('news', 1)
      const heard = stream()
      accept(heard, peer)
      try {
        await feed(heard, pieces)
        await settled()
      } finally {
        heard.destroy()
        await clients.close()
      }
    }
  },
  'an instance as a gateway hears it': {
    valid: OF_INSTANCE.map(encoded),
    async read(pieces) {
      const heard = stream()
      const { socket, browser } = pageInMemory()
      browser.begin(ticket, readTicket(ticket), [])
      const instance = new Feed({
        pool: {
          open: async () => heard,
          follow: () => ({ seek() {}, stop() {} }),
          pathOf: () => null
        },
        ...{ key: own, name: 'i', gateway: 'g', isNewcomer: false },
        browserOf: (name) => (name === session ? browser : undefined),
        onopen: () => {}
      })
      instance.attach(browser, { epoch, seq: 0 })
      const admitted = instance.connect({ session })
      await settled()
      try {
        await feed(heard, pieces)
      } finally {
        instance.close()
        heard.destroy()
        socket.emit('close')
        await admitted
      }
    }
  },
  'frames of a page': {
    valid: [
      encodeWire({ t: 'message', n: 1, type: 'say' }, encodeBody(Buffer.from('abc'))).subarray(2)
    ],
    read([bytes]) {
      const { body, fault } = decodeWire(bytes as Buffer, true)
      if (fault) throw fault
      return body
    }
  },
  'a page at its gateway': {
    valid: OF_PAGE,
    async read(frames) {
      const { socket, browser } = pageInMemory((page, { head }) => {
        readResume(head.resume)
        page.begin(ticket, readTicket(ticket), [])
      })
      for (const frame of frames) socket.emit('message', frame, false)
      const wasCut = browser.isClosed
      await settled()
      socket.emit('close')
      if (wasCut) throw SeaportError.BAD_MESSAGE('it was cut')
    }
  },
  'a gateway as a page hears it': {
    valid: [
      encodeWire({ t: 'connected', id: 'ada', at: { i: [5, 1] } }).subarray(2),
      encodeWire({ t: 'broadcast', i: 'i', e: 5, s: 1, type: 'news' }, body).subarray(2)
    ],
    read(frames) {
      for (const frame of frames) {
        decodeFrame(frame.toString())
        decodeFrame(new Uint8Array(frame).buffer)
      }
    }
  },
  'a ticket of a channel': {
    valid: [Buffer.from(ticket)],
    read([bytes]) {
      const read = verifyTicket(`${bytes}`, scope, (key) => key === own)
      if (!read) throw SeaportError.BAD_SIGNATURE('no ticket')
      readTicket(`${bytes}`)
      return read
    },
    // What stands after the signature, or in the last bits of base64, is not part of it.
    mayAccept: (read) => JSON.stringify(read) === JSON.stringify(readTicket(ticket))
  },
  'what a page comes back with': {
    valid: [Buffer.from('{"ticket":"a.b","secret":"s","at":{"i":[5,1],"j":[6,2]}}')],
    read([bytes]) {
      const resume = readResume(safely(bytes as Buffer))
      if (!resume) throw SeaportError.BAD_MESSAGE('nothing to come back with')
      return resume
    },
    mayAccept: (resume) =>
      Object.values((resume as { at: object }).at).every(
        ([epoch, seq]) => Number.isSafeInteger(epoch) && Number.isSafeInteger(seq)
      )
  }
}

function safely(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return null
  }
}
