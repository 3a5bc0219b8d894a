import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import t from 'tap'
import { Couch } from './couch.js'
import { Harbor, portOf } from './harbor.js'

type Question = [method: string, path: string, body?: unknown, headers?: Record<string, string>]

const PICTURE = randomBytes(1_500_000)
const JSON_TYPE = { 'content-type': 'application/json' }

/** One after the other, as an application would ask. `REV` is the revision that was answered last. */
const QUESTIONS: Question[] = [
  ['GET', ''],
  ['GET', 'db'],
  ['PUT', 'db/one', { text: 'grüße, 世界' }],
  ['GET', 'db/one'],
  ['HEAD', 'db/one'],
  ['GET', 'db/one', undefined, { 'if-none-match': '"REV"' }],
  ['PUT', 'db/one', { text: 'without its revision' }],
  ['PUT', 'db/one', { text: 'by a field' }, { 'if-match': 'REV' }],
  ['PUT', 'db/two', Buffer.from('{"no": JSON')],
  ['PUT', 'db/with%2Fslash%20and%20space', { a: 1 }],
  ['GET', 'db/with%2Fslash%20and%20space?revs=true&x=%7B%7D'],
  ['COPY', 'db/one', undefined, { destination: 'copy' }],
  ['GET', 'db/copy'],
  ['GET', 'db/nothing'],
  [
    'POST',
    'db/_bulk_docs',
    { docs: Array.from({ length: 500 }, (_, i) => ({ _id: `bulk-${i}`, i })) }
  ],
  ['GET', 'db/_all_docs'],
  ['GET', 'db/_all_docs?include_docs=true'],
  ['PUT', 'db/one/picture.bin', PICTURE, { 'content-type': 'image/x-noise' }],
  ['GET', 'db/one/picture.bin'],
  ['GET', 'db/one/picture.bin', undefined, { range: 'bytes=0-0' }],
  ['GET', 'db/one/picture.bin', undefined, { range: 'bytes=1000-200000' }],
  ['GET', 'db/one/picture.bin', undefined, { range: 'bytes=1499990-' }],
  ['GET', 'db/one/picture.bin', undefined, { range: 'bytes=-17' }],
  ['GET', 'db/one/picture.bin', undefined, { range: 'bytes=9999999-' }],
  ['GET', 'db/one/nothing.bin'],
  ['POST', '_session', Buffer.from('name=ada&password=wrong')],
  ['POST', '_session', Buffer.from('name=ada&password=lovelace')],
  ['GET', '_session', undefined, { cookie: 'other=1; AuthSession=YWRh' }],
  ['PUT', 'db/last', { text: 'soon gone' }],
  ['DELETE', 'db/last?rev=wrong'],
  ['DELETE', 'db/last?rev=REV'],
  ['GET', 'db/last']
]

const OF_THE_JOURNEY = /^(via|date|connection|keep-alive|transfer-encoding)$/i

/** Asks all, and returns all that was answered. */
async function interview(port: number, prefix: string) {
  const answers: [question: string, answer: unknown][] = []
  let rev = ''
  for (const [method, path, body, headers = {}] of QUESTIONS) {
    const fields = Object.entries(headers).map(([name, value]) => [name, value.replace('REV', rev)])
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    const asking = httpRequest({
      port,
      host: '127.0.0.1',
      method,
      path: `${prefix}/${path.replace('REV', rev)}`,
      headers: { ...(bytes === undefined ? {} : JSON_TYPE), ...Object.fromEntries(fields) }
    })
    asking.end(bytes)
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of answer) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString('latin1')
    rev = /"_?rev":"(\d+-[^"]+)"/.exec(text)?.[1] ?? rev
    const { statusCode, statusMessage, rawHeaders } = answer
    const kept = rawHeaders.filter((_, i) => !OF_THE_JOURNEY.test(rawHeaders[i - (i % 2)] ?? ''))
    answers.push([`${method} ${path}`, { statusCode, statusMessage, headers: kept, text }])
  }
  return answers
}

t.test('a database of JSON over HTTP answers the same through the gateway', async (t) => {
  const harbor = await Harbor.make(t)
  const direct = await harbor.backend(new Couch().listener)
  await harbor.service('couchdb@3.2.2', new Couch().listener)
  const web = await harbor.web()
  const answers = await interview(web.port, '/role/couchdb@3.x')
  for (const [i, [question, answer]] of (await interview(portOf(direct), '')).entries()) {
    t.strictSame(answers[i]?.[1], answer, question)
  }
})

t.test('its feed of changes brings each when it happens, and ends with who listens', async (t) => {
  const harbor = await Harbor.make(t)
  const couch = new Couch()
  const backend = await harbor.backend(couch.listener)
  await harbor.service('couchdb@3.2.2', portOf(backend))
  const web = await harbor.web()
  const asking = httpRequest(`${web.url}role/couchdb/db/_changes?feed=continuous`)
  asking.end()
  const [answer] = (await once(asking, 'response')) as [IncomingMessage]
  answer.setEncoding('utf8')
  t.equal(String((await once(answer, 'data'))[0]), '\n', 'the first heartbeat comes at once')
  for (let seq = 1; seq <= 10; seq++) {
    const heard = once(answer, 'data')
    await fetch(`${web.url}role/couchdb/db/doc-${seq}`, { method: 'PUT', body: '{}' })
    t.match(JSON.parse(String((await heard)[0])), { seq, id: `doc-${seq}` })
  }
  const left = couch.left()
  answer.on('error', () => {})
  asking.destroy()
  await left
})
