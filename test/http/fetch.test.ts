import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { type Ask, both } from './both-fetches.js'

t.test('a fetch that is aborted rejects with the reason, whenever that is', async (t) => {
  const ways = await both(t, ({ url }, response) => {
    if (url === '/drip') response.write('drip')
    if (url === '/gzip') {
      response.setHeader('content-encoding', 'gzip')
      response.write(gzipSync('x'.repeat(1000)).subarray(0, 20))
    }
  })
  for (const [who, ask] of ways) {
    for (const path of ['/never', '/drip', '/gzip']) {
      const ending = new AbortController()
      const answered = ask(path, { signal: ending.signal }).then((answer) => answer.text())
      answered.catch(() => {})
      if (path === '/drip') await new Promise(setImmediate)
      ending.abort()
      await t.rejects(answered, { name: 'AbortError' }, `${who} ${path}`)
      const late = ask(path, { signal: AbortSignal.timeout(50) }).then((answer) => answer.text())
      await t.rejects(late, { name: 'TimeoutError' }, `${who} ${path}`)
      const own = new Error('mine')
      await t.rejects(ask(path, { signal: AbortSignal.abort(own) }), own, who)
    }
    const ending = new AbortController()
    const answer = await ask('/drip', { signal: ending.signal })
    const reader = (answer.body as ReadableStream).getReader()
    await reader.read()
    const next = reader.read()
    ending.abort()
    await t.rejects(next, { name: 'AbortError' }, `${who}, while it is read`)
    const unread = new AbortController()
    const kept = await ask('/drip', { signal: unread.signal })
    unread.abort()
    await t.rejects(kept.text(), { name: 'AbortError' }, `${who}, before it is read`)
  }
})

t.test('a request body is sent with its length, and one that fails rejects', async (t) => {
  const ways = await both(t, async (request, response) => {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers
    const type = request.headers['content-type']
    const body = await text(request).catch(() => '')
    response.end(JSON.stringify({ length, coding, type, body }))
  })
  const bodies: [body: () => RequestInit['body'], expected: object][] = [
    [() => 'hé', { length: '3', type: 'text/plain;charset=UTF-8', body: 'hé' }],
    [() => new URLSearchParams('a=b'), { length: '3', body: 'a=b' }],
    [() => new Uint8Array([65, 66]), { length: '2', body: 'AB' }],
    [() => new Blob(['blob'], { type: 'a/b' }), { length: '4', type: 'a/b', body: 'blob' }],
    [() => null, { length: '0', body: '' }],
    [() => new Blob(['s']).stream(), { coding: 'chunked', body: 's' }]
  ]
  const post = { method: 'POST', duplex: 'half' } as RequestInit
  for (const [who, ask] of ways) {
    for (const [body, expected] of bodies) {
      const answer = await ask('/', { ...post, body: body() as never })
      t.match(await answer.json(), expected, `${who} ${JSON.stringify(expected)}`)
    }
    const form = new FormData()
    form.set('field', 'value')
    const sent = await ask('/', { ...post, body: form })
    t.match(await sent.json(), { type: /^multipart\/form-data; boundary=/, body: /value/ }, who)

    const boom = new Error('boom')
    const failing = [
      new ReadableStream({ pull: (controller) => controller.error(boom) }),
      new ReadableStream({
        async pull(controller) {
          controller.enqueue(new Uint8Array(10))
          await new Promise(setImmediate)
          controller.error(boom)
        }
      })
    ]
    for (const body of failing) await t.rejects(ask('/', { ...post, body }), who)
  }
})

t.test(
  'whoever makes a body hears that it is of no use, also while more of it is waited for',
  async (t) => {
    const [, [, ask]] = (await both(t, (request) => request.resume())) as [unknown, [string, Ask]]
    const ending = new AbortController()
    const reason = await new Promise((cancel) => {
      const body = new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(10))
          setImmediate(() => ending.abort())
          return new Promise<void>(() => {})
        },
        cancel
      })
      const post = { method: 'POST', duplex: 'half', body, signal: ending.signal } as RequestInit
      t.rejects(ask('/', post), { name: 'AbortError' })
    })
    t.equal(reason, ending.signal.reason)
    const body = new ReadableStream({ start: (controller) => controller.enqueue('no bytes') })
    const post = { method: 'POST', duplex: 'half', body } as RequestInit
    await t.rejects(ask('/', post), { name: 'TypeError' })
  }
)

t.test('what breaks is a TypeError with the cause', async (t) => {
  const ways = await both(t, ({ url, socket }, response) => {
    if (url === '/cut') return void socket.destroy()
    response.writeHead(200, { 'content-length': 10 }).write('half')
    setImmediate(() => socket.destroy())
  })
  for (const [who, ask] of ways) {
    const error = await ask('/cut').catch((error) => error)
    t.match(error, { name: 'TypeError', message: 'fetch failed', cause: Error }, who)
    const half = await ask('/half')
    await t.rejects(half.text(), { name: 'TypeError', message: 'terminated' }, who)
    await t.rejects(ask('/', { method: 'GET', body: 'none' }), { name: 'TypeError' }, who)
    await t.rejects(ask('/', { headers: { 'a b': 'c' } }), { name: 'TypeError' }, who)
  }
  const [, [, ask]] = ways as [unknown, [string, (input: URL) => Promise<Response>]]
  await t.rejects(ask(new URL('ftp://api/')), { name: 'TypeError' })
})

t.test('redirects within the service are followed as the standard says', async (t) => {
  const ways = await both(t, async (request, response) => {
    const { method, url = '' } = request
    const [, status, to] = /^\/(\d+)(.*)$/.exec(url) ?? []
    if (status !== undefined) {
      const location = to === '/away' ? 'http://192.0.2.1/' : to || `/${status}`
      return void response.writeHead(Number(status), { location }).end('moved')
    }
    response.end(`${method} ${url} ${request.headers['content-type'] ?? ''} ${await text(request)}`)
  })
  for (const [who, ask] of ways) {
    const post = { method: 'POST', body: 'body' }
    for (const [path, init, expected] of [
      ['/302/a?b#c', {}, 'GET /a?b  '],
      ['/301/a', post, 'GET /a  '],
      ['/303/a', { ...post, method: 'PUT' }, 'GET /a  '],
      ['/307/308/a', post, 'POST /a text/plain;charset=UTF-8 body']
    ] as const) {
      const answer = await ask(path, init)
      t.equal(await answer.text(), expected, `${who} ${path}`)
      t.equal(answer.redirected, true)
      t.match(new URL(answer.url).pathname, '/a')
      t.notMatch(answer.url, '#')
      t.equal(answer.clone === undefined, false)
    }
    const manual = await ask('/302/a', { redirect: 'manual' })
    t.match([manual.status, manual.headers.get('location')], [302, '/a'], who)
    await manual.text()
    await t.rejects(ask('/302/a', { redirect: 'error' }), { name: 'TypeError' }, who)
    await t.rejects(ask('/302'), { name: 'TypeError' }, `${who} for ever`)
    const body = new Blob(['a']).stream()
    const streamed = ask('/307/a', { method: 'POST', body, duplex: 'half' } as RequestInit)
    await t.rejects(streamed, { name: 'TypeError' }, `${who} with a stream`)
    for (const status of [301, 302]) {
      const body = new Blob(['a']).stream()
      const asked = ask(`/${status}/a`, { method: 'POST', body, duplex: 'half' } as RequestInit)
      await t.rejects(asked, { name: 'TypeError' }, `${who} with a stream and ${status}`)
    }
    const seen = new Blob(['a']).stream()
    const other = await ask('/303/a', { method: 'POST', body: seen, duplex: 'half' } as RequestInit)
    t.equal(await other.text(), 'GET /a  ', `${who} with a stream and 303`)
  }
  const [, [, ask]] = ways as [unknown, [string, Ask]]
  const away = await ask('/302/away').catch((error) => error)
  t.match(away.cause.message, "redirect: 'manual'")
})

t.test('an answer is decoded, and is what the standard calls a Response', async (t) => {
  const codings: Record<string, (text: string) => Buffer> = {
    gzip: gzipSync,
    deflate: deflateSync,
    br: brotliCompressSync,
    'gzip, deflate': (text) => deflateSync(gzipSync(text)),
    unknown: (text) => Buffer.from(text)
  }
  const answer = ({ url = '', headers }: IncomingMessage, response: ServerResponse) => {
    const coding = decodeURIComponent(url.slice(1))
    response.setHeader('set-cookie', ['a=1', 'b=2'])
    response.setHeader('x-accept', `${headers.accept} ${headers['user-agent'] !== undefined}`)
    if (coding === 'status') return void response.writeHead(404, 'Not Here').end()
    if (coding in codings) response.setHeader('content-encoding', coding)
    response.end(codings[coding]?.('decoded') ?? 'plain')
  }
  for (const [who, ask] of await both(t, answer)) {
    for (const coding of Object.keys(codings)) {
      t.equal(await (await ask(`/${encodeURIComponent(coding)}`)).text(), 'decoded', who + coding)
    }
    const plain = await ask('/')
    t.match(plain, { ok: true, status: 200, redirected: false, bodyUsed: false, type: 'basic' })
    t.strictSame(plain.headers.getSetCookie(), ['a=1', 'b=2'])
    t.equal(plain.headers.get('x-accept'), '*/* true', who)
    const copy = plain.clone()
    t.equal(copy.url, plain.url)
    t.equal(await plain.text(), 'plain')
    t.equal(await copy.text(), 'plain')
    t.equal(plain.bodyUsed, true)
    await t.rejects(plain.text(), { name: 'TypeError' }, who)
    t.match(await ask('/status'), { ok: false, status: 404, statusText: 'Not Here' }, who)
    const head = await ask('/gzip', { method: 'HEAD' })
    t.match([head.status, await head.text()], [200, ''], who)
    const byob = (await ask('/')).body?.getReader({ mode: 'byob' })
    const read = await byob?.read(new Uint8Array(3))
    t.equal(Buffer.from(read?.value as Uint8Array).toString(), 'pla', who)
    await byob?.cancel()
  }
})

t.test('a body that is not wanted is cut at the service', async (t) => {
  const cuts: Promise<unknown>[] = []
  const ways = await both(t, (_request, response) => {
    cuts.push(once(response, 'close'))
    response.write('drip')
  })
  for (const [who, ask] of ways) {
    const answer = await ask('/')
    await answer.body?.cancel()
    await cuts.at(-1)
    t.pass(who)
  }
})

t.test('an answer that switches protocols rejects, as it leads nowhere', async (t) => {
  const ways = await both(t, ({ socket }) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n')
  })
  for (const [who, ask] of ways) {
    for (const method of ['GET', 'POST']) {
      await t.rejects(ask('/', { method }), { name: 'TypeError', message: 'fetch failed' }, who)
    }
  }
})

t.test('what a body failed with is the cause, though part of it was sent', async (t) => {
  const ways = await both(t, (request) => void request.resume())
  for (const [who, ask] of ways) {
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.alloc(10))
        setImmediate(() => controller.error(new Error('mine')))
      }
    })
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    await t.rejects(ask('/', init), { name: 'TypeError', cause: { message: 'mine' } }, who)
  }
})

t.test('an answer counts only if it has the hash that was asked for', async (t) => {
  const ways = await both(t, (_, response) => void response.end('ok'))
  const hash = (name: string, text: string) =>
    `${name}-${createHash(name).update(text).digest('base64')}`
  for (const [who, ask] of ways) {
    const answered = async (integrity: string) => (await ask('/', { integrity })).text()
    t.equal(await answered(hash('sha256', 'ok')), 'ok', who)
    t.equal(await answered(`${hash('sha384', 'no')} ${hash('sha384', 'ok')}`), 'ok', who)
    t.equal(await answered('md5-AAAA nonsense'), 'ok', `${who}: no hash that there is`)
    const wrong = [hash('sha256', 'no'), `${hash('sha512', 'no')} ${hash('sha256', 'ok')}`]
    for (const integrity of wrong) {
      await t.rejects(answered(integrity), { name: 'TypeError', message: 'fetch failed' }, who)
    }
  }
})

t.test(
  'a body is as long as the caller says it is, or nothing of what is over is sent',
  async (t) => {
    const seen: string[] = []
    const ways = await both(t, async (request, response) => {
      const { method, url, headers } = request
      seen.push(`${method} ${url}`)
      const length = headers['content-length'] ?? 'none'
      const body = await text(request).catch(() => 'cut')
      response.end(`${method} ${length} ${body}`)
    })
    const streamOf = (...texts: string[]) => {
      const left = texts.map((text) => Buffer.from(text))
      return new ReadableStream({
        pull(controller) {
          const next = left.shift()
          if (next) controller.enqueue(next)
          else controller.close()
        }
      })
    }
    const asked = (length: string, method: string, body?: RequestInit['body']) =>
      ({ method, body, duplex: 'half', headers: { 'content-length': length } }) as RequestInit
    const smuggled = 'hiGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
    const mismatch = {
      name: 'TypeError',
      message: 'fetch failed',
      cause: { code: 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' }
    }
    for (const [who, ask] of ways) {
      for (const init of [
        asked('2', 'POST', streamOf(smuggled)),
        asked('2', 'PUT', streamOf(smuggled)),
        asked('0', 'POST', streamOf(smuggled)),
        asked('30', 'POST', streamOf('hi', smuggled)),
        asked('9', 'POST', streamOf('hi'))
      ]) {
        await t.rejects(ask('/', init), mismatch, who)
      }
      const invalid = { name: 'TypeError', cause: { code: 'UND_ERR_INVALID_ARG' } }
      await t.rejects(ask('/', asked('many', 'POST', 'hi')), invalid, who)
      for (const [init, expected] of [
        [asked('2', 'POST', streamOf('h', 'i')), 'POST 2 hi'],
        [asked('2', 'POST', 'hi'), 'POST 2 hi'],
        [asked('5', 'GET'), 'GET none '],
        [asked('5', 'DELETE'), 'DELETE none '],
        [asked('5', 'POST'), 'POST 0 ']
      ] as const) {
        t.equal(await (await ask('/', init)).text(), expected, who)
      }
    }
    const [, [, ask]] = ways as [unknown, [string, Ask]]
    for (const body of ['hi', new Blob(['hi'])]) {
      for (const length of ['1', '9'])
        await t.rejects(ask('/', asked(length, 'POST', body)), mismatch)
    }
    t.notMatch(seen.join(), 'smuggled')
  }
)

t.test('what is packed by deflate is decoded, in the zlib format and without', async (t) => {
  const long = 'decoded '.repeat(100_000)
  const ways = await both(t, ({ url }, response) => {
    response.setHeader('content-encoding', 'deflate')
    if (url === '/none') return void response.end()
    if (url === '/bad') return void response.end(Buffer.alloc(100, 0xff))
    const packed = url === '/raw' ? deflateRawSync(long) : deflateSync(long)
    response.write(packed.subarray(0, 1))
    response.end(packed.subarray(1))
  })
  for (const [who, ask] of ways) {
    for (const path of ['/raw', '/zlib']) {
      t.equal((await (await ask(path)).text()) === long, true, who + path)
    }
    t.equal(await (await ask('/none')).text(), '', who)
    const bad = await ask('/bad')
    await t.rejects(bad.text(), { name: 'TypeError' }, who)
    const left = await ask('/raw')
    await left.body?.cancel()
  }
})
