import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { freePort } from '../../lib/serving/local-port.js'
import { mutants } from '../fuzz/mutants.js'
import { Harbor, portOf } from '../gateway/harbor.js'
import { noNginx, startNginx } from './nginx.js'

/** `FUZZ_RUNS=1000000 FUZZ_AT_ONCE=128` for the long run, `FUZZ_SEED=…` for other mutants. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 2000)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
/** Conversations at a time. */
const AT_ONCE = Number(process.env.FUZZ_AT_ONCE ?? 64)
/** A client to which nobody says anything for so long asks for no more, in ms. */
const SILENCE_MS = 300
/** Who has not closed by then is hung up on, in ms. */
const PATIENCE_MS = 3000

if (process.env.FUZZ_RUNS) t.setTimeout(0)

/** What the service made of a request that came as a whole. */
type Seen = [method: string, url: string, body: string]

/** Ways to say how long a request is, to hide that, and to hide requests in others: what fronts and backends disagreed on. */
const TRICKS = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 44',
  'Content-Length: +5',
  'Content-Length: 5, 5',
  'Content-Length: 0x5',
  'Content-Length: 5 ',
  'Content-Length:\t5',
  'Content-Length : 5',
  'Content-Length: -5',
  'Content-Length: 99999999999999999999',
  'content-length: 6',
  'Content_Length: 5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding:\x0bchunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: CHUNKED',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding:\r\n chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'transfer_encoding: chunked',
  'X: y\rTransfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  'X: y\x00Content-Length: 5',
  ' X: folded',
  'X',
  ': none',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: Content-Length',
  'Connection: Transfer-Encoding',
  'Connection: Host',
  'Expect: 100-continue',
  'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__',
  'Upgrade: websocket\r\nConnection: Upgrade',
  'TE: trailers',
  'Trailer: Content-Length',
  'Trailer: X-Sum',
  'Connection: TE',
  'Via: 1.1 a',
  'Range: bytes=0-1',
  'Max-Forwards: 0',
  'Cookie: a=b; c',
  'Authorization: Basic x',
  'Host:',
  'Host: other',
  'X-Forwarded-For: 6.6.6.6'
]
const SMUGGLED = 'GET /role/api/inside HTTP/1.1\r\nHost: a\r\n\r\n'
const BODIES = [
  '',
  'hello',
  SMUGGLED,
  '5\r\nhello\r\n0\r\n\r\n',
  `0\r\n\r\n${SMUGGLED}`,
  `5\r\nhello\r\n0\r\nX: y\r\n\r\n${SMUGGLED}`,
  `5;a="\r\n";\r\nhello\r\n0\r\n\r\n`,
  '05\r\nhello\r\n00\r\n\r\n',
  '5\nhello\n0\n\n',
  '0x5\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '-5\r\nhello\r\n0\r\n\r\n',
  '10000000000000005\r\nhello\r\n0\r\n\r\n',
  `2c\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  '5\r\nhelloXX0\r\n\r\n',
  '0\r\nContent-Length: 5\r\n\r\n'
]
const METHODS = [
  'GET',
  'GET',
  'POST',
  'POST',
  'PUT',
  'HEAD',
  'DELETE',
  'OPTIONS',
  'get',
  'GPOST',
  'G@T'
]
const VERSIONS = [
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.1',
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/0.9',
  'http/1.1',
  ''
]
const ENDS = ['\r\n', '\r\n', '\r\n', '\r\n', '\r\n', '\n']

const request = fc
  .record({
    method: fc.constantFrom(...METHODS),
    path: fc.constantFrom(
      '/role/api/',
      '/role/api/',
      '/role/api/',
      'http://a/role/api/',
      '//role/api/'
    ),
    version: fc.constantFrom(...VERSIONS),
    end: fc.constantFrom(...ENDS),
    fields: fc.array(fc.constantFrom(...TRICKS), { maxLength: 3 }),
    body: fc.constantFrom(...BODIES)
  })
  .map((parts) => (n: number) => {
    const head = [`${parts.method} ${parts.path}${n} ${parts.version}`, 'Host: a', ...parts.fields]
    return Buffer.from(head.join(parts.end) + parts.end + parts.end + parts.body, 'latin1')
  })

/** What a client sends: some requests, each with its number, mutated or not; and one that closes. */
const conversation = fc
  .record({
    requests: fc.array(request, { minLength: 1, maxLength: 3 }),
    mutate: fc.oneof(
      fc.constant((all: Buffer[]) => all),
      mutants
    )
  })
  .map(({ requests, mutate }) => [
    ...mutate(requests.map((make, i) => make(i))),
    Buffer.from('GET /role/api/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  ])

t.test(
  `of mutated conversations the service sees what it sees behind nginx (seed ${SEED})`,
  { skip: noNginx },
  async (t) => {
    const harbor = await Harbor.make(t)
    const seen = new Map<string, Seen[]>()
    const onrequest = (request: IncomingMessage, response: ServerResponse) => {
      void read(request).then((body) => {
        const { method = '', url = '' } = request
        const address = String(request.headers['x-forwarded-for']).split(', ').at(-1) ?? ''
        if (body !== null) seen.get(address)?.push([method, url, body])
        response.end('ok')
      })
    }
    // nginx passes on some things that are no HTTP; we do not.
    const behindNginx = await harbor.backend(onrequest)
    const backend = await harbor.backend(onrequest)
    const malformed: string[] = []
    backend.on('clientError', (error: Error & { code: string }, socket) => {
      if (/^HPE_(?!INVALID_EOF)/.test(error.code)) malformed.push(`${error.code} ${error.message}`)
      socket.destroy()
    })
    await harbor.service('api@1.0.0', portOf(backend))
    const web = await harbor.web()
    const port = await freePort(0)
    // It passes on what it was asked for, word for word.
    await startNginx(
      t,
      await harbor.testbed.dir(),
      port,
      `client_header_timeout 2s; client_body_timeout 2s; client_max_body_size 1m;
       server { listen 127.0.0.1:${port};
         location / { proxy_pass http://127.0.0.1:${portOf(behindNginx)}; proxy_http_version 1.1;
           proxy_set_header X-Forwarded-For $remote_addr; } }`
    )
    const through = async (to: number, pieces: Buffer[]): Promise<Seen[]> => {
      const address = nextAddress()
      const list: Seen[] = []
      seen.set(address, list)
      await converse(to, address, pieces)
      seen.delete(address)
      return list
    }
    const tally = { both: 0, 'only nginx': 0, 'only the gateway': 0 }
    const all = fc.sample(conversation, { numRuns: RUNS, seed: SEED })
    const compare = async (pieces: Buffer[]) => {
      const [theirs, ours] = await Promise.all([through(port, pieces), through(web.port, pieces)])
      const routed = theirs.flatMap(([method, url, body]): Seen[] => {
        const path = /^\/role\/api([/?].*)$/.exec(url)?.[1]
        return path === undefined ? [] : [[method, path.replace(/^\?/, '/?'), body]]
      })
      const [fewer, more] = ours.length <= routed.length ? [ours, routed] : [routed, ours]
      if (fewer.length === more.length) tally.both++
      else tally[more === ours ? 'only the gateway' : 'only nginx']++
      if (isWithin(fewer, more)) return
      const said = JSON.stringify(Buffer.concat(pieces).toString('latin1'))
      throw new Error(`${said}: nginx ${JSON.stringify(routed)}, gateway ${JSON.stringify(ours)}`)
    }
    const faults: string[] = []
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let next = all.pop(); next; next = all.pop()) {
          await compare(next).catch((error: Error) => faults.push(error.message))
        }
      })
    )
    t.comment(JSON.stringify(tally))
    t.strictSame(faults, [])
    t.strictSame(malformed, [], 'what the gateway sends is HTTP')
    t.ok(tally.both > RUNS / 2, 'most of them came to the same')
  }
)

/** Whether all of one list is in the other, in this order: who refuses a request may close, or go on with the next. */
function isWithin(fewer: Seen[], more: Seen[]): boolean {
  let at = 0
  for (const one of more) if (isDeepStrictEqual(one, fewer[at])) at++
  return at === fewer.length
}

async function converse(port: number, localAddress: string, pieces: Buffer[]) {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.setNoDelay()
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.on('close', resolve))
  await Promise.race([once(socket, 'connect'), closed])
  socket.setTimeout(SILENCE_MS, () => socket.end())
  const late = setTimeout(() => socket.destroy(), PATIENCE_MS)
  socket.resume()
  for (const piece of pieces) {
    socket.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await closed
  clearTimeout(late)
}

/** Null for a body that does not come to its end: such a request was not made. */
async function read(request: IncomingMessage): Promise<string | null> {
  let body = ''
  request.setEncoding('latin1')
  request.on('data', (chunk) => {
    body += chunk
  })
  request.on('error', () => {})
  await new Promise((resolve) => {
    request.on('end', resolve)
    request.on('close', resolve)
  })
  return request.complete ? body : null
}

let addresses = 0

/** Of loopback: what fronts say of their client tells the conversations apart. */
function nextAddress(): string {
  const index = addresses++ % 2 ** 16
  return `127.2.${index >> 8}.${index & 255}`
}
