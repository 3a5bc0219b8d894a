/**
 * What Node's own tests ask of `fetch` (nodejs/undici, test/fetch): each of these is done with Node's fetch at the backend,
 * which is the measure, and with `entry.fetch`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor, portOf } from '../gateway/harbor.js'

interface Way {
  ask(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** What `ask` reaches, without a slash at its end. */
  base: string
}

/** By the name of the test file that it is taken from. */
const BEHAVIOURS: Record<string, Record<string, (way: Way) => Promise<unknown>>> = {
  abort: {
    'one controller for two': async ({ ask }) => {
      const ending = new AbortController()
      const asked = [ask('/', { signal: ending.signal }), ask('/', { signal: ending.signal })]
      ending.abort()
      return Promise.all(asked.map(failure))
    },
    'a reason of one’s own': ({ ask }) =>
      failure(ask('/', { signal: AbortSignal.abort('no error at all') })),
    'the signal of a Request': async ({ ask, base }) => {
      const ending = new AbortController()
      const asked = ask(new Request(`${base}/never`, { signal: ending.signal }))
      setImmediate(() => ending.abort())
      return failure(asked)
    },
    'a body that is a stream is cancelled': async ({ ask }) => {
      let reason: unknown = 'nothing'
      const body = new ReadableStream({
        cancel(given) {
          reason = given
        }
      })
      const asked = ask('/', { ...streamed(body), signal: AbortSignal.abort() })
      return [await failure(asked), named(reason)]
    },
    'while a body is sent': ({ ask }) => {
      const ending = new AbortController()
      const body = new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(10))
          setImmediate(() => ending.abort())
          return new Promise<void>(() => {})
        }
      })
      return failure(ask('/upload', { ...streamed(body), signal: ending.signal }))
    },
    'after all was read': async ({ ask }) => {
      const ending = new AbortController()
      const answer = await ask('/', { signal: ending.signal })
      const said = await answer.text()
      ending.abort()
      return said
    },
    'many, which leave no listeners': async ({ ask }) => {
      const { signal } = new AbortController()
      for (let i = 0; i < 20; i++) await (await ask('/', { signal })).text()
      return 'no warning'
    }
  },
  'client-fetch': {
    json: async ({ ask }) => (await ask('/json')).json(),
    'what is no JSON': async ({ ask }) => failure((await ask('/')).json()),
    'JSON of nothing': async ({ ask }) => failure((await ask('/204')).json()),
    arrayBuffer: async ({ ask }) => Buffer.from(await (await ask('/')).arrayBuffer()).toString(),
    'a blob with its type': async ({ ask }) => (await (await ask('/json')).blob()).type,
    'a form that is none': async ({ ask }) => failure((await ask('/')).formData()),
    'an urlencoded form': async ({ ask }) => [...(await (await ask('/form')).formData())],
    'a multipart form': async ({ ask }) => {
      const body = new FormData()
      body.set('field', 'value')
      body.set('file', new Blob(['bytes'], { type: 'a/b' }), 'name')
      const sent = await ask('/back', { method: 'POST', body })
      const form = await sent.formData()
      const { name, type } = form.get('file') as File
      return [form.get('field'), name, type]
    },
    'a locked body': async ({ ask }) => {
      const answer = await ask('/')
      const reader = answer.body?.getReader()
      const failed = await failure(answer.text())
      await reader?.cancel()
      return failed
    },
    'a body that was used': async ({ ask }) => {
      const answer = await ask('/')
      const said = await answer.text()
      return [said, answer.bodyUsed, await failure(answer.text()), thrown(() => answer.clone())]
    },
    'a Request': async ({ ask, base }) =>
      seen(ask(new Request(`${base}/seen`, { method: 'PUT', headers: { 'x-a': 'b' } }))),
    'a Request with a body': async ({ ask, base }) =>
      seen(ask(new Request(`${base}/seen`, { method: 'POST', body: 'body' }))),
    'a Request, and what replaces its parts': async ({ ask, base }) => {
      const request = new Request(`${base}/seen`, {
        method: 'POST',
        body: 'a',
        headers: { a: 'b' }
      })
      return seen(ask(request, { method: 'PUT', body: 'b', headers: { c: 'd' } }))
    },
    'a Request that was used': async ({ ask, base }) => {
      const request = new Request(`${base}/seen`, { method: 'POST', body: 'body' })
      await (await ask(request)).text()
      return [request.bodyUsed, await failure(ask(request))]
    },
    'a copy of a Request': async ({ ask, base }) => {
      const request = new Request(`${base}/seen`, { method: 'POST', body: 'body' })
      const copy = request.clone()
      return [await seen(ask(request)), await seen(ask(copy))]
    },
    'a stream without duplex': ({ ask }) =>
      failure(ask('/', { method: 'POST', body: new Blob(['a']).stream() })),
    'a locked stream': ({ ask }) => {
      const body = new Blob(['a']).stream()
      body.getReader()
      return failure(ask('/', streamed(body)))
    },
    'what is made by an async generator': ({ ask }) => {
      async function* body() {
        yield new TextEncoder().encode('a')
        yield new TextEncoder().encode('b')
      }
      return seen(ask('/seen', streamed(body() as never)))
    },
    'a header of many bytes': async ({ ask }) => failure(ask('/', { headers: { 'x-a': 'ä€' } })),
    'what is received as Latin-1': async ({ ask }) => (await ask('/latin')).headers.get('x-latin')
  },
  'content-length': {
    'a form': ({ ask }) => {
      const body = new FormData()
      body.set('field', 'value')
      body.set('file', new Blob(['bytes', 'é'], { type: 'a/b' }), 'näme"')
      return lengthOf(ask('/seen', { method: 'POST', body }))
    },
    'a POST of nothing': ({ ask }) => lengthOf(ask('/seen', { method: 'POST' })),
    'a PUT of nothing': ({ ask }) => lengthOf(ask('/seen', { method: 'PUT' })),
    'a DELETE of nothing': ({ ask }) => lengthOf(ask('/seen', { method: 'DELETE' })),
    'a GET': ({ ask }) => lengthOf(ask('/seen')),
    'a PATCH of bytes': ({ ask }) =>
      lengthOf(ask('/seen', { method: 'PATCH', body: new Uint8Array(3).buffer }))
  },
  encoding: {
    'whatever its case': async ({ ask }) => (await ask('/coded?GZip')).text(),
    'x-gzip': async ({ ask }) => (await ask('/coded?x-gzip')).text(),
    'a header that stays': async ({ ask }) =>
      (await ask('/coded?gzip')).headers.get('content-encoding'),
    'what is broken': async ({ ask }) =>
      (await ask('/broken')).text().then(
        () => 'it did not fail',
        ({ name }) => name
      ),
    'a 204 that says it is packed': async ({ ask }) => (await ask('/204?gzip')).text(),
    'a redirect whose body is no gzip': async ({ ask }) => (await ask('/packed-redirect')).text(),
    'an answer with a location, which is no redirect': async ({ ask }) =>
      (await ask('/located')).text()
  },
  headers: {
    'a name that is none': ({ ask }) => failure(ask('/', { headers: { 'a b': 'c' } })),
    'a value with a line break': ({ ask }) => failure(ask('/', { headers: { a: 'b\r\nc: d' } })),
    'as pairs, with one twice': ({ ask }) =>
      seen(
        ask('/seen', {
          headers: [
            ['x-a', 'b'],
            ['x-a', 'c']
          ]
        })
      ),
    'of an answer, which cannot be changed': async ({ ask }) => {
      const { headers } = await ask('/')
      return thrown(() => headers.set('a', 'b'))
    },
    cookies: async ({ ask }) => (await ask('/cookies')).headers.getSetCookie(),
    'what Node says of itself': async ({ ask }) => {
      const { headers } = (await (await ask('/all')).json()) as { headers: string[][] }
      return headers
    }
  },
  request: {
    'forbidden methods': ({ ask }) =>
      Promise.all(['CONNECT', 'TRACE', 'TRACK'].map((method) => failure(ask('/', { method })))),
    'a method that is none': ({ ask }) => failure(ask('/', { method: 'A B' })),
    'methods in small letters': ({ ask }) =>
      Promise.all(['get', 'post', 'put'].map((method) => seen(ask('/seen', { method })))),
    'a method of one’s own': ({ ask }) => seen(ask('/seen', { method: 'PURGE', body: 'a' })),
    'a GET with a body': ({ ask }) => failure(ask('/', { method: 'GET', body: 'a' })),
    'a HEAD with a body': ({ ask }) => failure(ask('/', { method: 'HEAD', body: 'a' })),
    'credentials in the URL': ({ ask, base }) =>
      failure(ask(base.replace('://', '://user:password@'))),
    'a scheme that is unknown': ({ ask }) => failure(ask(new URL('ftp://api/'))),
    'options that are none': ({ ask }) =>
      Promise.all(
        [
          { redirect: 'maybe' },
          { mode: 'navigate' },
          { credentials: 'some' },
          { cache: 'all' }
        ].map((init) => failure(ask('/', init as never)))
      ),
    'a signal that is none': ({ ask }) => failure(ask('/', { signal: {} as never })),
    'a window': ({ ask }) => failure(ask('/', { window: {} } as never)),
    'a URL with a fragment': async ({ ask }) => pathOf((await ask('/#fragment')).url),
    'a query with what must be escaped': async ({ ask }) => seen(ask('/seen?a=é b'))
  },
  response: {
    'a HEAD': async ({ ask }) => shapeOf(await ask('/json', { method: 'HEAD' })),
    'a 204': async ({ ask }) => shapeOf(await ask('/204')),
    'a 205': async ({ ask }) => shapeOf(await ask('/205')),
    'a 304': async ({ ask }) => shapeOf(await ask('/304')),
    'a 404': async ({ ask }) => shapeOf(await ask('/404')),
    'a 200 without a byte': async ({ ask }) => shapeOf(await ask('/empty')),
    'one that came after hints': async ({ ask }) => shapeOf(await ask('/hints')),
    'a copy, which is read beside it': async ({ ask }) => {
      const answer = await ask('/json')
      const copy = answer.clone()
      return Promise.all([answer.json(), copy.json()])
    },
    'by chunks': async ({ ask }) => {
      const { body } = await ask('/')
      const chunks = []
      for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
        chunks.push(chunk instanceof Uint8Array, Buffer.from(chunk).toString())
      }
      return chunks
    }
  },
  redirect: {
    manual: async ({ ask }) => shapeOf(await ask('/302', { redirect: 'manual' })),
    error: ({ ask }) => failure(ask('/302', { redirect: 'error' })),
    'a Request that says how': async ({ ask, base }) =>
      (await ask(new Request(`${base}/302`, { redirect: 'manual' }))).status,
    'a POST becomes a GET': ({ ask }) => seen(ask('/302', { method: 'POST', body: 'a' })),
    'a PUT does not': ({ ask }) => seen(ask('/302', { method: 'PUT', body: 'a' })),
    'a POST stays one with 307': ({ ask }) => seen(ask('/307', { method: 'POST', body: 'a' })),
    'a blob is sent again': ({ ask }) =>
      seen(ask('/307', { method: 'POST', body: new Blob(['a'], { type: 'a/b' }) })),
    'a form is sent again': ({ ask }) =>
      seen(ask('/308', { method: 'POST', body: new URLSearchParams('a=b') })),
    'the body of a Request is sent again': ({ ask, base }) =>
      seen(ask(new Request(`${base}/307`, { method: 'POST', body: 'body' }))),
    'a HEAD stays one': async ({ ask }) => shapeOf(await ask('/303', { method: 'HEAD' })),
    'its headers are kept': ({ ask }) => seen(ask('/302', { headers: { 'x-a': 'b' } })),
    'a location that is none': ({ ask }) => failure(ask('/nowhere')),
    'a fragment is inherited by nobody': async ({ ask }) => pathOf((await ask('/302#a')).url)
  }
}

t.test('an entry’s fetch does what Node’s tests ask of one', async (t) => {
  const { measure, tried } = await ways(t)
  for (const [file, behaviours] of Object.entries(BEHAVIOURS)) {
    for (const [name, behaviour] of Object.entries(behaviours)) {
      t.strictSame(await behaviour(tried), await behaviour(measure), `${file}: ${name}`)
    }
  }
})

async function ways(t: Test): Promise<{ measure: Way; tried: Way }> {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend((request, response) => void answer(request, response))
  await harbor.service('api@1.0.0', portOf(backend))
  const consumer = Consumer(['api'], { ...harbor.options, dir: await harbor.testbed.dir() })
  t.teardown(() => consumer.destroy())
  const [entry] = await consumer.setup()
  const base = `http://127.0.0.1:${portOf(backend)}`
  const at = (input: string | URL | Request) =>
    typeof input === 'string' ? new URL(input, base) : input
  return {
    measure: { base, ask: (input, init) => fetch(at(input), init) },
    tried: { base: 'http://api', ask: entry.fetch }
  }
}

async function answer(asked: IncomingMessage, response: ServerResponse) {
  const { url = '', method, headers, rawHeaders } = asked
  const [path = '', query = ''] = url.split('?')
  response.sendDate = false
  const status = Number(/^\/(\d+)$/.exec(path)?.[1])
  if (status >= 301 && status <= 308 && status !== 304) {
    return void response.writeHead(status, { location: '/seen' }).end('moved')
  }
  if (status) {
    if (query) response.setHeader('content-encoding', query)
    return void response.writeHead(status).end()
  }
  const answers: Record<string, () => unknown> = {
    '/': () => response.end('plain'),
    '/never': () => {},
    '/empty': () => response.end(),
    '/json': () => response.setHeader('content-type', 'application/json').end('{"a":[1]}'),
    '/form': () =>
      response.setHeader('content-type', 'application/x-www-form-urlencoded').end('a=b&c=d+e'),
    '/back': () => asked.pipe(response.setHeader('content-type', headers['content-type'] ?? '')),
    '/upload': async () => response.end(await text(asked).catch(() => '')),
    '/latin': () => response.setHeader('x-latin', Buffer.from('ä').toString('latin1')).end(),
    '/coded': () => response.setHeader('content-encoding', query).end(gzipSync('packed')),
    '/broken': () => response.setHeader('content-encoding', 'gzip').end('no gzip at all'),
    '/packed-redirect': () =>
      response.writeHead(302, { location: '/', 'content-encoding': 'gzip' }).end('no gzip'),
    '/located': () => response.setHeader('location', '/elsewhere').end('here'),
    '/nowhere': () => response.writeHead(302, { location: 'http://[' }).end(),
    '/cookies': () => response.setHeader('set-cookie', ['a=b; Path=/', 'c=d']).end(),
    '/hints': () => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' })
      response.end('whole')
    },
    '/all': () => {
      // Of codings an entry takes more, as Node's does over TLS.
      const others = /^(host|connection|accept-encoding)$/
      const pairs = Object.entries(headers).filter(([name]) => !others.test(name))
      response.end(JSON.stringify({ headers: pairs.toSorted() }))
    },
    '/seen': async () => {
      const own = rawHeaders.filter((_, i) => /^(x-|a$|c$)/i.test(rawHeaders[i - (i % 2)] ?? ''))
      const { 'content-length': length, 'transfer-encoding': coding } = headers
      const body = await text(asked)
      response.end(JSON.stringify({ method, url, own, length, coding, body }))
    }
  }
  await answers[path]?.()
}

/** What the backend saw of a request. */
async function seen(asked: Promise<Response>) {
  return (await asked).json()
}

async function lengthOf(asked: Promise<Response>) {
  const { length, coding, body } = (await seen(asked)) as Record<string, string>
  return {
    length,
    coding,
    isWhole: length === undefined || Buffer.byteLength(body ?? '') === +length
  }
}

async function shapeOf(answer: Response) {
  const { status, statusText, ok, redirected, type, url, body } = answer
  const hasBody = body !== null
  return [status, statusText, ok, redirected, type, pathOf(url), hasBody, await answer.text()]
}

function pathOf(url: string): string {
  const { pathname, search, hash } = new URL(url)
  return pathname + search + hash
}

/** A POST of a stream. */
function streamed(body: ReadableStream): RequestInit {
  return { method: 'POST', body, duplex: 'half' } as RequestInit
}

function failure(asked: Promise<unknown>): Promise<unknown> {
  return asked.then(() => 'it did not fail', named)
}

function thrown(call: () => unknown): unknown {
  try {
    call()
    return 'it did not fail'
  } catch (error) {
    return named(error)
  }
}

function named(error: unknown): unknown {
  return error instanceof Error ? error.name : error
}
