import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { type Client, connect } from '../../lib/client/node.js'
import type { Web } from '../../lib/index.js'
import { pier } from '../gateway/channels/pier.js'
import { Harbor, lists } from '../gateway/harbor.js'
import { restWhile } from '../rest.js'

function channelOf(web: Web, path = 'channel/chat@1.x'): string {
  return `${web.url}${path}`
}

function heard(client: Client, event: string): Promise<unknown> {
  return new Promise((resolve) => client.on(event, resolve))
}

t.test('a client says something, calls a command, and hears by type what comes', async (t) => {
  const { service, web } = await pier(t)
  service.commands.handle('add', ({ a, b }) => a + b)
  const client = connect(channelOf(web), { token: () => 'ada' })
  t.teardown(() => client.close())
  t.same(await client.send('hi', { text: 'waits until it is connected' }), {
    ...{ type: 'hi', id: 'ada', data: { text: 'waits until it is connected' } }
  })
  t.equal(client.id, 'ada')
  t.equal(await client.call('add', { a: 1, b: 2 }), 3)
  const bytes = heard(client, 'bytes')
  service.clients.direct('ada', 'bytes', Buffer.from('a:b'))
  t.equal(Buffer.from((await bytes) as Uint8Array).toString(), 'a:b')
  await t.rejects(client.call('nothing'), { code: 'UNKNOWN_COMMAND' })
  await t.rejects(client.broadcast('news'), { code: 'NOT_ALLOWED' })
  const connections: unknown[] = []
  client.on('connected', (event) => connections.push(event))
  await t.rejects(client.send('no valid name'), { code: 'USAGE' })
  await t.rejects(client.send('much', new Uint8Array(1024 * 1024 + 1)), { code: 'TOO_LARGE' })
  await t.rejects(client.send('much', 'é'.repeat(512 * 1024)), { code: 'TOO_LARGE' })
  let deep: unknown = 0
  for (let depth = 0; depth < 300; depth++) deep = [deep]
  await t.rejects(client.send('deep', deep), { code: 'BAD_MESSAGE' })
  await t.rejects(client.call('add', deep), { code: 'BAD_MESSAGE' })
  await t.rejects(client.direct('x'.repeat(70_000), 'hi'), { code: 'TOO_LARGE' })
  await t.rejects(client.direct('x'.repeat(257), 'hi'), { code: 'USAGE' })
  await t.rejects(client.send('x'.repeat(70_000), new Uint8Array(1)), { code: 'TOO_LARGE' })
  t.same(connections, [], 'none of these ends the connection')
  t.match(await client.send('bytes', new Uint8Array([1, 2])), { data: { type: 'Buffer' } })
})

t.test('much that was said while away goes as a gateway takes it, and in order', async (t) => {
  const { web } = await pier(t)
  const client = connect(channelOf(web), { token: 'ada' })
  t.teardown(() => client.close())
  const order: number[] = []
  const say = (n: number) => client.send('n', n).then(() => order.push(n))
  const all = Array.from({ length: 300 }, (_, n) => say(n))
  await heard(client, 'connected')
  await Promise.all([...all, say(300)])
  t.same(order, [...Array(301).keys()])
})

t.test('a token that no frame can carry refuses the client for good', async (t) => {
  const { web } = await pier(t)
  for (const token of [1n, 'x'.repeat(2 * 1024 * 1024)]) {
    const client = connect(channelOf(web), { token })
    t.same(await heard(client, 'disconnected'), { code: 4003, isFinal: true })
  }
})

t.test('what a gateway does not understand is said twice, and then fails', async (t) => {
  const gateway = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => new Promise((resolve) => gateway.close(resolve)))
  const heardTypes: string[] = []
  gateway.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { t, type } = JSON.parse(String(data))
      heardTypes.push(type ?? t)
      const connected = { t: 'connected', id: 'a', session: 's', ticket: '', secret: '', at: {} }
      if (t === 'connect') socket.send(JSON.stringify(connected))
      else socket.close(4002)
    })
  })
  await once(gateway, 'listening')
  const { port } = gateway.address() as AddressInfo
  const client = connect(`http://127.0.0.1:${port}`, { backoffs: [0] })
  t.teardown(() => client.close())
  await t.rejects(client.send('new'), { code: 'BAD_MESSAGE' })
  t.same(heardTypes, ['connect', 'new', 'connect', 'new'])
  await heard(client, 'connected')
  gateway.removeAllListeners('connection')
  gateway.on('connection', (socket) => socket.close(1009))
  for (const socket of gateway.clients) socket.close(1001)
  await heard(client, 'disconnected')
  t.match(await heard(client, 'disconnected'), { code: 1009, isFinal: true }, 'not let in at all')
})

t.test('presence goes from 2 to 1 to 0, and whoever is sent away stays away', async (t) => {
  const { service, web } = await pier(t)
  const seen: number[] = []
  let wake = () => {}
  service.clients.on('presence', ({ sessions }) => {
    seen.push(sessions)
    wake()
  })
  const reach = async (count: number) => {
    while (seen.length < count) await new Promise<void>((resolve) => (wake = resolve))
  }
  const [one, two] = [
    connect(channelOf(web), { token: 'ada' }),
    connect(channelOf(web), { token: 'ada' })
  ]
  await reach(2)
  one.close()
  await reach(3)
  const away = heard(two, 'disconnected')
  service.clients.disconnect('ada')
  t.same(await away, { code: 4000, isFinal: true })
  t.same(seen, [1, 2, 1, 0])
  await t.rejects(two.send('hi'), { code: 'CLOSED' })
  const refused = connect(channelOf(web), { token: () => 7 })
  t.same(await heard(refused, 'disconnected'), { code: 4003, isFinal: true })
})

t.test('through another gateway it goes on where it was: each once, and in order', async (t) => {
  const { harbor, service, web, instance } = await pier(t)
  const other = await instance()
  const second = await harbor.web({ drainTimeout: 500 })
  await lists(web, 2)
  await lists(second, 2)
  const client = connect([channelOf(web), channelOf(second)], { token: 'ada', backoffs: [0] })
  t.teardown(() => client.close())
  const connections: unknown[] = []
  const missed: unknown[] = []
  const got: Record<string, number[]> = { one: [], two: [] }
  client.on('connected', ({ resumed }) => connections.push(resumed))
  client.on('missed', (event) => missed.push(event))
  client.on('one', (n) => got.one?.push(n))
  client.on('two', (n) => got.two?.push(n))
  const done = heard(client, 'end')
  await heard(client, 'connected')
  let n = 0
  const tell = () => {
    n++
    service.clients.broadcast('one', n)
    other.clients.broadcast('two', n)
    if (n % 10 === 0) service.clients.direct('ada', 'one', -n)
  }
  for (let i = 0; i < 20; i++) tell()
  const back = heard(client, 'connected')
  const leaving = web.destroy()
  while (connections.length < 2) {
    tell()
    await new Promise(setImmediate)
  }
  await back
  await leaving
  for (let i = 0; i < 20; i++) tell()
  service.clients.direct('ada', 'end')
  await done
  const all = Array.from({ length: n }, (_, i) => i + 1)
  t.same(
    got.one,
    all.flatMap((i) => (i % 10 === 0 ? [i, -i] : [i]))
  )
  while ((got.two?.length ?? 0) < n) await heard(client, 'two')
  t.same(got.two, all)
  t.same(connections, [false, true])
  t.same(missed, [])
  t.equal(service.clients.list()[0]?.sessions, 1)
})

t.test('what the ring has no more is said to be missed, with its number', async (t) => {
  const { web, instance, service } = await pier(t)
  await service.destroy()
  await instance({ clients: { maxBytes: 5000 } }).then(async (small) => {
    await lists(web, 1)
    const client = connect(channelOf(web), { token: 'ada', backoffs: [0], WebSocket: Cut as never })
    t.teardown(() => client.close())
    await heard(client, 'connected')
    const missed = heard(client, 'missed')
    const last = heard(client, 'last')
    Cut.latest?.terminate()
    await restWhile(() => small.clients.list()[0]?.sessions !== 0)
    for (let i = 0; i < 99; i++) small.clients.broadcast('much', 'x'.repeat(500))
    small.clients.broadcast('last', 'word')
    const { count } = (await missed) as { count: number }
    t.ok(count > 80 && count < 99, `${count} are missed`)
    t.equal(await last, 'word')
  })
})

/** Shows the connection under a client, to cut it. */
class Cut extends WebSocket {
  static latest: Cut | null = null

  constructor(url: string, protocol: string) {
    super(url, protocol)
    Cut.latest = this
  }
}

t.test('pages get a client of at most 8 KiB from the gateway', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web()
  const answer = await fetch(`${web.url}client.js`)
  t.match(answer.headers.get('content-type'), 'text/javascript')
  const text = await answer.text()
  t.match(text, /export\s*\{[^}]*connect/)
  t.notMatch(text, /\bimport\b/)
  t.ok(gzipSync(text).byteLength <= 8 * 1024)
})
