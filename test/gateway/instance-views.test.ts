import { Buffer } from 'node:buffer'
import t, { type Test } from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { InstanceViews, isInstanceId } from '../../lib/gateway/instance-views.js'
import { Directory } from '../../lib/registry/replica/directory.js'
import { record } from '../registry/records.js'
import { Harbor, lists } from './harbor.js'

const TOKEN = 'a'.repeat(43)
/** SHA-256 of that token, which may reach all. */
const ACCESS = 'bearer:ops:66d34fba71f8f450f7e45598853e53bfc23bbd129027cbb131a2f4ffd7878cd0:*\n'
const AS_OPS = { authorization: `Bearer ${TOKEN}` }

t.test('an id is no key, and leads to the instance at every gateway of the registry', async (t) => {
  const directory = new Directory()
  const instance = record({}, KeyPair())
  directory.setLive('one', true)
  directory.apply('one', [[instance.key, instance]])
  const secret = Buffer.alloc(32, 1)
  const guest = { mayReachAll: false } as never
  const [here, there] = [
    new InstanceViews({ directory, secret }),
    new InstanceViews({ directory, secret })
  ]
  const id = here.nameOf(instance.key, guest)
  t.ok(isInstanceId(id) && !isInstanceId(instance.key))
  t.notMatch(instance.key, id)
  t.equal(there.keyOf(id), instance.key, 'though it never made it')
  t.not(new InstanceViews({ directory }).nameOf(instance.key, guest), id, 'without the secret')
  t.equal(there.keyOf('0'.repeat(32)), null)

  directory.drop('one')
  there.forget()
  t.equal(there.keyOf('0'.repeat(32)), null)
  t.equal(there.keyOf(id), null, 'and it is forgotten with its instance')
})

t.test('who may not reach everything learns no key, log, registrar, peer or address', async (t) => {
  const harbor = await Harbor.make(t)
  const site = await harbor.service('site@1.0.0', (_request, response) => response.end('site'))
  const hidden = await harbor.service('site@2.0.0', (_request, response) => response.end('new'))
  await harbor.service('secret@1.0.0', (_request, response) => response.end('secret'))
  const web = await harbor.web({ open: ['site@1.x'], access: ACCESS })
  const keys = [harbor.registry.registryPublicKey, site.servicePublicKey, hidden.servicePublicKey]

  const [listed] = JSON.parse(await text(`${web.url}list/`))
  t.match(listed, { role: 'site', version: '1.0.0', status: 'passing', id: /^[0-9a-f]{32}$/ })
  t.notOk('servicePublicKey' in listed || 'direct' in listed)
  t.equal(await text(`${web.url}instance/${listed.id}/`), 'site', 'the id leads there')

  const guest = await firstEvent(t, web.url, {})
  t.strictSame(guest.instances, [listed])
  for (const name of ['registry', 'logs', 'peers', 'holders']) t.notOk(name in guest, name)
  const answers = [
    JSON.stringify(guest),
    await text(`${web.url}role/site@2.x/`),
    await text(`${web.url}role/site@9.x/`),
    await text(`${web.url}role/secret/`),
    await text(`${web.url}instance/${'0'.repeat(32)}/`),
    await text(web.url)
  ]
  for (const answer of answers) {
    for (const key of keys) t.notMatch(answer, key.slice(0, 8))
    t.notMatch(answer, /127\.0\.0\.1|2\.0\.0/)
  }

  const ops = await firstEvent(t, web.url, AS_OPS)
  t.match(ops, { registry: keys[0], logs: [{ live: true }], peers: Number })
  t.ok(ops.instances.some((i: { servicePublicKey: string }) => i.servicePublicKey === keys[1]))
  t.equal(await text(`${web.url}instance/${keys[1]}/`, AS_OPS), 'site')
  t.equal(await text(`${web.url}instance/${listed.id}/`, AS_OPS), 'site')
})

t.test('the feed tells who may not reach everything of changes by ids', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web({ open: ['site'] })
  const events = eventsOf(t, web.url, {})
  await events.next()
  await harbor.service('site@1.0.0', (_request, response) => response.end('site'))
  await lists(web, 1)
  for await (const { event, data } of events) {
    if (event !== 'change') continue
    t.match(data.instance, { role: 'site', id: /^[0-9a-f]{32}$/ })
    t.notOk('servicePublicKey' in data.instance)
    await text(`${web.url}instance/${data.instance.id}/`)
    break
  }
  for await (const { event, data } of events) {
    if (event !== 'tick' || Object.keys(data.flows).length === 0) continue
    t.match(Object.keys(data.flows), [/^[0-9a-f]{32}$/])
    t.match(Object.keys(data.paths), [/^[0-9a-f]{32}$/])
    break
  }
})

t.test('feeds of guests leave room for other addresses, and for operators', async (t) => {
  const harbor = await Harbor.make(t)
  const web = await harbor.web({ open: ['site'], access: ACCESS })
  const statuses = async (count: number, headers: Record<string, string>) => {
    const asked = Array.from({ length: count }, () => statusOf(t, web.url, headers))
    return await Promise.all(asked)
  }
  const from = (address: string) => ({ 'x-forwarded-for': address })
  const flood = await statuses(256, {})
  t.equal(flood.filter((status) => status === 200).length, 32, 'of one address')
  t.equal(flood.filter((status) => status === 503).length, 224)
  t.strictSame(await statuses(1, from('192.0.2.1')), [200], 'another address has room')
  for (let i = 2; i < 8; i++) await statuses(32, from(`192.0.2.${i}`))
  t.strictSame(await statuses(1, from('192.0.2.99')), [503], 'all guests together have an end')
  t.strictSame(await statuses(2, AS_OPS), [200, 200], 'operators have a share of their own')
  const head = await fetch(`${web.url}-/events`, { method: 'HEAD' })
  t.equal(head.status, 200, 'whoever asks for the head alone takes no room')
})

async function text(url: string, headers: Record<string, string> = {}): Promise<string> {
  return (await fetch(url, { headers })).text()
}

async function statusOf(t: Test, url: string, headers: Record<string, string>) {
  const ending = new AbortController()
  const answer = await fetch(`${url}-/events`, { headers, signal: ending.signal })
  // Kept until the test ends: undici hangs up on an answer that is collected as garbage.
  t.teardown(() => {
    ending.abort()
    return answer
  })
  return answer.status
}

async function firstEvent(t: Test, url: string, headers: Record<string, string>) {
  const { value } = await eventsOf(t, url, headers).next()
  return value?.data
}

async function* eventsOf(t: Test, url: string, headers: Record<string, string>) {
  const ending = new AbortController()
  t.teardown(() => ending.abort())
  const answer = await fetch(`${url}-/events`, { headers, signal: ending.signal })
  let text = ''
  for await (const chunk of (answer.body as ReadableStream).pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)/.exec(text.slice(0, end)) ?? []
      text = text.slice(end + 2)
      if (event && data) yield { event, data: JSON.parse(data) }
    }
  }
}
