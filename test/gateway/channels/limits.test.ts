import t from 'tap'
import { connect } from '../../../lib/client/node.js'
import { Metrics } from '../../../lib/core/metrics.js'
import type { Service, Web } from '../../../lib/index.js'
import type { RoomPresence } from '../../../lib/messaging/clients/client-types.js'
import { restWhile } from '../../rest.js'
import { lists } from '../harbor.js'
import { pier, RawPage } from './pier.js'

t.test('an address has as many sessions as it may, and one more when one has left', async (t) => {
  const { web } = await pier(t, { channels: { sessionsPerAddress: 2 } })
  // One after the other, since connections that are made at once come in any order.
  const first = new RawPage(web)
  await first.connect({ token: 'ada' })
  const second = new RawPage(web)
  await second.opened()
  const third = new RawPage(web)
  t.equal(await third.closed, 4013, 'it may come back later')
  first.send({ t: 'bye' })
  t.equal(await first.closed, 1000)
  t.match(await new RawPage(web).connect({ token: 'bob' }), { id: 'bob' })
  const { text } = await new Metrics(() => web.measures()).render(undefined)
  t.match(text, /^hyperseaport_web_gateway_channels_sessions 2$/m)
})

t.test('limits of channels are numbers above 0', async (t) => {
  await t.rejects(pier(t, { channels: { sessionsPerAddress: 0 } }), { code: 'USAGE' })
})

t.test('a client has at most a hundred sessions', async (t) => {
  const { service, web } = await pier(t)
  const pages = Array.from({ length: 101 }, () => new RawPage(web))
  const last = pages.pop()
  for (const page of pages) await page.connect({ token: 'ada' })
  await last?.opened()
  last?.send({ t: 'connect', token: 'ada' })
  t.equal(await last?.closed, 4003)
  t.equal(service.clients.list()[0]?.sessions, 100)
  t.equal(service.getStats().clients.refused, 1)
})

t.test('a page that is silent for too long is cut, and one that answers is not', async (t) => {
  const channels = { pingInterval: 300, silence: 3000 }
  const { service, web } = await pier(t, { channels })
  const silent = new RawPage(web)
  await silent.connect({ token: 'silent' })
  const client = connect(`${web.url}channel/chat@1.x`, { token: 'ada' })
  t.teardown(() => client.close())
  let connections = 0
  client.on('connected', () => connections++)
  t.equal(await silent.closed, 1006)
  await client.send('still')
  t.equal(connections, 1)
  const isAway = ({ id, away }: { id: string; away: number }) => id === 'silent' && away === 1
  await restWhile(() => !service.clients.list().some(isAway))
  t.equal(web.getStats().gateway.channels.silent, 1)
})

t.test('who has joined a room hears what is for it, after coming back as well', async (t) => {
  const { service, web } = await pier(t)
  const [ada, bob] = [new RawPage(web), new RawPage(web)]
  const { ticket, secret, at } = await ada.connect({ token: 'ada' })
  await bob.connect({ token: 'bob' })
  const say = async (page: RawPage, n: number, type: string, data: string) => {
    page.send({ t: 'message', n, type, data })
    await page.next('answer')
  }
  await say(ada, 1, 'join', 'red')
  const tell = () => {
    service.clients.broadcast('room', 1, { room: 'red' })
    service.clients.broadcast('all', 2)
  }
  tell()
  t.match(await ada.next('broadcast'), { type: 'room', data: 1 })
  t.match(await ada.next('broadcast'), { type: 'all' })
  t.match(await bob.next('broadcast'), { type: 'all' })

  ada.socket.terminate()
  await ada.closed
  const again = new RawPage(web)
  const resume = { ticket, secret, at }
  t.match(await again.connect({ token: 'ada', resume }), { resumed: true })
  t.match(await again.next('broadcast'), { type: 'room' }, 'what it had not heard')
  t.match(await again.next('broadcast'), { type: 'all' })
  tell()
  t.match(await again.next('broadcast'), { type: 'room' })
  t.match(await again.next('broadcast'), { type: 'all' })
  await say(again, 2, 'leave', 'red')
  tell()
  t.match(await again.next('broadcast'), { type: 'all' })
})

t.test(
  'every instance knows who is in a room, and those in it hear who comes and goes',
  async (t) => {
    const { service, web, instance, harbor } = await pier(t)
    const other = await instance()
    const second = await harbor.web({ drainTimeout: 500 })
    await lists(web, 2)
    await lists(second, 2)
    const instances = [service, other]
    const told: RoomPresence[][] = [[], []]
    instances.forEach(({ clients }, i) => {
      clients.allow('presence')
      clients.on('room', (presence) => told[i]?.push(presence))
    })
    const inRed = ({ clients }: Service) =>
      clients
        .list({ room: 'red' })
        .map(({ id, sessions }) => `${id} ${sessions}`)
        .toSorted()
        .join()
    const until = async (expected: string) => {
      for (const one of instances) await restWhile(() => inRed(one) !== expected)
    }
    const page = (web: Web, token: string) => {
      const client = connect(`${web.url}channel/chat@1.x`, { token, backoffs: [0] })
      t.teardown(() => client.close())
      return client
    }
    const [ada, bob, carl] = [page(web, 'ada'), page(second, 'bob'), page(web, 'carl')]
    const heard: unknown[] = []
    ada.on('room', (presence) => heard.push(presence))
    carl.on('room', () => t.fail('who is not in it hears nothing'))
    await carl.send('hi')
    for (const room of ['red', 'blue', 'green']) await ada.send('join', room)
    await until('ada 1')
    await bob.send('join', 'red')
    await until('ada 1,bob 1')
    const again = page(web, 'bob')
    await again.send('join', 'red')
    await until('ada 1,bob 2')
    again.close()
    await until('ada 1,bob 1')
    await bob.send('leave', 'red')
    await until('ada 1')
    await restWhile(() => heard.length < 7)
    const red = (id: string, sessions: number) => ({ id, sessions, away: 0, room: 'red' })
    t.same(heard, [
      ...[red('ada', 1), { ...red('ada', 1), room: 'blue' }, { ...red('ada', 1), room: 'green' }],
      ...[red('bob', 1), red('bob', 2), red('bob', 1), red('bob', 0)]
    ])
    const sorted = (list: unknown[]) => list.map((one) => JSON.stringify(one)).toSorted()
    for (const list of told) {
      t.same(sorted(list), sorted(heard), 'each once, however quickly it joins')
    }
    t.equal(service.clients.list().length, 3)
    ada.close()
    await until('')
  }
)

t.test(
  'rooms have names that are not too long, and a session is in a hundred at most',
  async (t) => {
    const { web } = await pier(t)
    const page = new RawPage(web)
    await page.connect({ token: 'ada' })
    page.send({ t: 'message', n: 1, type: 'join', data: 'x'.repeat(129) })
    t.match(await page.next('failed'), { n: 1, code: 'USAGE' })
    page.send({ t: 'message', n: 1, type: 'join', data: '\0'.repeat(22) })
    t.match(await page.next('failed'), { n: 1, code: 'USAGE' }, 'which JSON writes as 132 bytes')
    for (let n = 2; n <= 101; n++) {
      page.send({ t: 'message', n, type: 'join', data: `room ${n}` })
      await page.next('answer')
    }
    page.send({ t: 'message', n: 102, type: 'join', data: 'one more' })
    t.match(await page.next('failed'), { n: 102, code: 'LIMIT_REACHED' })
  }
)
