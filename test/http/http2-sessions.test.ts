import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type Http2Lease, Http2Sessions } from '../../lib/http/http2-sessions.js'
import { DATA, type Frame, Frames, GOAWAY, HEADERS, WINDOW_UPDATE } from '../gateway/frames.js'
import { listen } from '../gateway/harbor.js'

const KEY = Buffer.alloc(32)
/** More than the system keeps of a connection that nobody reads, in bytes. */
const MANY = 64 * 1024 * 1024
const REQUEST = { method: 'GET', path: '/', headers: ['Host', 'localhost'], hasBody: false }

/** Sessions with a server that reads connections like this. */
async function pairOf(t: Test, onconnection: (socket: Socket) => void, options = {}) {
  const server = createServer(onconnection)
  server.on('connection', (socket: Socket) => {
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
  })
  const port = await listen(t, server)
  const open = async () => {
    const socket = connect({ port, host: '127.0.0.1' })
    await once(socket, 'connect')
    return { toDuplex: () => socket }
  }
  const sessions = new Http2Sessions({ open } as never, options)
  t.teardown(() => sessions.close())
  return { server, sessions, open: () => sessions.open(KEY, {}) }
}

async function answerTo(lease: Http2Lease): Promise<number> {
  const request = lease.request(REQUEST)
  request.on('error', () => {})
  request.end()
  const closed = once(request, 'close')
  const [answer] = await once(request, 'response')
  answer.on('data', () => {})
  await closed
  return answer.statusCode
}

t.test('a session is lent to nobody before its server has said what it takes', async (t) => {
  const { server, open } = await pairOf(t, () => {}, { readyTimeout: 100 })
  const connected = once(server, 'connection')
  const first = open()
  first.catch(() => {})
  const [socket] = (await connected) as [Socket]
  const closed = new Promise((resolve) => socket.resume().once('close', resolve))
  const second = open()
  await t.rejects(first)
  await t.rejects(second)
  await closed
})

t.test('a session over which many requests were cancelled gets no more of them', async (t) => {
  let connections = 0
  const { server, open } = await pairOf(t, (socket) => {
    const frames = Frames.serve(socket)
    frames.on('frame', ({ type, stream }: Frame) => {
      // On the first connection, every other request is cancelled.
      if (type === HEADERS && (connections > 1 || stream % 4 === 3))
        frames.head(stream, { ':status': '200' }, { isEnd: true })
    })
  })
  const closings: Promise<unknown>[] = []
  server.on('connection', (socket: Socket) => {
    connections++
    closings.push(new Promise((resolve) => socket.once('close', resolve)))
  })
  for (let i = 0; i < 100; i++) {
    t.equal(connections, i === 0 ? 0 : 1)
    const request = (await open()).request(REQUEST)
    request.on('error', () => {})
    const closed = new Promise((resolve) => request.once('close', resolve))
    request.destroy()
    await closed
    if (i < 99) t.equal(await answerTo(await open()), 200)
  }
  const [closing] = closings
  t.equal(await answerTo(await open()), 200)
  t.equal(connections, 2)
  await closing
})

t.test('a session that was left, and cannot be ended gently, is cut', async (t) => {
  const { server, open } = await pairOf(t, () => {}, { lingerTimeout: 100 })
  const connected = once(server, 'connection')
  const opening = open()
  const [socket] = (await connected) as [Socket]
  const frames = Frames.serve(socket)
  const begun = frames.whenSeen(({ type }) => type === HEADERS)
  const lease = await opening
  const request = lease.request({ ...REQUEST, method: 'POST', hasBody: true })
  request.on('error', () => {})
  await begun
  // The server allows much, reads none of it, and says goodbye.
  socket.pause()
  for (const stream of [0, 1]) frames.send({ type: WINDOW_UPDATE, stream, payload: word(MANY) })
  request.write(Buffer.alloc(MANY))
  const left = once(lease.session, 'goaway')
  frames.send({ type: GOAWAY, payload: Buffer.concat([word(1), word(0)]) })
  await left
  const ended = once(lease.session, 'close')
  request.destroy()
  await ended
})

t.test('a session whose server broke the rules of HTTP/2 gets no more requests', async (t) => {
  let connections = 0
  const { open } = await pairOf(
    t,
    (socket) => {
      const isFirst = ++connections === 1
      const frames = Frames.serve(socket)
      frames.on('frame', ({ type, stream }: Frame) => {
        if (type !== HEADERS) return
        // A body without a head. node:http2 says goodbye, and goes on as if nothing had been.
        if (isFirst) frames.send({ type: DATA, stream, payload: Buffer.from('a') })
        else frames.head(stream, { ':status': '200' }, { isEnd: true })
      })
      if (isFirst) t.context.goodbye = frames.whenSeen(({ type }) => type === GOAWAY)
    },
    { silence: 0, lingerTimeout: 100 }
  )
  const lease = await open()
  // From Node 22 on, the session may end by itself.
  const ended = new Promise((resolve) => lease.session.once('close', resolve))
  const request = lease.request(REQUEST)
  request.on('error', () => {})
  request.end()
  await t.context.goodbye
  request.destroy()
  t.equal(await answerTo(await open()), 200)
  t.equal(connections, 2)
  await ended
})

t.test('a session that is opened while all are closed serves who waits for it', async (t) => {
  const { server, sessions, open } = await pairOf(t, () => {}, { lingerTimeout: 100 })
  const connected = once(server, 'connection')
  const opening = open()
  const [socket] = (await connected) as [Socket]
  // Its client has begun, so that the session is there, and is not ready.
  await once(socket, 'readable')
  sessions.close()
  const frames = Frames.serve(socket)
  frames.on('frame', ({ type, stream }: Frame) => {
    if (type === HEADERS) frames.head(stream, { ':status': '200' }, { isEnd: true })
  })
  const lease = await opening
  const closed = once(lease.session, 'close')
  t.equal(await answerTo(lease), 200)
  await closed
})

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
