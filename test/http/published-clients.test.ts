/** Published clients of HTTP and gRPC: each does with `entry.agent`, or a stream, what it does with Node's own agent. */
import { EventEmitter } from 'node:events'
import { Agent, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { credentials, Client as GrpcClient, ServerCredentials } from '@grpc/grpc-js'
import axios, { type AxiosError } from 'axios'
import got from 'got'
import supertest from 'supertest'
import t, { type Test } from 'tap'
import { Client } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import { Consumer, Service } from '../../lib/index.js'
import { converse, echoServer, portOfEcho } from '../echo-grpc.js'
import { Harbor, portOf } from '../gateway/harbor.js'

const LARGE = Buffer.alloc(2 * 1024 * 1024, 'large')
const TIMEOUT_MS = 100

/** How a client reaches the same backend: by Node's own agent, which is the measure, or over streams. */
interface Way {
  who: string
  base: string
  agent: Agent
  connect(): Promise<Duplex>
}

async function answer(request: IncomingMessage, response: ServerResponse) {
  const { url = '', method, headers, socket } = request
  const status = Number(/^\/status\/(\d+)$/.exec(url)?.[1])
  if (status) return void response.writeHead(status).end('as asked')
  if (url === '/never') return
  if (url === '/cut') return void socket.destroy()
  if (url === '/half') {
    response.writeHead(200, { 'content-length': 10 }).write('half')
    return void setImmediate(() => socket.destroy())
  }
  if (url === '/redirect') return void response.writeHead(302, { location: '/json' }).end()
  if (url === '/large') return void response.end(LARGE)
  if (url === '/gzip') {
    return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('packed'))
  }
  const type = headers['content-type'] ?? ''
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ method, url, type, body: await text(request) }))
}

async function ways(t: Test): Promise<Way[]> {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) => void answer(request, response))
  const sockets = new WebSocketServer({
    server: backend,
    verifyClient: ({ req }: { req: IncomingMessage }) => req.url !== '/refused'
  })
  sockets.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
  })
  await harbor.service('api@1.0.0', portOf(backend))
  const consumer = Consumer(['api'], { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const own = new Agent({ keepAlive: true })
  t.teardown(() => own.destroy())
  const { agent } = entry
  return [
    { who: 'node', base: `http://127.0.0.1:${portOf(backend)}`, agent: own, connect: unused },
    { who: 'agent', base: 'http://api', agent, connect: () => entry.connect() },
    { who: 'port', base: entry.url.replace(/\/$/, ''), agent: own, connect: unused }
  ]
}

async function unused(): Promise<never> {
  throw new Error('is not asked for a stream')
}

/** What comes of each call, which must be the same whichever way it goes. */
type Calls = Record<string, (way: Way) => Promise<unknown>>

async function compare(t: Test, calls: Calls) {
  const [first, ...others] = await ways(t)
  if (!first) throw new Error('there is nothing to compare with')
  for (const [name, call] of Object.entries(calls)) {
    const measure = await call(first)
    for (const way of others) t.strictSame(await call(way), measure, `${name}, by ${way.who}`)
  }
}

t.test('axios', async (t) => {
  const ask = ({ base, agent }: Way) =>
    axios.create({ baseURL: base, httpAgent: agent, proxy: false, timeout: 10_000 })
  const failure = (asked: Promise<unknown>) =>
    asked.catch(({ name, code, message, response }: AxiosError) => ({
      name,
      code,
      message,
      status: response?.status
    }))
  await compare(t, {
    'a GET of JSON': async (way) => (await ask(way).get('/json', { params: { a: 1 } })).data,
    'a POST of JSON': async (way) => (await ask(way).post('/json', { b: [2] })).data,
    'a redirect': async (way) => (await ask(way).get('/redirect')).data,
    'what is packed': async (way) => (await ask(way).get('/gzip')).data,
    'a large answer as bytes': async (way) => {
      const { data } = await ask(way).get('/large', { responseType: 'arraybuffer' })
      return LARGE.equals(data)
    },
    'a large answer as a stream': async (way) => {
      const { data } = await ask(way).get('/large', { responseType: 'stream' })
      return LARGE.equals(await buffer(data))
    },
    'many at once': async (way) => {
      const all = Array.from({ length: 20 }, (_, i) => ask(way).get(`/json?${i}`))
      return (await Promise.all(all)).map(({ data }) => data.url)
    },
    'a status that is a failure': (way) => failure(ask(way).get('/status/404')),
    'a timeout': (way) => failure(ask(way).get('/never', { timeout: TIMEOUT_MS })),
    'a cut': (way) => failure(ask(way).get('/cut')),
    'an answer that is cut': (way) => failure(ask(way).get('/half')),
    'an abort': (way) => {
      const ending = new AbortController()
      const asked = failure(ask(way).get('/never', { signal: ending.signal }))
      setImmediate(() => ending.abort())
      return asked
    }
  })
})

t.test('got', async (t) => {
  const ask = ({ base, agent }: Way) =>
    got.extend({ prefixUrl: base, agent: { http: agent }, retry: { limit: 0 } })
  const failure = (asked: Promise<unknown>) =>
    asked.catch(({ name, code, response }) => ({ name, code, status: response?.statusCode }))
  await compare(t, {
    'a GET of JSON': (way) => ask(way).get('json').json(),
    'a POST of JSON': (way) =>
      ask(way)
        .post('json', { json: { b: [2] } })
        .json(),
    'a redirect': (way) => ask(way).get('redirect').json(),
    'what is packed': (way) => ask(way).get('gzip').text(),
    'a large answer as a stream': async (way) =>
      LARGE.equals(await buffer(ask(way).stream('large'))),
    'a second try': async (way) => {
      let tries = 0
      const again = ask(way).extend({
        retry: { limit: 1, calculateDelay: ({ computedValue }) => computedValue && 1 },
        hooks: { beforeRequest: [() => void tries++] }
      })
      return [await failure(again.get('status/503')), tries]
    },
    'a status that is a failure': (way) => failure(ask(way).get('status/404')),
    'a timeout': (way) => failure(ask(way).get('never', { timeout: { request: TIMEOUT_MS } })),
    'a timeout of the answer': (way) =>
      failure(ask(way).get('never', { timeout: { response: TIMEOUT_MS } })),
    'a cut': (way) => failure(ask(way).get('cut')),
    'an answer that is cut': (way) => failure(ask(way).get('half')),
    'an abort': (way) => {
      const ending = new AbortController()
      const asked = failure(ask(way).get('never', { signal: ending.signal }))
      setImmediate(() => ending.abort())
      return asked
    }
  })
})

t.test('supertest', async (t) => {
  const ask = ({ base }: Way) => supertest(base)
  const failure = (asked: PromiseLike<unknown>) =>
    Promise.resolve(asked).catch(({ code, message, timeout }) => ({ code, message, timeout }))
  await compare(t, {
    'an expectation that holds': async (way) => {
      const asked = ask(way).get('/json').agent(way.agent).expect(200)
      const { body, type } = await asked.expect('content-type', 'application/json')
      return { body, type }
    },
    'an expectation that does not': (way) =>
      failure(ask(way).get('/status/500').agent(way.agent).expect(200)),
    'a POST of a form': async (way) =>
      (await ask(way).post('/json').agent(way.agent).type('form').send({ a: 1 })).body,
    'a timeout': (way) => failure(ask(way).get('/never').agent(way.agent).timeout(TIMEOUT_MS)),
    'a cut': (way) => failure(ask(way).get('/cut').agent(way.agent))
  })
})

t.test('undici, over a stream of its own', async (t) => {
  const ask = async (
    way: Way,
    path: string,
    options: Partial<Parameters<Client['request']>[0]> = {}
  ) => {
    const client = new Client(way.base, {
      // Its types have sockets only; what it needs of one a stream has.
      ...(way.who === 'agent' && {
        connect: (_: unknown, done: (...results: [null, never] | [Error, null]) => void) => {
          way.connect().then(
            (stream) => done(null, stream as never),
            (error) => done(error, null)
          )
        }
      })
    })
    try {
      const { statusCode, body } = await client.request({ method: 'GET', path, ...options })
      return { statusCode, text: await body.text() }
    } catch (error) {
      const { name, code } = error as Error & { code?: string }
      return { name, code }
    } finally {
      await client.destroy()
    }
  }
  await compare(t, {
    'a GET': (way) => ask(way, '/json'),
    'a POST': (way) => ask(way, '/json', { method: 'POST', body: 'b' }),
    'a large answer': async (way) => {
      const { text = '' } = await ask(way, '/large')
      return text === LARGE.toString()
    },
    'a timeout': (way) => ask(way, '/never', { headersTimeout: TIMEOUT_MS }),
    'a cut': (way) => ask(way, '/cut'),
    'an answer that is cut': (way) => ask(way, '/half'),
    'an abort': (way) => ask(way, '/never', { signal: AbortSignal.timeout(TIMEOUT_MS) })
  })
})

t.test('ws', async (t) => {
  const ended = (socket: WebSocket) =>
    new Promise((resolve) => {
      socket.on('error', ({ message }) => resolve(message))
      socket.on('close', (code) => resolve(code))
    })
  const open = ({ base, agent }: Way, path = '/') =>
    new WebSocket(base.replace('http:', 'ws:') + path, { agent, handshakeTimeout: 10_000 })
  const next = (socket: WebSocket) =>
    new Promise<Buffer>((resolve) => socket.once('message', (data) => resolve(data as Buffer)))
  await compare(t, {
    'messages, a ping and a close': async (way) => {
      const socket = open(way)
      await new Promise((resolve) => socket.once('open', resolve))
      socket.send('text')
      const said = (await next(socket)).toString()
      socket.send(LARGE)
      const isWhole = LARGE.equals(await next(socket))
      const pong = new Promise((resolve) => socket.once('pong', (data) => resolve(String(data))))
      socket.ping('are you there')
      const heard = await pong
      const over = ended(socket)
      socket.close(1000)
      return [said, isWhole, heard, await over]
    },
    'a refusal': async (way) => {
      const socket = open(way, '/refused')
      const answered = new Promise<IncomingMessage>((resolve) => {
        socket.once('unexpected-response', (_request, response) => resolve(response))
      })
      const { statusCode } = (await answered).resume()
      const over = ended(socket)
      socket.terminate()
      return [statusCode, await over]
    },
    'a cut': async (way) => {
      const socket = open(way)
      await new Promise((resolve) => socket.once('open', resolve))
      const over = ended(socket)
      socket.terminate()
      return over
    }
  })
})

// Its client takes a port alone; its server takes streams as well.
t.test('@grpc/grpc-js', async (t) => {
  const harbor = await Harbor.make(t)
  const server = echoServer(t)
  const { injectConnection } = server.createConnectionInjector(ServerCredentials.createInsecure())
  const taking = new EventEmitter().on('connection', injectConnection)
  const dir = await harbor.testbed.dir()
  const inProcess = Service({ ...harbor.options, role: 'streamed@1.0.0', server: taking, dir })
  t.teardown(() => inProcess.destroy())
  await inProcess.setup()
  await harbor.service('bound@1.0.0', await portOfEcho(server))
  const roles = ['bound', 'streamed']
  const consumer = Consumer(roles, { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  for (const { port, role } of await consumer.setup()) {
    await t.test(`a server that is ${role}`, async (t) => {
      const client = new GrpcClient(`127.0.0.1:${port}`, credentials.createInsecure())
      t.teardown(() => client.close())
      await converse(t, client)
    })
  }
})
