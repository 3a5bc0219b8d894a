import type { IncomingMessage } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { attack, type Target } from '../../fuzz/mutants.js'
import { type Outcome, Twins } from '../twins.js'

/** `FUZZ_RUNS=1000000` for the long run, `FUZZ_SEED=…` for other mutants. */
const { FUZZ_RUNS } = process.env
const RUNS = Number(FUZZ_RUNS ?? 20)
const SEED = Number(process.env.FUZZ_SEED ?? 1)

if (FUZZ_RUNS) t.setTimeout(0)

const ask = (path: string, fields = '', method = 'GET') =>
  `${method} /role/api${path} HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\n${fields}\r\n`
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello'
const CHUNKED =
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n'

/** What the client says, and what the service answers: by the path that it was asked for. */
const SESSIONS: Record<string, string[]> = {
  'plain requests, pipelined': [ask('/1') + ask('/2'), ask('/3', 'X-B: c\r\n'), OK, OK],
  'chunked answers': [ask('/1'), ask('/2', 'TE: trailers\r\n'), ask('/3'), CHUNKED, OK],
  'answers without a body': [
    ask('/1', '', 'HEAD') + ask('/2') + ask('/3', '', 'DELETE'),
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
    'HTTP/1.1 204 No Content\r\nETag: "x"\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nDate: Sat, 21 Nov 2026 00:00:00 GMT\r\n\r\n'
  ],
  'requests that only node:http takes, among others': [
    ask('/1') + ask('/2', 'Content-Length: 2\r\n', 'POST'),
    `ok${ask('/3', 'Transfer-Encoding: chunked\r\n', 'PUT')}2\r\nok\r\n0\r\n\r\n`,
    `GET /list/api HTTP/1.1\r\nHost: x\r\n\r\n${ask('/4', 'Connection: close\r\n')}`,
    OK
  ],
  'interim answers, and one that says when it ends': [
    ask('/1') + ask('/2'),
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`,
    'HTTP/1.0 200 Fine\r\nConnection: close\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nto the end'
  ]
}

/** Conversations that once came to different things, and the statuses that they come to. */
const FOUND: [name: string, messages: string[], statuses: string[]][] = [
  [
    'a reason phrase with a control character, which ended the process',
    [ask('/1') + ask('/2'), 'HTTP/1.1 200 O\x14K\r\nContent-Length: 0\r\n\r\n'],
    ['502', '502']
  ],
  [
    'an interim one with a control character, which the client was shown',
    [ask('/1'), `HTTP/1.1 103 Early\x1b\r\nLink: </a>\r\n\r\n${OK}`],
    ['502']
  ],
  ['a head that breaks off', [ask('/1') + ask('/2'), 'HTTP/1.1 200 OK\r\nX-A: b'], ['502', '502']],
  ['what cannot become a head', [ask('/1') + ask('/2'), 'HTTP ready'], ['502', '502']],
  [
    'two lengths, and no end of the head',
    [ask('/1'), 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n'],
    ['502']
  ],
  [
    'trailers that are announced and cannot come, which was answered with 502',
    [
      ask('/1', 'Trailer: X-Sum\r\n', 'OPTIONS') + ask('/2', 'Trailer: X-Sum\r\n'),
      `${ask('/3', 'Trailer: X-Sum\r\nContent-Length: 2\r\n', 'POST')}ok`,
      OK
    ],
    ['200', '200', '200']
  ],
  [
    'a byte beyond ASCII in a head that comes before its body, which became two',
    [ask('/1'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: \xfe\r\n\r\n5\t\nhello\r'],
    ['200']
  ],
  ['no coding', [ask('/1'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: \r\n\r\nhello'], ['502']],
  [
    'a request of HTTP/0.9, whose fields nginx takes for none',
    [ask('/1'), 'GET /role/api/2 HTTP/0.9\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello', OK],
    ['200', '400']
  ],
  ['another coding', [ask('/1'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'], ['502']],
  [
    'chunks that end in the middle',
    [ask('/1'), 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nno chunk\r\n'],
    ['200']
  ],
  [
    'a request without Host, among others',
    [ask('/1'), 'GET /role/api/2 HTTP/1.1\r\n\r\n', ask('/3'), OK],
    ['200', '400']
  ],
  ['more after the last request', [ask('/1', 'Connection: close\r\n') + ask('/2'), OK], ['200']],
  ['what is no HTTP, after a request', [`${ask('/1')}no HTTP\r\n\r\n`, OK], ['200', '400']],
  [
    'a list, after a request',
    [`${ask('/1')}GET /list/ HTTP/1.1\r\nHost: x\r\n\r\n`, OK],
    ['200', '200']
  ],
  [
    'more fields than node:http counts, of which one path passed on the first thousand',
    [ask('/1'), `HTTP/1.1 200 OK\r\n${'X-A:\r\n'.repeat(1500)}Content-Length: 5\r\n\r\nhello`],
    ['200']
  ],
  [
    'empty lines before an answer, which one path took for no answer',
    [ask('/1') + ask('/2'), `\r\n${OK}`, `\r\nHTTP/1.1 103 Early Hints\r\n\r\n\r\n${OK}`],
    ['200', '103', '200']
  ],
  [
    'a Date that is about the connection, for which one path added no other',
    [ask('/1'), `HTTP/1.1 200 OK\r\nConnection: Date\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello`],
    ['200']
  ],
  [
    'an interim one with two lengths',
    [ask('/1'), `HTTP/1.1 103 Hi\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n${OK}`],
    ['502']
  ],
  [
    'a length with many zeros',
    [ask('/1'), `HTTP/1.1 200 OK\r\nContent-Length: ${'0'.repeat(20)}5\r\n\r\nhello`],
    ['200']
  ],
  [
    'a switch of protocols that nobody asked for',
    [ask('/1'), 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
    ['502']
  ]
]

t.test('conversations that once came to different things come to the same', async (t) => {
  const twins = await Twins.make(t, 'api@1.0.0')
  for (const [name, messages, statuses] of FOUND) {
    const { heard } = await compare(
      twins,
      messages.map((text) => Buffer.from(text, 'latin1'))
    )
    const found = [...heard.toString('latin1').matchAll(/HTTP\/1\.1 (\d+)/g)]
    t.strictSame(
      found.map(([, status]) => status),
      statuses,
      name
    )
  }
})

t.test('all fields of a request reach the service, also more than node:http counts', async (t) => {
  const twins = await Twins.make(t, 'api@1.0.0')
  const fields = 'X-A: b\r\n'.repeat(1500)
  const messages = [ask('/1', fields), ask('/2', fields, 'OPTIONS'), OK]
  const { received } = await compare(
    twins,
    messages.map((text) => Buffer.from(text, 'latin1'))
  )
  const counts = received.map(({ fields }) => fields.join().match(/X-A/g)?.length)
  t.same(counts, [1500, 1500])
})

t.test(
  `mutants of conversations come to the same with the fast path and without (seed ${SEED})`,
  async (t) => {
    const twins = await Twins.make(t, 'api@1.0.0')
    for (const [name, session] of Object.entries(SESSIONS)) {
      const valid = session.map((text) => Buffer.from(text, 'latin1'))
      const target: Target = { valid, read: (input) => compare(twins, input) }
      await target.read(valid)
      const { accepted } = await attack(target, RUNS, SEED)
      t.equal(accepted, RUNS, name)
    }
  }
)

/** The length of that refusal, and of no other. */
const BROKEN_OFF = 'Content-Length: 91'
/** An answer that did not come to its end is cut by the service after so long, in ms. */
const PATIENCE_MS = 20

/**
 * Has the same conversation with both.
 *
 * @throws what came of it, if it was not the same
 */
async function compare(twins: Twins, messages: Buffer[]): Promise<Outcome> {
  const answers = messages.filter(isAnswer)
  const answer = ({ url = '', socket }: IncomingMessage) => {
    // By what was asked for: a request that is sent again, for its stream broke off, gets the same.
    const bytes = answers[sumOf(url) % answers.length]
    socket.setTimeout(PATIENCE_MS)
    if (socket.listenerCount('timeout') === 0) socket.on('timeout', () => socket.end())
    if (bytes === undefined) socket.destroy()
    else socket.write(bytes)
  }
  const pieces = messages.filter((bytes) => !isAnswer(bytes))
  const { fast, plain } = await twins.converse({ pieces, answer, ends: true })
  if (isDeepStrictEqual(once(fast), once(plain))) return fast
  const said = JSON.stringify(messages.map((bytes) => bytes.toString('latin1')))
  throw new Error(`${said} is with the fast path ${show(fast)}, without ${show(plain)}`)
}

/**
 * Without repetitions: how often a request is sent again is a matter of what else was. Of a head that breaks off after
 * something that no head has, either may be told: one path reads it as it comes, the other as a whole.
 */
function once(outcome: Outcome): Outcome {
  const { heard, received } = outcome
  const either = heard
    .toString('latin1')
    .replaceAll(BROKEN_OFF, 'Content-Length: 94')
    .replaceAll(
      'the instance broke off before it answered',
      'the answer of the instance is not valid HTTP'
    )
  return {
    ...outcome,
    heard: Buffer.from(either, 'latin1'),
    received: received.filter((one, i) => !isDeepStrictEqual(one, received[i - 1]))
  }
}

function sumOf(text: string): number {
  return [...text].reduce((sum, character) => sum + character.charCodeAt(0), 0)
}

function isAnswer(bytes: Buffer): boolean {
  return bytes.toString('latin1').trimStart().startsWith('HTTP')
}

function show(outcome: Outcome): string {
  return JSON.stringify({ ...outcome, heard: outcome.heard.toString('latin1') }, null, 1)
}
