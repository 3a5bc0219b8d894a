import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { restWhile } from '../rest.js'
import { Harbor, portOf } from './harbor.js'
import { exchange, exchangeBytes } from './wire.js'

const TEXT = 1
const BINARY = 2
const CLOSE = 8
const PING = 9
const PONG = 10
const LARGE_BYTES = 16 * 1024 * 1024

interface FrameOptions {
  fin?: boolean
  rsv?: number
  isMasked?: boolean
}

/** A frame as a client sends it (RFC 6455 §5.2). */
function frame(
  opcode: number,
  payload: Buffer | string = '',
  { fin = true, rsv = 0, isMasked = true }: FrameOptions = {}
): Buffer {
  const bytes = Buffer.from(payload)
  const length = bytes.byteLength
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  head[1] = (isMasked ? 0x80 : 0) | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (length >= 65_536) head.writeBigUInt64BE(BigInt(length), 2)
  else if (length >= 126) head.writeUInt16BE(length, 2)
  if (!isMasked) return Buffer.concat([head, bytes])
  const mask = Buffer.from([0x37, 0xfa, 0x21, 0x3d])
  for (let i = 0; i < length; i++) bytes[i] = (bytes[i] ?? 0) ^ (mask[i % 4] ?? 0)
  return Buffer.concat([head, mask, bytes])
}

function closing(code: number, reason = ''): Buffer {
  const bytes = Buffer.alloc(2 + Buffer.byteLength(reason))
  bytes.writeUInt16BE(code)
  bytes.write(reason, 2)
  return frame(CLOSE, bytes)
}

const hello = frame(TEXT, 'hello')
const bye = closing(1000)
const [notFinal, more] = [{ fin: false }, 0]
/** κόσμε, and the same with a lone surrogate at its end: not UTF-8. */
const WORD = Buffer.from('κόσμε')
const NOT_UTF8 = Buffer.concat([WORD, Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('edited')])

/** What a client sends once it is let in, in the manner of the Autobahn test suite; a list goes out piece by piece. */
const CASES: [name: string, sent: Buffer | Buffer[]][] = [
  ['a text', Buffer.concat([hello, bye])],
  ...[0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537].flatMap((size): [string, Buffer[]][] => [
    [`a text of ${size} bytes`, [frame(TEXT, '*'.repeat(size)), bye]],
    [`${size} bytes`, [frame(BINARY, Buffer.alloc(size, 0xfe)), bye]]
  ]),
  ['16 MiB', [frame(BINARY, Buffer.alloc(LARGE_BYTES, 7)), bye]],
  ['16 MiB in fragments of 64 KiB', [...fragments(Buffer.alloc(LARGE_BYTES, 7), 65_536), bye]],
  [
    'byte by byte',
    [...Buffer.concat([hello, frame(PING, 'are you there'), bye])].map((byte) =>
      Buffer.from([byte])
    )
  ],
  [
    'a hundred at once',
    Buffer.concat([...Array.from({ length: 100 }, (_, i) => frame(TEXT, `${i}`)), bye])
  ],
  ['a ping', [frame(PING, 'are you there'), bye]],
  ['a ping of nothing', [frame(PING), bye]],
  ['a ping of 125 bytes', [frame(PING, Buffer.alloc(125, 0xfe)), bye]],
  ['a ping that is too long', frame(PING, Buffer.alloc(126, 0xfe))],
  ['a pong that nobody asked for', [frame(PONG, 'here I am'), hello, bye]],
  [
    'ten pings at once',
    Buffer.concat([...Array.from({ length: 10 }, (_, i) => frame(PING, `${i}`)), bye])
  ],
  ['fragments', [...fragments(Buffer.from('hello'), 2), bye]],
  ['fragments at once', Buffer.concat([...fragments(Buffer.from('hello'), 2), bye])],
  [
    'a ping between fragments',
    [frame(TEXT, 'hel', notFinal), frame(PING, 'now'), frame(more, 'lo'), bye]
  ],
  ['a close between fragments', [frame(TEXT, 'hel', notFinal), bye]],
  [
    'fragments of nothing',
    [frame(TEXT, '', notFinal), frame(more, '', notFinal), frame(more, ''), bye]
  ],
  ['a fragmented ping', frame(PING, 'now', notFinal)],
  ['a continuation of nothing', frame(more, 'lo')],
  ['a text within a fragmented one', Buffer.concat([frame(TEXT, 'hel', notFinal), hello])],
  ['UTF-8 that is cut within a character', [...fragments(WORD, 1), bye]],
  ['no UTF-8', frame(TEXT, NOT_UTF8)],
  ['no UTF-8, in fragments', fragments(NOT_UTF8, 3)],
  ['no UTF-8, as bytes', [frame(BINARY, NOT_UTF8), bye]],
  ...[1, 2, 4, 7].map((rsv): [string, Buffer] => [
    `reserved bits ${rsv}`,
    frame(TEXT, 'hello', { rsv })
  ]),
  ...[3, 7, 11, 15].map((opcode): [string, Buffer] => [
    `the reserved opcode ${opcode}`,
    frame(opcode, 'hello')
  ]),
  ['a frame without a mask', frame(TEXT, 'hello', { isMasked: false })],
  ...[1000, 1001, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999].map((code): [string, Buffer] => [
    `close ${code}`,
    closing(code, 'enough')
  ]),
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65_535].map(
    (code): [string, Buffer] => [`close ${code}, which is not one`, closing(code)]
  ),
  ['a close without a code', frame(CLOSE)],
  ['a close of one byte', frame(CLOSE, 'x')],
  ['a close with the longest reason', closing(1000, 'r'.repeat(123))],
  ['a close with a longer reason', closing(1000, 'r'.repeat(124))],
  [
    'a close whose reason is no UTF-8',
    frame(CLOSE, Buffer.concat([Buffer.from([3, 232]), NOT_UTF8]))
  ],
  ['two closes', Buffer.concat([bye, closing(4000)])],
  ['a text after the close', Buffer.concat([bye, hello])]
]

function fragments(bytes: Buffer, size: number): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.byteLength; at += size) {
    const fin = at + size >= bytes.byteLength
    frames.push(frame(at === 0 ? TEXT : more, bytes.subarray(at, at + size), { fin }))
  }
  return frames
}

/** A server that says everything back, and how each of its connections ended. */
async function echoing(t: Test) {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((_request, response) => response.end('no WebSocket'))
  const ends: [code: number, reason: string][] = []
  const server = new WebSocketServer({ server: backend, maxPayload: 2 * LARGE_BYTES })
  server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    socket.on('error', () => {})
    socket.on('close', (code, reason) => ends.push([code, reason.toString()]))
  })
  await harbor.service('echo@1.0.0', portOf(backend))
  return { backend, server, ends, web: await harbor.web() }
}

const opening = (path: string, fields = '') =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${fields}\r\n`

/** All that the other side says after its head, to the end. */
async function converse(port: number, path: string, sent: Buffer | Buffer[]): Promise<string> {
  const bytes = await exchangeBytes(port, async (socket) => {
    socket.setNoDelay(true)
    socket.setMaxListeners(0)
    socket.write(opening(path))
    await once(socket, 'data')
    for (const piece of [sent].flat()) {
      if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
  })
  const text = bytes.toString('latin1')
  const [head = ''] = text.split('\r\n\r\n', 1)
  const accepted = /^sec-websocket-accept: .*$/im.exec(head)?.[0]
  const said = bytes.subarray(head.length + 4)
  const hash = createHash('sha256').update(said).digest('hex')
  return `${head.split('\r\n', 1)} ${accepted} ${said.byteLength} ${hash} ${said.toString('hex', 0, 64)}`
}

t.test(
  `${CASES.length} conversations over WebSockets are the same directly and through the gateway`,
  async (t) => {
    const { backend, web, ends } = await echoing(t)
    for (const [name, sent] of CASES) {
      ends.length = 0
      const direct = await converse(portOf(backend), '/', sent)
      const through = await converse(web.port, '/role/echo@1.x/', sent)
      t.equal(through, direct, name)
      t.match(direct, '101 Switching Protocols')
      await restWhile(() => ends.length < 2)
      t.strictSame(ends[1], ends[0], `${name}: and the server saw the same end`)
    }
  }
)

t.test(
  'a client that is cut, and one that ends without a close, are the same to the server',
  async (t) => {
    const { backend, web, ends } = await echoing(t)
    for (const leave of ['destroy', 'end', 'resetAndDestroy'] as const) {
      ends.length = 0
      for (const [port, path] of [
        [portOf(backend), '/'],
        [web.port, '/role/echo/']
      ] as const) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => {})
        socket.write(opening(path))
        await once(socket, 'data')
        const before = ends.length
        socket[leave]()
        await restWhile(() => ends.length === before)
        socket.destroy()
      }
      t.strictSame(ends, [ends[0], ends[0]], leave)
      t.equal(ends[0]?.[0], 1006)
    }
  }
)

t.test('what the server ends, closes and cuts reaches a real client', async (t) => {
  const { web, server } = await echoing(t)
  const url = `${web.url.replace('http', 'ws')}role/echo@1.x/`
  const enter = async () => {
    const entered = once(server, 'connection')
    const socket = new WebSocket(url, { perMessageDeflate: true })
    socket.on('error', () => {})
    await once(socket, 'open')
    return { socket, peer: (await entered)[0] as WebSocket }
  }
  for (const [code, reason] of [
    [1000, ''],
    [1001, 'going away'],
    [4321, 'é'.repeat(61)]
  ] as const) {
    const { socket, peer } = await enter()
    peer.close(code, reason)
    const [seen, said] = await once(socket, 'close')
    t.strictSame([seen, said.toString()], [code, reason])
  }
  const { socket, peer } = await enter()
  peer.terminate()
  t.equal((await once(socket, 'close'))[0], 1006, 'a cut is no close')
  const pinged = await enter()
  pinged.peer.ping('server')
  t.equal(String((await once(pinged.socket, 'ping'))[0]), 'server')
  pinged.socket.terminate()
})

/** A server of a protocol of its own: whatever comes is for the test. */
async function raw(t: Test, onupgrade: (socket: Socket, head: Buffer) => void) {
  const harbor = await Harbor.make(t)
  const backend: Server = await harbor.backend((_request, response) => response.end())
  backend.on('upgrade', (_request, socket: Socket, head: Buffer) => {
    socket.on('error', () => {})
    onupgrade(socket, head)
  })
  await harbor.service('echo@1.0.0', portOf(backend))
  return { backend, web: await harbor.web() }
}

const SWITCHING =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

t.test(
  'every byte passes both ways, the first ones too, and each side ends on its own',
  async (t) => {
    const [up, down, early] = [randomBytes(3_000_001), randomBytes(2_000_003), randomBytes(50_000)]
    const came: Buffer[] = []
    const { backend, web } = await raw(t, (socket, head) => {
      came.push(head)
      // With its answer, before anything was asked.
      socket.write(Buffer.concat([Buffer.from(SWITCHING), Buffer.from('first words ')]))
      socket.on('data', (chunk) => came.push(chunk))
      // Only when the client has said all, and after that it reads on.
      socket.on('end', () => socket.end(down))
    })
    for (const [port, path] of [
      [portOf(backend), '/'],
      [web.port, '/role/echo/']
    ] as const) {
      came.length = 0
      const bytes = await exchangeBytes(port, async (socket) => {
        socket.write(Buffer.concat([Buffer.from(opening(path)), early]))
        await once(socket, 'data')
        socket.end(up)
      })
      const words = bytes.indexOf('\r\n\r\n') + 4
      t.ok(bytes.subarray(words).equals(Buffer.concat([Buffer.from('first words '), down])), path)
      t.ok(Buffer.concat(came).equals(Buffer.concat([early, up])), `${path}: as it was sent`)
    }
  }
)

t.test(
  'a server that has said all is still listened to by the gateway, for its client',
  async (t) => {
    const heard: string[] = []
    const { backend, web } = await raw(t, (socket) => {
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.on('end', () => heard.push(text))
      socket.end(`${SWITCHING}that is all`)
    })
    backend.on('connection', (socket: Socket) => {
      socket.allowHalfOpen = true
    })
    for (const [port, path] of [
      [portOf(backend), '/'],
      [web.port, '/role/echo/']
    ] as const) {
      const before = heard.length
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk
      })
      socket.write(opening(path))
      await once(socket, 'end')
      t.match(text, 'that is all')
      socket.end('and yet it moves')
      await restWhile(() => heard.length === before)
      t.equal(heard.at(-1), 'and yet it moves', path)
      socket.destroy()
    }
  }
)

t.test('who is not let in gets the server’s answer, whatever body it has', async (t) => {
  const refusals = [
    'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nX-A: 1\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwho are',
    'HTTP/1.1 403 No Entry\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nnot \r\n4\r\nhere\r\n0\r\n\r\n',
    'HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: upgrade, close\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\nto the end',
    `HTTP/1.1 503 Full\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n${'x'.repeat(300_000)}`
  ]
  let refusal = ''
  const { backend, web } = await raw(t, (socket) => socket.end(refusal))
  for (refusal of refusals) {
    const direct = await exchange(portOf(backend), opening('/'))
    const through = await exchange(web.port, opening('/role/echo/'))
    const kept = ({ headers }: typeof direct) =>
      headers.filter(
        ([name]) => !/^(via|date|connection|keep-alive|transfer-encoding|upgrade)$/i.test(name)
      )
    t.equal(through.statusLine, direct.statusLine)
    t.strictSame(kept(through), kept(direct))
    t.equal(through.body, direct.body, direct.statusLine)
    t.ok(through.isComplete)
  }
})

t.test(
  'a switch of protocols that lacks one of its fields is refused, and loses no bytes',
  async (t) => {
    const fields = ['Connection: Upgrade\r\n', 'Upgrade: websocket\r\n']
    let answer = ''
    const { web } = await raw(t, (socket) => socket.end(answer))
    for (const field of fields) {
      answer = `HTTP/1.1 101 Switching Protocols\r\n${field}\r\nhello`
      const { statusLine, body } = await exchange(web.port, opening('/role/echo/'))
      t.equal(statusLine, 'HTTP/1.1 502 Bad Gateway', field)
      t.match(JSON.parse(body), { error: 'BAD_GATEWAY' })
    }
  }
)
