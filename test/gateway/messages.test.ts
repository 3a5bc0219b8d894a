import { request } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { makePerson, makeToken } from '../../lib/gateway/access.js'
import { PasswordChecks } from '../../lib/gateway/password-checks.js'
import { type CallContext, Service, type ServiceOptions, type WebOptions } from '../../lib/index.js'
import { BODY_MEMORY } from '../../lib/messaging/body-memory.js'
import { EntryEvents } from '../../lib/messaging/entry-events.js'
import { restWhile } from '../rest.js'
import { Harbor, lists } from './harbor.js'

let onhang: (context: CallContext) => void = () => {}

/** A gateway in front of an agent. */
async function agentBehind(t: Test, options: Partial<WebOptions> = {}) {
  const harbor = await Harbor.make(t)
  const contexts: unknown[] = []
  const terms: ServiceOptions = {
    ...harbor.options,
    role: 'agent@1.0.0',
    dir: await harbor.testbed.dir(),
    commands: {
      echo: (data) => data,
      context: (_, { principal, meta }) => {
        contexts.push({ principal, meta })
      },
      fail: () => {
        throw Object.assign(new Error('no such thing'), { code: 'ENOTHING' })
      },
      odd: () => 1n,
      hang: (_, context) => new Promise(() => onhang(context)),
      busy: { concurrency: 1, queue: 0, handler: () => new Promise(() => {}) }
    }
  }
  const service = Service(terms)
  t.teardown(() => service.destroy())
  await service.setup()
  const web = await harbor.web({ drainTimeout: 200, ...options })
  await lists(web, 1)
  const call = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${web.url}call/${path}`, { method: 'POST', ...init })
    return {
      status: response.status,
      executed: response.headers.get('hyperseaport-executed'),
      type: response.headers.get('content-type'),
      text: await response.text()
    }
  }
  return { web, service, call, contexts, harbor }
}

t.test('a command is called by POST, with JSON, bytes or nothing', async (t) => {
  const { call, contexts } = await agentBehind(t)
  t.match(await call('agent@1.x/echo', { body: '{"a":1}' }), { status: 200, text: '{"a":1}\n' })
  const bytes = { body: 'abc', headers: { 'content-type': 'application/octet-stream' } }
  t.match(await call('agent@1.x/echo', bytes), { status: 200, text: 'abc' })
  const named = { body: '[1]', headers: { 'content-type': 'Application/JSON' } }
  const json = { type: /^application\/json/, text: '[1]\n' }
  t.match(
    await call('agent@1.x/echo', named),
    json,
    "the case of a media type is nobody's business"
  )
  const broken = await call('agent@1.x/echo', { body: Buffer.from('"\xff"', 'latin1') })
  t.match(broken, { status: 400, executed: 'no', text: 'UTF-8' }, 'and is not sent as another text')
  t.match(await call('agent@1.x/echo'), { status: 204, text: '', executed: 'yes' })
  const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`
  await call('agent/context', { headers: { traceparent } })
  t.same(contexts, [{ principal: undefined, meta: { traceparent } }])
})

t.test('each outcome has its status, and says whether it was executed', async (t) => {
  const { call } = await agentBehind(t)
  const soon = { headers: { 'hyperseaport-timeout': '100' } }
  void call('agent/busy').catch(() => {})
  t.match(await call('agent/fail'), {
    status: 500,
    executed: 'yes',
    text: /"COMMAND_FAILED".*ENOTHING: no such thing/
  })
  t.match(await call('agent/odd'), { status: 502, executed: 'yes', text: /BAD_OUTPUT/ })
  t.match(await call('agent/hang', soon), { status: 504, executed: 'perhaps', text: /DEADLINE/ })
  t.match(await call('agent/ecko'), { status: 404, executed: 'no', text: /did you mean echo/ })
  t.match(await call('agent/echo', { body: 'no JSON' }), { status: 400, executed: 'no' })
  t.match(await call('agent/busy', soon), { status: 429, executed: 'no', text: /BUSY/ })
  t.match(await call('agent/$clients'), { status: 403, executed: 'no' })
  t.match(await call('agent@2.x/echo'), { status: 404, executed: 'no' })
  t.match(await call('agent/echo', { method: 'GET' }), { status: 405, executed: 'no' })
  t.match(await call('nobody/echo'), { status: 404, executed: 'no' })
})

t.test('a client that hangs up ends the handler, however it goes', async (t) => {
  const { web } = await agentBehind(t)
  for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const aborted = new Promise((resolve) => {
      onhang = ({ signal }) => {
        signal.addEventListener('abort', () => resolve(signal.reason))
        client[leave]()
      }
    })
    const client = connect(web.port, '127.0.0.1')
    client.on('error', () => {})
    client.write('POST /call/agent/hang HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n')
    t.match(await aborted, { code: 'CANCELLED' }, leave)
  }
})

t.test('bodies that are too large are refused with an answer, and so are too many', async (t) => {
  const { call } = await agentBehind(t)
  const large = { 'content-type': 'application/octet-stream' }
  const tooLarge = { body: Buffer.alloc(17 * 1024 * 1024), headers: large }
  t.match(await call('agent/echo', tooLarge), { status: 400, executed: 'no', text: /TOO_LARGE/ })
  const others = ['one', 'two'].map((name) => BODY_MEMORY.open(name))
  t.teardown(() => {
    for (const held of others) held.release()
  })
  for (const held of others) {
    for (let bytes = 2 ** 30; bytes >= 1; bytes /= 2) {
      try {
        held.take(bytes)
      } catch {
        // Half as much may fit.
      }
    }
  }
  const some = { body: Buffer.alloc(100_000), headers: large }
  t.match(await call('agent/echo', some), { status: 429, executed: 'no', text: /BUSY/ })
  for (const held of others) held.release()
  t.match(await call('agent/echo', some), { status: 200 })
  await restWhile(() => BODY_MEMORY.held > 0)
})

t.test('a page of another origin may not have commands executed', async (t) => {
  const { web, call } = await agentBehind(t)
  const statusFor = (origin: string) =>
    new Promise((resolve) => {
      const asking = request(`${web.url}call/agent/echo`, { method: 'POST', headers: { origin } })
      asking.on('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      asking.end()
    })
  t.equal(await statusFor('https://evil.example'), 403)
  t.equal(await statusFor(web.url.replace(/\/$/, '')), 204)
  t.match(await call('agent/echo'), { status: 204 }, 'and who is no page may')
})

for (const isGuest of [false, true]) {
  const who = isGuest ? 'a guest, with an id' : 'who may reach all, with its owner'
  t.test(`a state is read by ${who}, and without signatures`, async (t) => {
    const { service, call } = await agentBehind(t, isGuest ? { open: ['agent'] } : {})
    const read = async (body = '') => JSON.parse((await call('agent/$state', { body })).text)
    t.same(await read(), { entries: [] })
    await service.state.set('mode', 'busy')
    await service.state.set('n', [7])
    const { id, instance, ...shown } = await read('{"offer":{}}')
    t.same(shown, {
      term: 1,
      rev: 2,
      entries: [
        { name: 'mode', rev: 1, value: 'busy' },
        { name: 'n', rev: 2, value: [7] }
      ]
    })
    t.equal(instance, isGuest ? undefined : service.servicePublicKey)
    t.match(id, isGuest ? /^[0-9a-f]{32}$/ : undefined)
    const set = await call('agent/$set', { body: '{"name":"mode","value":1}' })
    t.match(set, { status: 403, executed: 'no' })
    t.equal(service.state.get('mode'), 'busy')
  })
}

for (const isGuest of [false, true]) {
  const who = isGuest ? 'a guest, with an id' : 'who may reach all, with a key'
  t.test(`one instance is called by ${who}`, async (t) => {
    const { web, service, call, harbor } = await agentBehind(t, isGuest ? { open: ['agent'] } : {})
    const other = Service({
      ...harbor.options,
      role: 'agent@1.0.0',
      dir: await harbor.testbed.dir(),
      commands: { echo: () => 'the other' }
    })
    t.teardown(() => other.destroy())
    await other.setup()
    await lists(web, 2)
    await other.state.set('mine', 2)
    const listed = (await (await fetch(`${web.url}list/agent`)).json()) as {
      id?: string
      servicePublicKey?: string
    }[]
    const names = listed.map(({ id, servicePublicKey }) => id ?? servicePublicKey)
    const states = names.map(async (name) => {
      const { text } = await call(`agent@1.x/$state?instance=${name}`)
      return JSON.parse(text).entries.length
    })
    t.same((await Promise.all(states)).sort(), [0, 1])
    const { servicePublicKey: key } = service
    t.match(await call(`couchdb/echo?instance=${key}`), { status: 404 })
    t.match(await call(`agent@2.x/echo?instance=${key}`), { status: 404 })
    t.match(await call('agent/echo?instance=nobody'), { status: 400, executed: 'no' })
    const unknown = await call(`agent/echo?instance=${'ab'.repeat(16)}`)
    t.equal(unknown.status, isGuest ? 401 : 404)
  })
}

/** Listens to TICK, or another type, through a gateway. */
async function listenTo(
  t: Test,
  web: { url: string },
  lastEventId?: string,
  { type = 'TICK', authorization = '' } = {}
) {
  const headers = {
    ...(lastEventId && { 'last-event-id': lastEventId }),
    ...(authorization && { authorization })
  }
  const leave = new AbortController()
  const { signal } = leave
  const response = await fetch(`${web.url}events/agent@1.x?type=${type}`, { headers, signal })
  t.match(response.headers.get('content-type'), 'text/event-stream')
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const read = async () => {
    const piece = await reader?.read()
    if (!piece || piece.done) throw new Error(`the stream ended with status ${response.status}`)
    text += piece.value
  }
  return {
    /** Resolves with the id of the place where it begins. */
    async ready() {
      for (;;) {
        const id = /: listening\nid: (\S+)\n\n/.exec(text)?.[1]
        if (id) return id
        await read()
      }
    },
    /** Resolves when the gateway has ended it. */
    async ended() {
      while (!(await reader?.read())?.done);
    },
    /** What follows `data:` in the next event, and its id. */
    async next() {
      for (;;) {
        const found = /id: (\S+)\nevent: (\S+)\ndata: (.*)\n\n/.exec(text)
        if (found) {
          text = text.slice(found.index + found[0].length)
          return { id: found[1] ?? '', type: found[2], data: JSON.parse(found[3] ?? '') }
        }
        await read()
      }
    },
    leave: () => leave.abort()
  }
}

t.test('a listener goes on only from what is there, by the names that it knows', async (t) => {
  const { web, service } = await agentBehind(t, { open: ['agent'] })
  const key = service.servicePublicKey
  const made = Array.from({ length: 50 }, (_, i) => i.toString(16).padStart(64, '0'))
  const cursors = [key, ...made, '__proto__'].map((name) => [name, 1, 1])
  const lie = Buffer.from(JSON.stringify(cursors)).toString('base64url')
  const listener = await listenTo(t, web, lie)
  await listener.ready()
  service.events.emit('TICK')
  const { id, data } = await listener.next()
  t.same(JSON.parse(Buffer.from(id, 'base64url').toString()), [[data.id, data.epoch, 1]])
  listener.leave()
})

t.test('events are heard as server-sent events, which go on where they were', async (t) => {
  const { web, service } = await agentBehind(t)
  const listen = (lastEventId?: string) => listenTo(t, web, lastEventId)
  const first = await listen()
  await first.ready()
  service.events.emit('TOCK')
  service.events.emit('TICK', { n: 1 })
  const tick = await first.next()
  t.match(tick, {
    type: 'TICK',
    data: { instance: service.servicePublicKey, seq: 2, missed: 0, data: { n: 1 } }
  })
  first.leave()
  await restWhile(() => service.getStats().events.subscribers > 0)
  service.events.emit('TICK', { n: 2 })
  const second = await listen(tick.id)
  t.match(await second.next(), { data: { seq: 3, missed: 0, data: { n: 2 } } })
  second.leave()
})

t.test('a listener that has heard nothing yet goes on where it was, too', async (t) => {
  const { web, service } = await agentBehind(t)
  const first = await listenTo(t, web)
  const place = await first.ready()
  first.leave()
  await restWhile(() => service.getStats().events.subscribers > 0)
  service.events.emit('TICK', 'meanwhile')
  const second = await listenTo(t, web, place)
  t.match(await second.next(), { data: { seq: 1, missed: 0, data: 'meanwhile' } })
  second.leave()
})

t.test('keys that are kept from a listener are not in what is told of a state', async (t) => {
  for (const open of [['agent'], ['*']]) {
    const { web, service } = await agentBehind(t, { open })
    const listener = await listenTo(t, web, undefined, { type: '$state' })
    await listener.ready()
    await service.state.set('mode', { owner: 'busy' })
    const { data } = await listener.next()
    const change = { entry: { name: 'mode', rev: 1, value: { owner: 'busy' } }, head: { rev: 1 } }
    t.match(data, { type: '$state', data: change })
    const keys: string[] = JSON.stringify(data).match(/[0-9a-f]{64}/g) ?? []
    if (open[0] === '*') t.ok(keys.includes(service.servicePublicKey), 'who may reach all sees it')
    else t.match([keys, data.data.head], [[], { id: data.id }])
    await service.state.delete('mode')
    t.match((await listener.next()).data, { data: { entry: { name: 'mode', deleted: true } } })
    listener.leave()
  }
})

t.test('a listener whose token is taken away hears no more', async (t) => {
  const [ada, bob] = [makeToken('ada', ['agent@1.x']), makeToken('bob', ['agent'])]
  const access = `${ada.line}\n${bob.line}\n`
  const { web, service } = await agentBehind(t)
  web.update({ access })
  const listen = ({ token }: { token: string }) =>
    listenTo(t, web, undefined, { authorization: `Bearer ${token}` })
  const listeners = [await listen(ada), await listen(bob)] as const
  for (const listener of listeners) await listener.ready()
  web.update({ access: `# sorted\n${bob.line}\n${ada.line}\n` })
  service.events.emit('TICK')
  for (const listener of listeners) t.match(await listener.next(), { data: { seq: 1 } })
  web.update({ access: `${bob.line}\n` })
  await listeners[0].ended()
  service.events.emit('TICK')
  t.match(await listeners[1].next(), { data: { seq: 2 } }, 'nobody else is ended')
  listeners[1].leave()
})

t.test('who loses a right while its password is checked is refused', async (t) => {
  const { web } = await agentBehind(t)
  web.update({ access: await makePerson('ada', 'secret', ['agent']) })
  const { run } = PasswordChecks.prototype
  PasswordChecks.prototype.run = async function (...terms) {
    const isRight = await run.apply(this, terms)
    web.update({ access: makeToken('bob', ['agent']).line })
    return isRight
  }
  t.teardown(() => {
    PasswordChecks.prototype.run = run
  })
  const authorization = `Basic ${Buffer.from('ada:secret').toString('base64')}`
  const { status } = await fetch(`${web.url}events/agent@1.x?type=TICK`, {
    headers: { authorization }
  })
  t.equal(status, 401)
})

t.test(
  'the id of an event is no longer than a header may be, however many instances there were',
  async (t) => {
    const { web, service } = await agentBehind(t)
    const { cursors } = EntryEvents.prototype
    const gone = Array.from({ length: 1000 }, (_, i) => i.toString(16).padStart(64, '0'))
    EntryEvents.prototype.cursors = function () {
      const places = gone.map((key) => [key, { epoch: Date.now(), seq: 1_000_000 }])
      return { ...Object.fromEntries(places), ...cursors.call(this) }
    }
    t.teardown(() => {
      EntryEvents.prototype.cursors = cursors
    })
    const first = await listenTo(t, web)
    await first.ready()
    service.events.emit('TICK')
    const { id } = await first.next()
    first.leave()
    service.events.emit('TICK', 'meanwhile')
    const second = await listenTo(t, web, id)
    t.match(await second.next(), { data: { seq: 2, missed: 0, data: 'meanwhile' } })
    second.leave()
  }
)

t.test(
  'who asks for events of a type that is no name is refused, and listens to nothing',
  async (t) => {
    const { web, service } = await agentBehind(t)
    for (const types of ['type=%0a', 'type=TICK&type=%0a', 'type=TICK&type=']) {
      const response = await fetch(`${web.url}events/agent@1.x?${types}`)
      t.equal(response.status, 400, types)
      t.match(await response.json(), { error: 'BAD_REQUEST' })
    }
    // This one comes later than what those would have opened.
    const leave = new AbortController()
    const { body } = await fetch(`${web.url}events/agent@1.x`, { signal: leave.signal })
    const reader = body?.pipeThrough(new TextDecoderStream()).getReader()
    while (!(await reader?.read())?.value?.includes(': listening'));
    t.equal(service.getStats().events.subscribers, 1)
    leave.abort()
  }
)

t.test('commands are counted by their names', async (t) => {
  const { call, service } = await agentBehind(t)
  await call('agent/echo')
  const measures = [...service.measures()].filter(({ labels }) => labels?.command === 'echo')
  t.match(
    measures.find(({ name }) => name === 'hyperseaport_service_command_calls'),
    { type: 'counter', value: 1 }
  )
  t.ok([...service.measures()].every(({ name }) => /^[a-z0-9_]+$/.test(name)))
})
