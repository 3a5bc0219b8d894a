import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { CASES, type Case, ok } from './cases.js'
import { Harbor, portOf } from './harbor.js'
import { type Outcome, Twins } from './twins.js'
import { type Answer, exchange, parseAnswer } from './wire.js'

/** Of the message's own journey; everything else must be as it was. */
const OF_THE_JOURNEY = ['via', 'date', 'connection', 'keep-alive', 'transfer-encoding']
const ADDED = [
  'via',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-prefix'
]
const MOUNT = '/role/@team/api@1.x'
/** Asked for after a case, on the same connection, if that is still open. */
const PROBE = 'GET /probe HTTP/1.1\r\nHost: service.example\r\nConnection: close\r\n\r\n'

t.test(`${CASES.length} answers are the same directly and through the gateway`, async (t) => {
  const twins = await Twins.make(t, '@team/api@1.2.3')
  t.ok(CASES.length >= 60)
  for (const each of CASES) {
    const { method = 'GET', path = '/', answer } = each
    const direct = await twins.direct({ pieces: [toBytes(each, path)], answer })
    const ways = await twins.converse({ pieces: [toBytes(each, MOUNT + path)], answer })
    for (const [way, outcome] of Object.entries(ways)) {
      const name = `${each.name}, ${way}`
      const through = answerOf(outcome, method)
      const expected = comparable(answerOf(direct, method))
      t.strictSame(comparable(through), expected, name)
      if (expected.isComplete) t.match(valueNamed(through, 'via'), /^1\.[01] hyperseaport-/, name)
      if (each.received) t.strictSame(arrived(outcome), arrived(direct), `${name}: the request`)
    }
    t.strictSame(whole(ways.fast, method), whole(ways.plain, method), `${each.name}: both ways`)
  }
})

t.test('the fast path and node:http do the same with a connection that is kept', async (t) => {
  const twins = await Twins.make(t, '@team/api@1.2.3')
  for (const each of CASES) {
    const { method = 'GET', path = '/' } = each
    const pieces = [toBytes(each, MOUNT + path, true), mounted(PROBE)]
    const answer: Case['answer'] = (request, response) => {
      if (request.url === '/probe') response.end('probed')
      else each.answer(request, response)
    }
    const converse = async () => {
      const { fast, plain } = await twins.converse({ pieces, answer })
      return [whole(fast, method), whole(plain, method)] as const
    }
    // Where the service closes just then, a request may be sent twice, on either path.
    let [fast, plain] = await converse()
    for (let i = 0; i < 2 && !isDeepStrictEqual(fast, plain); i++) [fast, plain] = await converse()
    t.strictSame(fast, plain, each.name)
  }
})

t.test('an interim 100 comes from the service, when it wants the body', async (t) => {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(ok)
  backend.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/no') {
      response.writeHead(417, { Connection: 'close' })
      response.end('no')
      return
    }
    response.writeContinue()
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => response.end(`got ${body}`))
  })
  await harbor.service('api@1.0.0', portOf(backend))
  const web = await harbor.web()
  const ask = (port: number, path: string) =>
    exchange(port, async (socket: Socket) => {
      const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`
      socket.write(head)
      socket.once('data', (bytes) => {
        if (bytes.toString().startsWith('HTTP/1.1 100')) socket.write('body')
      })
    })
  for (const path of ['/yes', '/no']) {
    const direct = await ask(portOf(backend), path)
    const through = await ask(web.port, `/role/api${path}`)
    t.strictSame(comparable(through), comparable(direct), path)
  }
})

function toBytes(
  { method = 'GET', headers = [], body = '', httpVersion = '1.1' }: Case,
  path: string,
  isKept = false
): Buffer {
  const lines = [`${method} ${path} HTTP/${httpVersion}`, 'Host: service.example', ...headers]
  const says = headers.some((line) => line.startsWith('Connection:'))
  if (!says && !isKept) lines.push('Connection: close')
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1')
}

function comparable({ interim, statusLine, headers, body, trailers, isComplete }: Answer) {
  const kept = headers.filter(([name]) => !OF_THE_JOURNEY.includes(name.toLowerCase()))
  return {
    interim,
    statusLine: statusLine.replace(/^HTTP\/1.0/, 'HTTP/1.1'),
    headers: kept,
    body: digest([Buffer.from(body, 'latin1')]),
    trailers,
    isComplete
  }
}

/** Everything that may not depend on the way: bodies as their bytes, however they came in pieces. */
function whole({ heard, end, received }: Outcome, method: string) {
  const at = heard.lastIndexOf('HTTP/1.1 200 OK\r\n')
  const isProbed = heard.toString('latin1').endsWith('probed') && at > 0
  const answer = parseAnswer(isProbed ? heard.subarray(0, at) : heard, method)
  const body = digest([Buffer.from(answer.body, 'latin1')])
  const probed = isProbed ? heard.toString('latin1', at) : null
  return {
    answer: { ...answer, body },
    probed,
    end,
    received: received.map((one) => ({ ...one, body: digest([Buffer.from(one.body, 'latin1')]) }))
  }
}

function answerOf({ heard }: Outcome, method: string): Answer {
  return parseAnswer(heard, method)
}

function mounted(request: string): Buffer {
  return Buffer.from(request.replace(' /', ` ${MOUNT}/`), 'latin1')
}

function arrived({ received: [first] }: Outcome) {
  if (!first) return null
  const fields = first.fields.filter((line) => {
    const name = line.slice(0, line.indexOf(':')).toLowerCase()
    return ![...OF_THE_JOURNEY, ...ADDED].includes(name) && !isEmptyLength(line)
  })
  return { ...first, fields, body: digest([Buffer.from(first.body, 'latin1')]) }
}

/** Said by the gateway where the client left it out (RFC 9110 §8.6). */
function isEmptyLength(line: string): boolean {
  return /^content-length: 0$/i.test(line)
}

function valueNamed({ headers }: Answer, wanted: string): string {
  return headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
}

/** Large bodies compare by their hash. */
function digest(chunks: Buffer[]): string {
  const bytes = Buffer.concat(chunks)
  if (bytes.byteLength <= 1024) return bytes.toString('latin1')
  return `${bytes.byteLength} ${createHash('sha256').update(bytes).digest('hex')}`
}
