import { once } from 'node:events'
import t from 'tap'
import WebSocket from 'ws'
import { CHANNEL } from '../../../lib/core/purpose.js'
import { makeToken } from '../../../lib/gateway/access.js'
import { Feed } from '../../../lib/gateway/channels/feed.js'
import { KeyPair } from '../../../lib/index.js'
import { signGrant } from '../../../lib/registry/trust/grant.js'
import { Grants } from '../../../lib/registry/trust/grants.js'
import { Admission } from '../../../lib/serving/admission.js'
import { restWhile } from '../../rest.js'
import { pier, RawPage } from './pier.js'

t.test('a page connects, and hears what is for all and what is for it', async (t) => {
  const { service, web } = await pier(t)
  const [ada, bob] = [new RawPage(web), new RawPage(web)]
  t.match(await ada.connect({ token: 'ada' }), { id: 'ada', resumed: false })
  await bob.connect({ token: 'bob' })
  await restWhile(() => service.clients.list().length < 2)
  service.clients.broadcast('news', { text: 'a:b:{c}' })
  t.equal(service.clients.direct('bob', 'only', 'you'), 1)
  t.match(await ada.next('broadcast'), { type: 'news', data: { text: 'a:b:{c}' }, s: 1 })
  t.match(await bob.next('direct'), { type: 'only', data: 'you', s: 2 })
  service.clients.broadcast('bytes', Buffer.alloc(1024 * 1024, 7))
  const { data } = await ada.next('broadcast')
  t.equal(Buffer.compare(data as Buffer, Buffer.alloc(1024 * 1024, 7)), 0)
  service.clients.broadcast('some', 1, { filter: { name: 'bob' } })
  service.clients.broadcast('all', 2)
  t.match(await ada.next('broadcast'), { type: 'all' })
  bob.send({ t: 'bye' })
  await bob.closed
  await restWhile(() => service.clients.list().length > 1)
  t.same(service.clients.list(), [{ id: 'ada', sessions: 1, away: 0, data: { name: 'ada' } }])
})

t.test('what a page says is answered by the service, and its commands are executed', async (t) => {
  const { service, web } = await pier(t)
  service.commands.handle('add', ({ a, b }) => a + b)
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  page.send({ t: 'message', n: 1, type: 'hi', data: [1] })
  t.match(await page.next('answer'), { n: 1, data: { type: 'hi', id: 'ada', data: [1] } })
  page.send({ t: 'message', n: 1, type: 'hi', data: [1] })
  t.match(await page.next('answer'), { n: 1, data: { data: [1] } }, 'again, with the same answer')
  t.equal(service.clients.stats.messages, 2)
  page.send({ t: 'call', n: 2, type: 'add', data: { a: 1, b: 2 } })
  t.match(await page.next('answer'), { n: 2, data: 3 })
  page.send({ t: 'call', n: 3, type: '$clients' })
  t.match(await page.next('failed'), { n: 3, code: 'NOT_GRANTED' })
  page.send({ t: 'message', n: 4, type: 'hi', to: 'all' })
  t.match(await page.next('failed'), { n: 4, code: 'NOT_ALLOWED' })
  service.clients.allow('broadcast', ({ id }) => id === 'ada')
  page.send({ t: 'message', n: 5, type: 'hi', to: 'all', data: 5 })
  t.match(await page.next('broadcast'), { type: 'hi', data: 5 })
})

t.test('who may not come in learns one code, whatever the reason', async (t) => {
  const { service, web } = await pier(t)
  const refused = async (page: RawPage, frame: object) => {
    await page.opened()
    page.send(typeof frame === 'string' ? frame : { t: 'connect', ...frame })
    return page.closed
  }
  t.equal(await refused(new RawPage(web), {}), 4003, 'the service refuses it')
  const unknown = new RawPage(web, { path: 'channel/nobody@1.x' })
  t.equal(await refused(unknown, { token: 'ada' }), 4003, 'there is no such service')
  t.equal(
    await refused(new RawPage(web), { t: 'message', n: 1 }),
    4003,
    'it does not connect first'
  )
  const page = new RawPage(web)
  await page.connect({ token: 'ada' })
  await restWhile(() => service.clients.list().length < 1)
  t.throws(() => service.clients.disconnect('ada', 4001), { code: 'USAGE' })
  service.clients.disconnect('ada', 4100)
  t.equal(await page.closed, 4100)
  t.same(service.clients.list(), [])
})

t.test('what is no channel is told so over HTTP', async (t) => {
  const { web } = await pier(t)
  const answer = await fetch(`${web.url}channel/chat@1.x`)
  t.equal(answer.status, 400)
  t.match(await answer.text(), /a channel is a WebSocket/)
  const other = new WebSocket(`${web.url.replace('http', 'ws')}channel/chat@1.x`)
  const [error] = (await once(other, 'error')) as [Error]
  t.match(error.message, /400/)
})

t.test("a stranger's page may not connect", async (t) => {
  const { web } = await pier(t)
  const page = new RawPage(web, { headers: { origin: 'https://evil.com' } })
  const [error] = (await once(page.socket, 'error')) as [Error]
  t.match(error.message, /403/)
  const own = new RawPage(web, { headers: { origin: web.url.replace(/\/$/, '') } })
  t.match(await own.connect({ token: 'ada' }), { id: 'ada' })
})

t.test('access is for the gateway, and the token for the service', async (t) => {
  const { token, line } = makeToken('viewer', ['chat'])
  const { web } = await pier(t, { access: line })
  await listed(web, token)
  const refused = new RawPage(web)
  await refused.opened()
  refused.send({ t: 'connect', token: 'ada' })
  t.equal(await refused.closed, 4003)
  const page = new RawPage(web)
  t.match(await page.connect({ access: token, token: 'ada' }), { id: 'ada' })
  web.update({ access: makeToken('another', ['chat']).line })
  t.equal(await page.closed, 4001, 'whose token is taken away has to come back, and is refused')
})

t.test('whose token is taken away while it is being admitted is not', async (t) => {
  const { token, line } = makeToken('viewer', ['chat'])
  const { web } = await pier(t, { access: line })
  const { connect } = Feed.prototype
  Feed.prototype.connect = async function (...terms) {
    const admitted = await connect.apply(this, terms)
    web.update({ access: makeToken('another', ['chat']).line })
    return admitted
  }
  t.teardown(() => {
    Feed.prototype.connect = connect
  })
  await listed(web, token)
  const page = new RawPage(web)
  await page.opened()
  page.send({ t: 'connect', access: token, token: 'ada' })
  t.equal(await page.closed, 4001)
  t.match(web.getStats().gateway.channels, { sessions: 0 })
})

t.test('a gateway that was not granted it brings no pages to a service', async (t) => {
  const [registry, consumer, gateway] = [KeyPair(), KeyPair(), KeyPair()]
  const grants = new Grants(registry.publicKey)
  grants.isPrivate = true
  const admission = new Admission({ grants, role: { role: 'chat', version: '1.0.0' } })
  const grant = ({ publicKey }: KeyPair, call: string[]) =>
    grants.add(
      signGrant(registry.publicKey, registry, publicKey, {
        serve: [],
        consume: ['chat'],
        admin: false,
        expiresAt: 0,
        call
      })
    )
  grant(consumer, ['chat#*'])
  grant(gateway, ['chat#$clients'])
  const may = (who: KeyPair) => admission.authorize(who.publicKey.toString('hex'), CHANNEL)
  t.match(may(consumer), { code: 'NOT_GRANTED' })
  t.equal(may(gateway), true)
})

/** Resolves when the service is listed for whoever has a token. */
async function listed(web: { url: string }, token: string) {
  const headers = { authorization: `Bearer ${token}` }
  const list = async () => (await (await fetch(`${web.url}list/`, { headers })).json()) as unknown[]
  await restWhile(async () => (await list()).length < 1)
}
