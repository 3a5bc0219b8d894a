import { once } from 'node:events'
import { type ClientRequest, createServer, type RequestOptions, request } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { StreamAgent } from '../../lib/http/agent.js'
import { Consumer, Service } from '../../lib/index.js'
import { Harbor } from '../gateway/harbor.js'

async function entryOf(t: Test) {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', ({ url }, response) => {
    if (url !== '/never') response.end('ok')
  })
  const dir = await harbor.testbed.dir()
  const consumer = Consumer(['api'], { ...harbor.options, dir, listen: false })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  return entry
}

t.test(
  'what clients call on a request and its socket does what it does with a socket',
  async (t) => {
    const { agent } = await entryOf(t)
    const ask = (options: RequestOptions, act = (_request: ClientRequest) => {}) => {
      const asking = request({ agent, ...options })
      act(asking)
      return asking.end()
    }
    for (const act of [
      (asking: ClientRequest) => asking.setNoDelay(true),
      (asking: ClientRequest) => asking.setSocketKeepAlive(true, 1000),
      (asking: ClientRequest) => void asking.setTimeout(5000),
      (asking: ClientRequest) => {
        asking.on('socket', (socket) => {
          socket.ref().unref().setKeepAlive(true).setNoDelay()
          t.match(socket, { connecting: false, readyState: 'open', remoteAddress: '127.0.0.1' })
          t.match(socket.address(), { family: 'IPv4' })
        })
      }
    ]) {
      const asking = ask({ path: '/' }, act)
      const [socket] = await once(asking, 'socket')
      const [answer] = await once(asking, 'response')
      t.equal(answer.statusCode, 200)
      await once(answer.resume(), 'end')
      t.ok(socket.bytesRead > 0 && socket.bytesWritten > 0)
    }
    const timedOut = ask({ path: '/never', timeout: 50 })
    await once(timedOut, 'timeout')
    timedOut.destroy()
    t.match(await once(timedOut, 'error'), [{ code: 'ECONNRESET' }])
    const late = ask({ path: '/never' }, (asking) => asking.setTimeout(50))
    await once(late, 'timeout')
    late.destroy(new Error('mine'))
    t.match(await once(late, 'error'), [{ message: 'mine' }])
    // A kept stream has no timeout of the request before.
    const asking = ask({ path: '/' })
    const [socket] = await once(asking, 'socket')
    const [answer] = await once(asking, 'response')
    t.notOk(socket.timeout)
    await once(answer.resume(), 'end')
  }
)

t.test('a request times out and can be destroyed while its stream is dialed', async (t) => {
  const signals: AbortSignal[] = []
  const agent = new StreamAgent({
    dial: ({ signal }) => {
      signals.push(signal)
      return new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    }
  })
  for (const act of [
    () => request({ agent, timeout: 20 }),
    () => request({ agent }).setTimeout(20),
    () => request({ agent }).setTimeout(60_000).setTimeout(20)
  ]) {
    const asking = act().end()
    await once(asking, 'timeout')
    asking.destroy()
    t.match(await once(asking, 'error'), [{ code: 'ECONNRESET' }])
    t.equal(signals.at(-1)?.aborted, true, 'and the dial ends')
  }
  const ending = new AbortController()
  const asking = request({ agent, signal: ending.signal }).end()
  ending.abort()
  t.match(await once(asking, 'error'), [{ name: 'AbortError' }])
})

t.test('a client that connects its socket itself finds it connected, as pg does', async (t) => {
  const entry = await entryOf(t)
  const stream = (await entry.connect()) as Duplex & { connect(port: number): Duplex }
  stream.connect(5432)
  await once(stream, 'connect')
  stream.destroy()
})

t.test(
  'a timeout that no timer can run does not fire, and one that is none is refused',
  async (t) => {
    const fired: string[] = []
    const dialing = new StreamAgent({ dial: () => new Promise<never>(() => {}) })
    const entry = await entryOf(t)
    const { agent } = entry
    const askings = [
      request({ agent: dialing, timeout: 2 ** 31 }),
      request({ agent: dialing }).setTimeout(2 ** 40),
      request({ agent, path: '/never', timeout: 2 ** 31 })
    ]
    for (const asking of askings) {
      asking.on('error', () => {}).on('timeout', () => fired.push('a request’s'))
      asking.end()
    }
    const [, , last] = askings as [unknown, unknown, ClientRequest]
    await once(last, 'socket')
    const stream = (await entry.connect()) as unknown as Socket
    stream.setTimeout(2 ** 31, () => fired.push('a stream’s'))
    t.equal(stream.timeout, 2 ** 31)
    await sleep(50)
    t.strictSame(fired, [])
    const thrown = (socket: Socket, timeout: unknown) => {
      try {
        socket.setTimeout(timeout as number)
        return 'nothing'
      } catch (error) {
        const { name, code } = error as NodeJS.ErrnoException
        return `${name} ${code}`
      }
    }
    for (const timeout of [-1, Number.POSITIVE_INFINITY, Number.NaN, '5', 0.5]) {
      const measure = thrown(new Socket(), timeout)
      t.equal(thrown(stream, timeout), measure, String(timeout))
    }
    stream.destroy()
    for (const asking of askings) asking.destroy()
  }
)

t.test('a stream that is to be destroyed soon sends what was written, and closes', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/never') return
    // node:http destroys such a connection soon when it has answered, though the body of the request goes on.
    response.writeHead(200, { connection: 'close' }).end(Buffer.alloc(1_000_000, 'a'))
  })
  const harbor = await Harbor.make(t)
  const options = { ...harbor.options, dir: await harbor.testbed.dir() }
  const service = Service({ ...options, role: 'api@1.0.0', server })
  t.teardown(() => service.destroy())
  await service.setup()
  const consumer = Consumer(['api'], { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const { agent } = entry

  const stream = (await entry.connect()) as unknown as Socket
  stream.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n')
  let byteLength = 0
  for await (const chunk of stream) byteLength += chunk.length
  t.ok(byteLength > 1_000_000, 'all of the answer came')

  const asking = request({ agent, path: '/never' })
  asking.end()
  const [socket] = await once(asking, 'socket')
  t.equal(socket.bufferSize, socket.writableLength)
  socket.destroySoon()
  t.match(await once(asking, 'error'), [{ code: 'ECONNRESET' }])
  const other = (await entry.connect()) as unknown as Socket
  other.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n')
  other.destroySoon()
  await once(other, 'close')
  t.equal(other.errored, null, 'it was not cut')
})
