import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect, createServer } from 'node:net'
import t, { type Test } from 'tap'
import type { Web } from '../../lib/index.js'
import { restWhile } from '../rest.js'
import { type Frame, Frames, HEADERS, RST_STREAM } from './frames.js'
import { Harbor, listen, portOf } from './harbor.js'
import { exchange } from './wire.js'

const { NGHTTP2_NO_ERROR: NO_ERROR, NGHTTP2_CANCEL: CANCEL } = constants

/** Begins an upload. Resolves with what ends it, once it was answered. */
type Upload = (web: Web) => Promise<() => void>

const overHttp2 =
  (t: Test, code: number, fields = {}): Upload =>
  async ({ port }) => {
    const frames = await Frames.connect(t, port)
    frames.request(1, 'POST', '/role/api/', fields)
    frames.data(1, 'begun')
    await frames.whenEnded(1)
    return () => frames.reset(1, code)
  }

const overHttp1 =
  (t: Test, framing: string, piece: string): Upload =>
  async ({ port }) => {
    const socket = connect({ port, host: '127.0.0.1' })
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(`POST /role/api/ HTTP/1.1\r\nHost: localhost\r\n${framing}\r\n\r\n${piece}`)
    let text = ''
    while (!text.includes('early')) text += (await once(socket, 'data')).toString()
    return () => socket.resetAndDestroy()
  }

const UPLOADS: Record<string, (t: Test) => Upload> = {
  'HTTP/2 with a length, NO_ERROR': (t) => overHttp2(t, NO_ERROR, { 'content-length': '1000' }),
  'HTTP/2 with a length, CANCEL': (t) => overHttp2(t, CANCEL, { 'content-length': '1000' }),
  'HTTP/2 without a length, NO_ERROR': (t) => overHttp2(t, NO_ERROR),
  'HTTP/1.1 with a length': (t) => overHttp1(t, 'Content-Length: 1000', 'begun'),
  'HTTP/1.1 in chunks': (t) => overHttp1(t, 'Transfer-Encoding: chunked', '5\r\nbegun\r\n')
}

for (const fastPath of [true, false]) {
  for (const [name, upload] of Object.entries(UPLOADS)) {
    const way = `${name}, ${fastPath ? 'with' : 'without'} the fast path`
    t.test(`an answered upload that breaks off spoils no stream: ${way}`, async (t) => {
      const harbor = await Harbor.make(t)
      const backend = await harbor.backend(early)
      backend.keepAliveTimeout = 0
      await harbor.service('api@1.0.0', portOf(backend))
      const web = await harbor.web({ fastPath })
      const uploaded = once(backend, 'request')
      const over = once(web, 'access')
      const breakOff = await upload(t)(web)
      const [request] = (await uploaded) as [IncomingMessage]
      const cut = new Promise((resolve) => request.socket.once('close', resolve))
      breakOff()
      await over
      const session = connectHttp2(web.url)
      t.teardown(() => session.destroy())
      const stream = session.request({ ':path': '/role/api/next' }).setEncoding('utf8')
      const text = (await stream.toArray()).join('')
      t.equal(text, 'GET /next')
      const next = await fetch(`${web.url}role/api/next`)
      t.equal(await next.text(), 'GET /next')
      await cut
      t.notOk(request.complete, 'the service knows that it has not all of it')
    })
  }
}

for (const code of [NO_ERROR, CANCEL]) {
  for (const method of ['GET', 'HEAD', 'POST']) {
    t.test(`a service notices that a client resets its ${method} with ${code}`, async (t) => {
      const harbor = await Harbor.make(t)
      const backend = await harbor.backend((request) => void request.resume())
      await harbor.service('api@1.0.0', portOf(backend))
      const web = await harbor.web({ deadline: 60 * 60_000 })
      const frames = await Frames.connect(t, web.port)
      frames.request(1, method, '/role/api/', {}, { isEnd: method !== 'POST' })
      if (method === 'POST') frames.data(1, 'begun')
      const [request, answer] = (await once(backend, 'request')) as [
        IncomingMessage,
        ServerResponse
      ]
      const over = [once(answer, 'close'), once(web, 'access')]
      frames.reset(1, code)
      await Promise.all(over)
      t.equal(request.complete, method !== 'POST')
      t.equal(web.getStats().gateway.active, 0)
    })
  }
}

/** What a service sends over HTTP/2 as its answer. */
const ANSWERS: Record<string, (frames: Frames, stream: number) => void> = {
  'a head and a reset with NO_ERROR': (frames, stream) => {
    frames.head(stream, { ':status': '200' })
    frames.reset(stream, NO_ERROR)
  },
  'a piece and a reset with NO_ERROR': (frames, stream) => {
    frames.head(stream, { ':status': '200' })
    frames.data(stream, 'some')
    frames.reset(stream, NO_ERROR)
  },
  'less than its length, and a reset with NO_ERROR': (frames, stream) => {
    frames.head(stream, { ':status': '200', 'content-length': '8' })
    frames.data(stream, 'some')
    frames.reset(stream, NO_ERROR)
  },
  'less than its length': (frames, stream) => {
    frames.head(stream, { ':status': '200', 'content-length': '8' })
    frames.data(stream, 'some', { isEnd: true })
  },
  'all of it, and a reset with NO_ERROR': (frames, stream) => {
    frames.head(stream, { ':status': '200', 'content-length': '4' })
    frames.data(stream, 'some', { isEnd: true })
    frames.reset(stream, NO_ERROR)
  }
}

for (const [name, answer] of Object.entries(ANSWERS)) {
  const isWhole = name.startsWith('all')
  t.test(`a client can tell whether an answer over HTTP/2 is whole: ${name}`, async (t) => {
    const harbor = await Harbor.make(t)
    const port = await serveFrames(t, answer)
    await harbor.service('api@1.0.0', port, { tags: ['protocol=h2'] })
    const web = await harbor.web()
    for (const [framing, body] of [
      ['Content-Length: 0', ''],
      ['Content-Length: 9', 'too short']
    ]) {
      const head = `POST /role/api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${framing}`
      const { statusLine, isComplete } = await exchange(web.port, `${head}\r\n\r\n${body}`)
      t.match(statusLine, ' 200 ')
      t.equal(isComplete, isWhole, 'over HTTP/1.1')
    }
    const frames = await Frames.connect(t, web.port)
    frames.request(1, 'GET', '/role/api/', {}, { isEnd: true })
    if (isWhole) await frames.whenEnded(1)
    else await frames.whenSeen(({ type }) => type === RST_STREAM)
    t.equal(frames.seen.filter(({ type }) => type === RST_STREAM).length, isWhole ? 0 : 1)
    await restWhile(() => web.getStats().gateway.active > 0)
  })
}

/** A service that answers each request over HTTP/2 as soon as its head comes. */
async function serveFrames(
  t: Test,
  answer: (frames: Frames, stream: number) => void
): Promise<number> {
  const server = createServer((socket) => {
    t.teardown(() => socket.destroy())
    const frames = Frames.serve(socket)
    frames.on('frame', ({ type, stream }: Frame) => {
      if (type === HEADERS) answer(frames, stream)
    })
  })
  return listen(t, server)
}

/** Answers uploads before they have come.*/
const early: RequestListener = (request, response) => {
  request.on('error', () => {}).resume()
  response.end(request.method === 'POST' ? 'early' : `${request.method} ${request.url}`)
}
