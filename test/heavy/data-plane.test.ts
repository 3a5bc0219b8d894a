import { createCipheriv, createHash, type Hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'
import { readAll } from '../link/pair.js'
import { start } from './fixtures/child.js'

/** Client ─ TCP ─ proxy process ═ link ═ service process ─ TCP ─ backend; client and backend are here. */

const MIB = 1024 * 1024
const BULK_BYTES = 512 * 1000 * 1000
const MAX_RSS_BYTES = 150 * MIB
/** What garbage may make of one measurement. */
const RSS_NOISE_BYTES = 25 * MIB

t.test('bulk, crowds, stalls and resets, through a proxy and a service of their own', async (t) => {
  const { client, reports } = await chain(t)

  await t.test('512 MB each way arrive as they were sent', async (t) => {
    t.ok(await echoes(client(), BULK_BYTES))
  })

  await t.test('a thousand connections at once all echo', async (t) => {
    const sent = Array.from({ length: 1000 }, (_, i) => randomBytes(100 + i * 10))
    const sockets = sent.map(() => client())
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const received = await Promise.all(
      sockets.map((socket, i) => {
        socket.end(sent[i] as Buffer)
        return readAll(socket)
      })
    )
    t.ok(received.every((bytes, i) => bytes.equals(sent[i] as Buffer)))
  })

  await t.test('a stalled reader stops nobody else', async (t) => {
    const stalled = client()
    const chunk = Buffer.alloc(64 * 1024)
    stalled.on('drain', () => stalled.write(chunk))
    stalled.write(chunk)
    const others = await Promise.all(Array.from({ length: 4 }, () => echoes(client(), 32 * MIB)))
    t.same(others, [true, true, true, true])
    t.notOk(stalled.destroyed)
    stalled.resetAndDestroy()
  })

  await t.test('clients that reset harm no other', async (t) => {
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const socket = client()
        if (i % 2 === 0) return echoes(socket, 256 * 1024)
        socket.write(Buffer.alloc(64 * 1024))
        await once(socket, 'data')
        socket.resetAndDestroy()
        return true
      })
    )
    t.ok(outcomes.every((outcome) => outcome))
  })

  await t.test('memory does not grow with what is carried', async (t) => {
    const before = await reports()
    t.ok(await echoes(client(), BULK_BYTES))
    const after = await reports()
    for (const name of ['proxy', 'service'] as const) {
      const [first, last] = [before[name].rss, after[name].rss]
      t.ok(last < MAX_RSS_BYTES, `${name}: ${inMib(last)} in the end`)
      t.ok(last < first + RSS_NOISE_BYTES, `${name}: ${inMib(first)} before the last 512 MB`)
    }
    t.equal(after.proxy.stats.connections, 0, 'and no connection is left')
  })
})

/** What a child says of itself. */
interface Report {
  /** In bytes. */
  rss: number
  stats: Record<string, number>
}

/** All the processes between a client and a backend that echoes. */
async function chain(t: Test) {
  const bootstrap = new BootstrapNode({ port: 0 })
  await bootstrap.setup()
  t.teardown(() => bootstrap.destroy())

  const backend = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  t.teardown(() => backend.close())

  const { port } = backend.address() as { port: number }
  const service = await start<{ key: string }>(t, './service.js', [bootstrap.address, String(port)])
  const proxy = await start<{ port: number }>(t, './proxy.js', [
    bootstrap.address,
    service.ready.key
  ])
  return {
    client: () => {
      const socket = connect({ port: proxy.ready.port, host: '127.0.0.1', allowHalfOpen: true })
      t.teardown(() => socket.destroy())
      return socket
    },
    reports: async () => ({
      proxy: await proxy.ask<Report>('report'),
      service: await service.ask<Report>('report')
    })
  }
}

/** Sends so many bytes and compares the hash of what comes back at the same time. */
async function echoes(socket: Socket, byteLength: number): Promise<boolean> {
  const [sent, received] = [createHash('sha256'), createHash('sha256')]
  socket.on('data', (chunk) => received.update(chunk))
  const ended = once(socket, 'end')
  await pipeline(noise(byteLength, sent), socket)
  await ended
  return sent.digest('hex') === received.digest('hex')
}

/** Bytes that do not repeat, and are quickly made. */
function* noise(byteLength: number, hash: Hash) {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(64 * 1024)
  for (let left = byteLength; left > 0; left -= zeros.byteLength) {
    const chunk = cipher.update(zeros.subarray(0, Math.min(left, zeros.byteLength)))
    hash.update(chunk)
    yield chunk
  }
}

function inMib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`
}
