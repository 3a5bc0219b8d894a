import t from 'tap'
import { both } from './both-fetches.js'

t.test('a status that no Response can be made with is the status of the answer', async (t) => {
  const ways = await both(t, ({ url = '', socket }) => {
    const status = url.slice(1, 4)
    socket.end(`HTTP/1.1 ${status} Odd\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi`)
  })
  const integrity = 'sha256-j0NDRmSPa5bfid2pAcUXaxCm2Dlh3TwayItZstwyeqQ='
  for (const [who, ask] of ways) {
    for (const status of [299, 599, 600, 999]) {
      const answer = await ask(`/${status}`)
      const expected = { status, ok: status < 300, statusText: 'Odd' }
      t.match(answer, expected, `${who} ${status}`)
      t.match(answer.clone(), expected, `${who}, a copy`)
      t.equal(await answer.text(), 'hi')
      t.match(await ask(`/${status}`, { integrity }), expected, `${who}, whole`)
      t.match(await ask(`/${status}`, { method: 'HEAD' }), expected, `${who}, without a body`)
    }
    await t.rejects(ask('/099'), { name: 'TypeError' }, who)
  }
})

t.test('several places that a redirect leads to are one with commas in it', async (t) => {
  const ways = await both(t, ({ url = '' }, response) => {
    if (!url.startsWith('/to?')) return void response.end(url)
    const places = url.slice(4).split('&')
    response
      .writeHead(
        302,
        places.flatMap((place) => ['Location', place])
      )
      .end()
  })
  for (const [who, ask] of ways) {
    for (const [path, expected] of [
      ['/to?/a', '/a'],
      ['/to?/a&/b', '/a,%20/b'],
      ['/to?/a&/a', '/a,%20/a'],
      ['/to?&/a', '/,%20/a']
    ] as const) {
      t.equal(await (await ask(path)).text(), expected, `${who} ${path}`)
    }
    const manual = await ask('/to?/a&/b', { redirect: 'manual' })
    t.equal(manual.headers.get('location'), '/a, /b', who)
    await t.rejects(ask('/to?http://[&/b'), { name: 'TypeError' }, who)
  }
})

t.test('where the caller comes from is told as the redirect that it follows allows', async (t) => {
  let referers: (string | undefined)[] = []
  const ways = await both(t, ({ url = '', headers }, response) => {
    referers.push(headers.referer)
    if (!url.startsWith('/to')) return void response.end()
    const policies = url.slice(4).split('&').filter(Boolean).map(decodeURIComponent)
    const fields = policies.flatMap((policy) => ['Referrer-Policy', policy])
    response.writeHead(302, ['Location', '/there', ...fields]).end()
  })
  const page = 'http://other.example/page?q=1'
  const origin = 'http://other.example/'
  // Node 20 and 22 compute some policies in another way; the standard's is that of Node 24.
  const isStandard = Number.parseInt(process.versions.node, 10) >= 24
  for (const [who, ask] of ways) {
    for (const [policies, before, after, isAlike = true] of [
      ['', page, page],
      ['unsafe-url', page, page],
      ['origin', page, origin],
      ['strict-origin', page, origin],
      ['same-origin', page, undefined],
      ['bogus', page, page],
      ['ORIGIN', page, page],
      ['no-referrer&origin', page, origin],
      ['same-origin, bogus', page, undefined],
      ['no-referrer', page, undefined, false],
      ['no-referrer-when-downgrade', page, page, false]
    ] as const) {
      if (!isAlike && !isStandard && who === "Node's own") continue
      referers = []
      await ask(`/to?${encodeURIComponent(policies).replaceAll('%26', '&')}`, {
        referrer: page,
        referrerPolicy: 'unsafe-url'
      })
      t.strictSame(referers, [before, after], `${who} ${policies}`)
    }
    referers = []
    await ask('/to?same-origin', { headers: { referer: page } })
    t.strictSame(referers, [page, page], `${who}, what the caller sets is left alone`)
    referers = []
    await ask('/to?unsafe-url', { referrer: page, referrerPolicy: 'origin' })
    t.strictSame(referers, [origin, origin], `${who}, it does not become more again`)
  }
})
