import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { makeToken } from '../../lib/gateway/access.js'
import { Harbor, portOf } from './harbor.js'

const ORIGIN = 'https://app.example'
const PREFLIGHT = { 'access-control-request-method': 'GET', origin: ORIGIN }

for (const fastPath of [true, false]) {
  const way = fastPath ? 'on the fast path' : 'through node:http'

  t.test(`a page is told why it gets no answer, ${way}`, async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('api@1.0.0', ({ url, socket }, response) => {
      if (url === '/cut') socket.destroy()
      else response.end('ok')
    })
    // Alone with its deadline, which others may pass on a busy machine.
    await harbor.service('mute@1.0.0', () => {})
    const dead = createServer().listen(0, '127.0.0.1')
    await once(dead, 'listening')
    const port = portOf(dead as never)
    dead.close()
    await harbor.service('dead@1.0.0', port)
    const gone = await harbor.service('gone@1.0.0', (_request, response) => response.end())
    await gone.destroy()
    const ci = makeToken('ci', ['api@1.x', 'mute', 'dead', 'gone', 'none'])
    const poor = makeToken('poor', ['other'])
    const web = await harbor.web({
      fastPath,
      access: `${ci.line}\n${poor.line}\n`,
      cors: ['api@1.x', 'mute', 'dead', 'gone', 'none'].map((role) => ({ role, origin: ORIGIN })),
      deadlines: [{ role: 'mute', ms: 300 }]
    })
    const cases: [path: string, token: string | null, status: number][] = [
      ['role/api@1.x/', ci.token, 200],
      ['role/api@1.x/', null, 401],
      ['role/api@1.x/', poor.token, 403],
      ['role/api@1.x/cut', ci.token, 502],
      ['role/mute/', ci.token, 504],
      ['role/dead/', ci.token, 502],
      ['role/gone/', ci.token, 503],
      ['role/none/', ci.token, 404]
    ]
    for (const [path, token, status] of cases) {
      const headers = { origin: ORIGIN, ...(token && { authorization: `Bearer ${token}` }) }
      const answer = await fetch(web.url + path, { headers })
      await answer.text()
      t.equal(answer.status, status, path)
      t.equal(answer.headers.get('access-control-allow-origin'), ORIGIN, `${status} of ${path}`)
      t.equal(answer.headers.get('access-control-allow-credentials'), 'true')
      t.match(answer.headers.get('vary'), 'Origin')
      const strange = await fetch(web.url + path, {
        headers: { ...headers, origin: 'https://evil.example' }
      })
      await strange.text()
      t.equal(strange.headers.get('access-control-allow-origin'), null, 'a page of no rule')
      const preflight = await fetch(web.url + path, { method: 'OPTIONS', headers: PREFLIGHT })
      t.equal(preflight.status, 204, 'a preflight has no credentials')
      t.equal(preflight.headers.get('access-control-allow-origin'), ORIGIN)
      t.equal(preflight.headers.get('access-control-allow-methods'), 'GET')
    }
    const unruled = await fetch(`${web.url}role/other/`, { method: 'OPTIONS', headers: PREFLIGHT })
    t.equal(unruled.status, 401, 'what no rule speaks of is kept as before')
    await unruled.text()
  })

  t.test(`a page reads the fields that the service lists, or else all, ${way}`, async (t) => {
    const harbor = await Harbor.make(t)
    await harbor.service('api@1.0.0', ({ url }, response) => {
      if (url === '/listed') response.setHeader('Access-Control-Expose-Headers', 'X-One, X-Two')
      if (url === '/any') response.setHeader('Access-Control-Expose-Headers', '*')
      response.setHeader('X-One', '1').setHeader('X-Three', '3').setHeader('Set-Cookie', 'a=b')
      response.end()
    })
    const web = await harbor.web({
      fastPath,
      cors: [
        { role: 'api@1.x', origin: ORIGIN },
        { role: 'api@1.x', origin: '*' }
      ]
    })
    const exposed = async (path: string, origin = ORIGIN) => {
      const { headers } = await fetch(`${web.url}role/api/${path}`, { headers: { origin } })
      return headers.get('access-control-expose-headers')
    }
    t.equal(await exposed('listed'), 'X-One, X-Two')
    for (const path of ['', 'any']) {
      const names = (await exposed(path))?.split(', ') ?? []
      t.ok(names.includes('X-One') && names.includes('X-Three'), path)
      t.notOk(
        names.some((name) => /\*|cookie|access-control/i.test(name)),
        names.join()
      )
    }
    t.equal(await exposed('', 'https://else.example'), '*', 'where no credentials are allowed')
    t.equal(await exposed('listed', 'https://else.example'), 'X-One, X-Two')
  })
}
