import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { cut, pipe } from '../../lib/link/pipe.js'
import { tcpPair } from './pair.js'

const CHUNK_BYTES = 16 * 1024

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
