import { text } from 'node:stream/consumers'
import t from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor, portOf } from '../gateway/harbor.js'
import { both } from './both-fetches.js'

type Body = NonNullable<RequestInit['body']>

const streamOf = (chunk: string) => new Blob([chunk]).stream()

t.test(
  'what a redirect does to a body depends on what it was made of, in a Request too',
  async (t) => {
    const harbor = await Harbor.make(t)
    const backend = await harbor.backend(async (request, response) => {
      const { url = '', method, headers } = request
      const body = await text(request)
      if (/^\/\d/.test(url)) response.writeHead(+url.slice(1), { location: '/there' }).end()
      else {
        const [, boundary = '-'] = /boundary=(.*)/.exec(headers['content-type'] ?? '') ?? []
        const length = headers['content-length'] === `${Buffer.byteLength(body)}`
        response.end(`${method} ${length} ${body.replaceAll(boundary, 'boundary').slice(0, 20)}`)
      }
    })
    await harbor.service('api@1.0.0', portOf(backend))
    const consumer = Consumer(['api'], { ...harbor.options, dir: await harbor.testbed.dir() })
    t.teardown(() => consumer.destroy())
    const [api] = await consumer.setup()
    const origin = 'http://service'
    const form = new FormData()
    form.append('file', new File(['#'.repeat(100_000)], 'name.txt'))
    const again: [body: Body, expected: string][] = [
      [form, 'PUT true --boundary\r\nContent-'],
      [new Blob(['#'.repeat(100_000)]), `PUT true ${'#'.repeat(20)}`],
      ['text', 'PUT true text'],
      ['', 'PUT true ']
    ]
    const init = (method: string, body: Body) =>
      ({ method, body, duplex: 'half' }) as RequestInit & { duplex: 'half' }
    for (const [body, expected] of again) {
      const inits = [await api.fetch('/307', init('PUT', body))]
      inits.push(await api.fetch(new Request(`${origin}/308`, init('PUT', body))))
      for (const answer of inits) t.equal(await answer.text(), expected)
    }
    for (const path of ['/301', '/302', '/307']) {
      const asked = api.fetch(new Request(origin + path, init('POST', streamOf('hi'))))
      await t.rejects(
        asked,
        { message: 'fetch failed', cause: /stream cannot be sent again/ },
        path
      )
    }
    const seen = await api.fetch(new Request(`${origin}/303`, init('POST', streamOf('hi'))))
    t.equal(await seen.text(), 'GET false ')
  }
)

t.test('redirects are errors without a place, too, and places are in UTF-8', async (t) => {
  const ways = await both(t, ({ url }, response) => {
    if (url === '/nowhere') return void response.writeHead(302).end('here')
    if (url !== '/to') return void response.end(url)
    response.writeHead(302, { location: Buffer.from('/é').toString('latin1') }).end()
  })
  for (const [who, ask] of ways) {
    await t.rejects(ask('/nowhere', { redirect: 'error' }), { message: 'fetch failed' }, who)
    t.equal(await (await ask('/nowhere')).text(), 'here', who)
    t.equal(await (await ask('/to')).text(), '/%C3%A9', who)
  }
})

t.test(
  'where a body ends is said whatever the method, and none is taken for a request',
  async (t) => {
    const seen: string[] = []
    const ways = await both(t, async (request, response) => {
      seen.push(`${request.method} ${request.url}`)
      response.end(await text(request))
    })
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
    for (const [who, ask] of ways) {
      for (const method of ['DELETE', 'OPTIONS', 'POST', 'PATCH']) {
        const init = { method, body: streamOf(smuggled), duplex: 'half' } as RequestInit
        t.equal(await (await ask('/', init)).text(), smuggled, `${who} ${method}`)
      }
      await (await ask('/last')).text()
    }
    t.notMatch(seen.join(), 'smuggled')
  }
)
