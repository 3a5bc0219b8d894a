/**
 * What Node's own tests ask of `http.request` with an agent (nodejs/node, test/parallel): each of these is done with Node's
 * agent at the backend, which is the measure, and with `entry.agent`.
 */
import { once } from 'node:events'
import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  request,
  type ServerResponse
} from 'node:http'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor, portOf } from '../gateway/harbor.js'

/** Begins a request. */
type Ask = (options?: RequestOptions) => ClientRequest

const SHORT_MS = 50

/** By the name of the test that it is taken from, without test-http-. */
const BEHAVIOURS: Record<string, (ask: Ask) => Promise<unknown>> = {
  'agent-keepalive': async (ask) => {
    const answers = []
    for (let i = 0; i < 3; i++) answers.push(await answerOf(ask().end()))
    return answers
  },
  'client-abort-before-end': async (ask) => {
    const asked = ask({ method: 'POST' })
    const events = eventsOf(asked)
    asked.destroy()
    await closed(asked)
    return events
  },
  'client-abort-event': async (ask) => {
    const asked = ask({ path: '/never' })
    const events = eventsOf(asked)
    asked.end()
    await once(asked, 'socket')
    asked.destroy()
    await closed(asked)
    return [events, asked.destroyed]
  },
  'agent-abort-controller': async (ask) => {
    const asked = ask({ path: '/never', signal: AbortSignal.abort() })
    const events = eventsOf(asked)
    asked.end()
    await closed(asked)
    return events
  },
  'client-timeout-option': async (ask) => {
    const asked = ask({ path: '/never', timeout: SHORT_MS })
    asked.once('timeout', () => asked.destroy())
    const events = eventsOf(asked)
    asked.end()
    await closed(asked)
    return events
  },
  'client-set-timeout': async (ask) => {
    const asked = ask({ path: '/never' })
    asked.setTimeout(SHORT_MS, () => asked.destroy(new Error('mine')))
    const events = eventsOf(asked)
    asked.end()
    await closed(asked)
    return events
  },
  'client-req-error-dont-double-fire': async (ask) => {
    const asked = ask({ path: '/cut' })
    const events = eventsOf(asked)
    asked.end()
    await closed(asked)
    return events
  },
  'client-aborted-event': async (ask) => {
    const asked = ask({ path: '/half' }).end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    const failure = await text(response).then(
      () => 'it was whole',
      ({ code }) => code
    )
    return [response.complete, failure]
  },
  'head-response-has-no-body-end': async (ask) => answerOf(ask({ method: 'HEAD' }).end()),
  'chunked-304': async (ask) => answerOf(ask({ path: '/304' }).end()),
  'client-upload': async (ask) => {
    const asked = ask({ method: 'POST', path: '/upload' })
    for (const part of ['1\n', '2\n', '3\n']) asked.write(part)
    return answerOf(asked.end())
  },
  'expect-continue': async (ask) => {
    const asked = ask({ method: 'POST', path: '/upload', headers: { expect: '100-continue' } })
    asked.flushHeaders()
    await once(asked, 'continue')
    return answerOf(asked.end('body'))
  },
  'information-headers': async (ask) => {
    const asked = ask({ path: '/hints' }).end()
    const informed = once(asked, 'information')
    const answer = await answerOf(asked)
    const [{ statusCode }] = await informed
    return [statusCode, answer]
  },
  'set-trailers': async (ask) => {
    const [response] = (await once(ask({ path: '/trailers' }).end(), 'response')) as [
      IncomingMessage
    ]
    return [await text(response), response.trailers]
  },
  'client-default-headers-exist': async (ask) => {
    const { body } = await answerOf(ask({ path: '/headers' }).end())
    return body.filter((name) => name !== 'host').toSorted()
  },
  'client-headers-array': async (ask) => {
    const headers = { 'x-many': ['a', 'b'], cookie: ['c=d', 'e=f'] }
    return answerOf(ask({ path: '/values', headers: headers as never }).end())
  },
  'upgrade-client': async (ask) => {
    const asked = ask({ path: '/', headers: { connection: 'upgrade', upgrade: 'echo' } }).end()
    const [response, socket] = (await once(asked, 'upgrade')) as [IncomingMessage, Duplex]
    socket.write('hello')
    const [heard] = await once(socket, 'data')
    const isOver = once(socket, 'close')
    socket.end()
    await isOver
    return [response.statusCode, String(heard)]
  },
  'remove-header-stays-removed': async (ask) => {
    const asked = ask({ path: '/values', headers: { 'x-many': 'a' } })
    asked.removeHeader('x-many')
    return answerOf(asked.end())
  },
  'outgoing-end-multiple': async (ask) => {
    const asked = ask({ method: 'POST', path: '/upload' })
    const ends = [1, 2].map(
      (i) =>
        new Promise((resolve) => {
          asked.end(i === 1 ? 'x' : undefined, (error?: NodeJS.ErrnoException) =>
            resolve(error?.code)
          )
        })
    )
    const answer = await answerOf(asked)
    return [await Promise.all(ends), answer]
  }
}

t.test('requests by an entry’s agent do what Node’s tests ask of them', async (t) => {
  const { measure, tried } = await asks(t)
  for (const [name, behaviour] of Object.entries(BEHAVIOURS)) {
    t.strictSame(await behaviour(tried), await behaviour(measure), `test-http-${name}`)
  }
})

async function asks(t: Test): Promise<{ measure: Ask; tried: Ask }> {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(answer)
  backend.on('upgrade', (_request, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await harbor.service('api@1.0.0', portOf(backend))
  const consumer = Consumer(['api'], { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const own = new Agent({ keepAlive: true })
  t.teardown(() => own.destroy())
  return {
    measure: (options) =>
      request(`http://127.0.0.1:${portOf(backend)}`, { agent: own, ...options }),
    tried: (options) => request('http://api', { agent: entry.agent, ...options })
  }
}

async function answer(asked: IncomingMessage, response: ServerResponse) {
  const { url, method, headers, socket } = asked
  response.sendDate = false
  const tell = (body: unknown) => response.end(JSON.stringify([body].flat()))
  if (url === '/never') return
  if (url === '/cut') return void socket.destroy()
  if (url === '/half') {
    response.writeHead(200, { 'content-length': 10 }).write('half')
    return void setImmediate(() => socket.destroy())
  }
  if (url === '/304') return void response.writeHead(304).end()
  if (url === '/upload') return void tell([method, await text(asked)])
  if (url === '/headers') return void tell(Object.keys(headers))
  if (url === '/values') return void tell([headers['x-many'] ?? 'none', headers.cookie ?? 'none'])
  if (url === '/hints') {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    return void tell('whole')
  }
  if (url === '/trailers') {
    response.writeHead(200, { trailer: 'x-sum' })
    response.addTrailers({ 'x-sum': '4' })
    return void response.end('body')
  }
  tell(method)
}

/** `once` would reject with the error that comes first. */
function closed(asked: ClientRequest): Promise<void> {
  return new Promise((resolve) => asked.once('close', resolve))
}

async function answerOf(asked: ClientRequest) {
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  const body = await text(response)
  const { statusCode, headers } = response
  return { statusCode, headers, body: (body ? JSON.parse(body) : []) as string[] }
}

/** Which of these it emits, in their order, and what with. */
function eventsOf(asked: ClientRequest): string[] {
  const events: string[] = []
  for (const name of ['abort', 'timeout', 'response', 'close'] as const) {
    asked.on(name, () => events.push(name))
  }
  asked.on('error', ({ name, message, code }: NodeJS.ErrnoException) => {
    events.push(`error ${name} ${code} ${message}`)
  })
  return events
}
