import { once } from 'node:events'
import { request } from 'node:http'
import t from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor } from '../gateway/harbor.js'

t.test('an entry has an agent and a fetch that need no local port', async (t) => {
  const harbor = await Harbor.make(t)
  const peers = new Set<unknown>()
  const service = await harbor.service('@team/api@1.0.0', (request, response) => {
    peers.add(request.socket)
    if (request.url === '/cut') return void request.socket.destroy()
    response.writeHead(request.url === '/none' ? 204 : 201, 'So Be It', {
      'x-method': request.method
    })
    if (request.url === '/none') response.end()
    else request.pipe(response)
  })
  const dir = await harbor.testbed.dir()
  const consumer = Consumer(['@team/api@1.x'], { ...harbor.options, dir })
  t.teardown(() => consumer.destroy())
  const [api] = await consumer.setup()
  if (!api) throw new Error('no entry')

  const posted = await api.fetch('/a?b', { method: 'POST', body: 'hello' })
  t.match(posted, { status: 201, statusText: 'So Be It' })
  t.equal(await posted.text(), 'hello')
  t.equal((await api.fetch('/none')).status, 204)
  for (let i = 0; i < 3; i++) t.equal(await (await api.fetch('/')).text(), '')
  t.ok(peers.size <= 2, 'over kept streams')
  await t.rejects(api.fetch('/cut'), { code: 'ECONNRESET' })
  await t.rejects(api.fetch('/', { signal: AbortSignal.abort() }), { name: 'AbortError' })

  const asking = request({ agent: api.agent, path: '/', method: 'PUT' })
  asking.end('over http.request')
  const [answer] = await once(asking, 'response')
  t.equal(String(await once(answer, 'data')), 'over http.request')

  await service.destroy()
  await t.rejects(api.fetch('/'), { code: 'NO_INSTANCE' })
})
