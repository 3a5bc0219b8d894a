import t from 'tap'
import { type Ask, both } from './both-fetches.js'

t.test('fields about the connection are refused, and its body is not read', async (t) => {
  const ways = await both(t, (request, response) => void request.pipe(response))
  const refused: [name: string, value: string, code: string][] = [
    ['transfer-encoding', 'identity', 'UND_ERR_INVALID_ARG'],
    ['transfer-encoding', 'chunked', 'UND_ERR_INVALID_ARG'],
    ['keep-alive', 'timeout=5', 'UND_ERR_INVALID_ARG'],
    ['upgrade', 'websocket', 'UND_ERR_INVALID_ARG'],
    ['connection', 'not a name', 'UND_ERR_INVALID_ARG'],
    ['expect', '100-continue', 'UND_ERR_NOT_SUPPORTED']
  ]
  for (const [who, ask] of ways) {
    for (const [name, value, code] of refused) {
      const expected = { name: 'TypeError', message: 'fetch failed', cause: { code } }
      const headers = { [name]: value }
      await t.rejects(ask('/', { headers }), expected, `${who} ${name}`)
      const post = { method: 'POST', headers, duplex: 'half' } as RequestInit
      await t.rejects(ask('/', { ...post, body: 'hi' }), expected, `${who} ${name}`)
      const body = new Blob(['hi']).stream()
      await t.rejects(ask('/', { ...post, body }), expected, `${who} ${name}`)
    }
    for (const connection of ['close', 'Keep-Alive']) {
      const answer = await ask('/', { method: 'POST', body: 'hi', headers: { connection } })
      t.equal(await answer.text(), 'hi', `${who} ${connection}`)
    }
  }
  const [, [, ask]] = ways as [unknown, [string, Ask]]
  // Node's own leaves names of fields out from 24.21 on; before, it refuses them, too.
  const named = ask('/', { headers: { connection: 'upgrade' } })
  await t.rejects(named, { cause: { code: 'UND_ERR_INVALID_ARG' } }, 'nor are fields named')
  const trailer = ask('/', { method: 'POST', body: 'hi', headers: { trailer: 'x-a' } })
  await t.rejects(trailer, { name: 'TypeError', message: 'fetch failed' }, 'nor can trailers come')
})

t.test('caches on the way hear what the caller wants of them', async (t) => {
  const ways = await both(t, ({ headers }, response) => {
    response.end(`${headers['cache-control']} ${headers.pragma}`)
  })
  const inits: [object, string][] = [
    [{}, 'undefined undefined'],
    [{ cache: 'no-store' }, 'no-cache no-cache'],
    [{ cache: 'reload' }, 'no-cache no-cache'],
    [{ cache: 'no-cache' }, 'max-age=0 undefined'],
    [{ cache: 'force-cache' }, 'undefined undefined'],
    [{ headers: { 'if-none-match': '"a"' } }, 'no-cache no-cache'],
    [{ cache: 'no-store', headers: { 'cache-control': 'max-age=5' } }, 'max-age=5 no-cache']
  ]
  for (const [who, ask] of ways) {
    for (const [init, expected] of inits) {
      t.equal(await (await ask('/', init)).text(), expected, `${who} ${JSON.stringify(init)}`)
    }
  }
})

t.test('a service hears of a referrer what its policy lets it', async (t) => {
  const ways = await both(
    t,
    ({ headers }, response) => void response.end(headers.referer ?? 'none')
  )
  const inits: [object, string][] = [
    [{}, 'none'],
    [{ referrer: '' }, 'none'],
    [{ referrer: 'http://x/page?a#b' }, 'http://x/'],
    [{ referrer: 'http://x/page', referrerPolicy: 'same-origin' }, 'none'],
    [{ referrer: 'http://x/page?a#b', referrerPolicy: 'unsafe-url' }, 'http://x/page?a']
  ]
  for (const [who, ask] of ways) {
    for (const [init, expected] of inits) {
      t.equal(await (await ask('/', init)).text(), expected, `${who} ${JSON.stringify(init)}`)
    }
  }
  const [, [, ask]] = ways as [unknown, [string, Ask]]
  const silent = await ask('/', { referrer: 'http://x/page', referrerPolicy: 'no-referrer' })
  t.equal(await silent.text(), 'none')
})
