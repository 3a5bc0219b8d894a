import { once } from 'node:events'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { splice } from '../../lib/link/splice.js'
import { readAll, streamPair, tcpPair } from './pair.js'

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

t.test(
  'a socket that had ended before it was joined ends its direction of the stream',
  async (t) => {
    const { openBare } = await streamPair(t)
    const [stream, end] = await openBare()
    const { client, socket } = await tcpPair(t)
    client.end()
    await once(socket, 'end')
    const far = end.toDuplex()
    const over = splice(stream, socket)
    t.equal(String(await readAll(far)), '')
    far.end('answer')
    t.equal(String(await readAll(client)), 'answer')
    t.equal(await over, null)
  }
)

t.test('a server that ends first still receives the rest', async (t) => {
  const { client, far, over } = await joined(t)
  far.end()
  await readAll(client)
  client.end('the rest')
  t.equal(String(await readAll(far)), 'the rest')
  t.equal(await over, null)
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

t.test('a stream whose reader is slow slows the client, and loses nothing', async (t) => {
  const { client, far, over } = await joined(t)
  let written = 0
  for (let waits = 0; waits < 10; ) {
    if (client.writableNeedDrain) {
      waits++
      await new Promise((resolve) => setTimeout(resolve, 10))
    } else {
      client.write(Buffer.alloc(CHUNK_BYTES))
      written += CHUNK_BYTES
    }
    await new Promise(setImmediate)
  }
  t.ok(written < 32 * 1024 * 1024, `${written} bytes were taken, and no more`)
  client.end()
  far.end()
  client.resume()
  t.equal((await readAll(far)).byteLength, written)
  t.equal(await over, null)
})

t.test('a client that is slow slows the stream, and loses nothing', async (t) => {
  const { client, far, over } = await joined(t)
  const sent = Buffer.alloc(8 * 1024 * 1024, 'seaport')
  far.end(sent)
  await new Promise((resolve) => setTimeout(resolve, 50))
  client.end()
  far.resume()
  t.ok((await readAll(client)).equals(sent))
  t.equal(await over, null)
})

t.test('what was cut before it was joined is cut on the other side too', async (t) => {
  const { openBare } = await streamPair(t)
  const [stream] = await openBare()
  const { client, socket } = await tcpPair(t)
  stream.destroy(SeaportError.STREAM_RESET('early'))
  const reset = once(client, 'error')
  t.match(await splice(stream, socket), { code: 'STREAM_RESET' })
  t.match(await reset, [{ code: 'ECONNRESET' }])
})

t.test('a socket that was gone before it was joined cuts the stream', async (t) => {
  const { openBare } = await streamPair(t)
  const [stream, far] = await openBare()
  const { socket } = await tcpPair(t)
  socket.destroy()
  await once(socket, 'close')
  const cut = once(far.toDuplex(), 'error')
  t.match(await splice(stream, socket), { code: 'STREAM_RESET' })
  t.match(await cut, [{ code: 'STREAM_RESET' }])
})

/** client ─ TCP ─ socket ═ stream ─ link ─ far, with the middle joined. */
async function joined(t: Test) {
  const { client, socket } = await tcpPair(t)
  const { openBare } = await streamPair(t)
  const [stream, far] = await openBare()
  return { client, far: far.toDuplex(), over: splice(stream, socket) }
}
