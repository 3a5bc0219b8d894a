import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { adopt, tcpSocket } from '../../../lib/link/direct/tcp-socket.js'

const ATTEMPTS = 10

t.test('what was read stays as it was, however much is read after it', async (t) => {
  for (const { name, reader, writer } of await pairs(t)) {
    const kept: Buffer[] = []
    reader.on('data', (chunk: Buffer) => kept.push(chunk))
    const sent: Buffer[] = []
    // Little, much, little: each takes another way through the buffers.
    for (const size of [1, 100, 70_000, 3_000_000, 5, 400_000, 20_000, 1, 1_000_000]) {
      const piece = Buffer.alloc(size, `${sent.length}, ${size} `)
      sent.push(piece)
      writer.write(piece)
      await once(reader, 'data')
    }
    writer.end()
    await once(reader, 'end')
    t.ok(Buffer.concat(kept).equals(Buffer.concat(sent)), name)
  }
})

t.test(
  'much at a time is read where much comes, and little keeps no more than it is',
  async (t) => {
    const good = new Set<string>()
    // A kernel that is short of memory for sockets may give little at a time for a while.
    for (let attempt = 0; attempt < ATTEMPTS && good.size < 2; attempt++) {
      for (const { name, reader, writer } of await pairs(t)) {
        let largest = 0
        let wasteful = 0
        reader.on('data', (chunk: Buffer) => {
          largest = Math.max(largest, chunk.byteLength)
          if (chunk.buffer.byteLength > Math.max(8 * 1024, chunk.byteLength * 4)) wasteful++
        })
        writer.write(Buffer.alloc(20_000_000))
        writer.end('and one word')
        await once(reader, 'end')
        t.comment(`${name}: ${largest} bytes at a time, ${wasteful} keep more than they are`)
        if (largest > 64 * 1024 && wasteful === 0) good.add(name)
      }
    }
    t.equal(good.size, 2, 'sockets that connect, and those that are adopted')
  }
)

t.test('who is held back keeps little more than what it has read', async (t) => {
  const readers: Socket[] = []
  const held: Buffer[] = []
  for (let i = 0; i < 20; i++)
    for (const { reader, writer } of await pairs(t)) {
      readers.push(reader)
      writer.on('error', () => {})
      writer.write(Buffer.alloc(1_000_000))
    }
  const before = process.memoryUsage().arrayBuffers
  for (const reader of readers) {
    reader.once('data', (chunk: Buffer) => {
      held.push(chunk)
      reader.pause()
    })
    await once(reader, 'pause')
  }
  await new Promise(setImmediate)
  const read = held.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const kept = process.memoryUsage().arrayBuffers - before
  t.ok(kept < 1.5 * read, `${kept} bytes for ${read}`)
})

t.test('what comes before anybody listens waits, its end too', async (t) => {
  for (const { name, reader, writer } of await pairs(t)) {
    writer.end('early')
    await once(reader, 'readable')
    await new Promise(setImmediate)
    let text = ''
    for await (const chunk of reader) text += chunk
    t.equal(text, 'early', name)
  }
})

t.test('a reader that pauses hears nothing until it goes on', async (t) => {
  for (const { name, reader, writer } of await pairs(t)) {
    const sent = Buffer.alloc(3_000_000, 'a long tale ')
    const kept: Buffer[] = []
    let isPaused = false
    reader.on('data', (chunk: Buffer) => {
      t.notOk(isPaused, name)
      kept.push(chunk)
      isPaused = true
      reader.pause()
      setImmediate(() => {
        isPaused = false
        reader.resume()
      })
    })
    writer.end(sent)
    await once(reader, 'end')
    t.ok(Buffer.concat(kept).equals(sent))
  }
})

t.test('one side may end and still listen', async (t) => {
  for (const { name, reader, writer } of await pairs(t)) {
    reader.end('nothing more to say')
    writer.resume()
    await once(writer, 'end')
    writer.end('an answer')
    t.equal(String((await once(reader, 'data'))[0]), 'an answer', name)
    await once(reader, 'close')
  }
})

t.test('an adopted socket brings first what was read before', async (t) => {
  const { server, accepted, client } = await taken(t)
  client.write('once upon')
  await once(accepted, 'readable')
  accepted.unshift(accepted.read())
  const socket = adopt(accepted)
  t.equal(socket.remotePort, client.localPort)
  client.end(' a time')
  let text = ''
  for await (const chunk of socket) text += chunk
  t.equal(text, 'once upon a time')
  socket.end()
  server.close()
  await once(server, 'close')
})

t.test('a server waits for a socket that was adopted, and may destroy what it took', async (t) => {
  const { server, accepted, client } = await taken(t)
  const socket = adopt(accepted)
  server.close()
  t.equal(await connectionsOf(server), 1)
  accepted.destroy()
  client.resume()
  await Promise.all([once(socket, 'close'), once(server, 'close'), once(client, 'end')])
  t.ok(socket.destroyed)
})

t.test('what is destroyed already is not adopted', async (t) => {
  const { accepted } = await taken(t)
  accepted.destroy()
  t.equal(adopt(accepted), accepted)
})

interface Pair {
  name: string
  reader: Socket
  writer: Socket
}

/** Connections, one end of each as we make it. */
async function pairs(t: Test): Promise<Pair[]> {
  const made = await taken(t, tcpSocket())
  const adopted = await taken(t)
  return [
    { name: 'connected', reader: made.client, writer: made.accepted },
    { name: 'adopted', reader: adopt(adopted.accepted), writer: adopted.client }
  ]
}

/** A connection that a server took. */
async function taken(t: Test, socket?: Socket) {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = socket?.connect({ port, host: '127.0.0.1' }) ?? connect(port, '127.0.0.1')
  client.allowHalfOpen = true
  const [accepted] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => {
    server.close()
    for (const end of [client, accepted]) end.destroy()
  })
  return { server, client, accepted }
}

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
  })
}
