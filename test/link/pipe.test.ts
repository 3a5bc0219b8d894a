import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/errors.js'
import { cut, pipe } from '../../lib/link/pipe.js'
import { readAll, streamPair } from './pair.js'

const CHUNK_BYTES = 16 * 1024

t.test('bytes go both ways, and both sides end', async (t) => {
  const { client, far, over } = await joined(t)
  client.end('question')
  t.equal(String(await readAll(far)), 'question')
  far.end('answer')
  t.equal(String(await readAll(client)), 'answer')
  t.equal(await over, null)
})

t.test('a client that shuts its side still receives the answer', async (t) => {
  const { client, far, over } = await joined(t)
  client.end()
  await readAll(far)
  far.write('part one, ')
  t.equal(String((await once(client, 'data'))[0]), 'part one, ')
  far.end('part two')
  t.equal(String(await readAll(client)), 'part two')
  t.equal(await over, null)
})

t.test('a server that ends first still receives the rest', async (t) => {
  const { client, far, over } = await joined(t)
  far.end()
  await readAll(client)
  client.end('the rest')
  t.equal(String(await readAll(far)), 'the rest')
  t.equal(await over, null)
})

t.test('a socket that is just shutting down is closed when it is cut', async (t) => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const accepted = once(server, 'connection')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => client.destroy())
  const [socket] = (await accepted) as [Socket]
  socket.end('bye')
  const closed = once(socket, 'close')
  cut(socket, SeaportError.CLOSED('enough'))
  await closed
})

t.test('a client that resets cuts the stream', async (t) => {
  const { client, far, over } = await joined(t)
  client.write('and then')
  await once(far, 'data')
  client.resetAndDestroy()
  const [error] = await once(far, 'error')
  t.match(error, { code: 'STREAM_RESET' })
  t.ok(await over)
})

t.test('a stream that is cut resets the client', async (t) => {
  const { client, far, over } = await joined(t)
  far.destroy(SeaportError.REFUSED('enough'))
  const [error] = await once(client, 'error')
  t.match(error, { code: 'ECONNRESET' })
  t.match(await over, { code: 'STREAM_RESET' })
})

t.test('a reader that is slow slows the writer', async (t) => {
  const [near, a] = duplexPair()
  const [b, far] = duplexPair()
  const over = pipe(a, b)
  let written = 0
  for (let turn = 0; turn < 200; turn++) {
    if (!near.writableNeedDrain) {
      near.write(Buffer.alloc(CHUNK_BYTES))
      written += CHUNK_BYTES
    }
    await new Promise(setImmediate)
  }
  t.ok(near.writableNeedDrain)
  t.ok(written < 20 * CHUNK_BYTES, `${written} bytes were taken, and no more`)
  far.resume()
  await once(near, 'drain')
  near.end()
  far.end()
  near.resume()
  t.equal(await over, null)
})

t.test('what was cut before it was joined is cut on the other side too', async (t) => {
  const [near, a] = duplexPair()
  const { client, socket } = await tcpPair(t)
  a.destroy(SeaportError.STREAM_RESET('early'))
  const over = pipe(socket, a)
  t.match(await once(client, 'error'), [{ code: 'ECONNRESET' }])
  t.match(await over, { code: 'STREAM_RESET' })
  near.destroy()
})

/** client ─ TCP ─ socket ═ stream ─ link ─ far, with the middle joined. */
async function joined(t: Test) {
  const { client, socket } = await tcpPair(t)
  const { open } = await streamPair(t)
  const [stream, far] = await open()
  return { client, far: far as Duplex, over: pipe(socket, stream) }
}

async function tcpPair(t: Test): Promise<{ client: Socket; socket: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => client.destroy())
  return { client, socket }
}
