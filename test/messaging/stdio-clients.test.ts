import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../lib/client/node.js'
import { Service } from '../../lib/index.js'
import { Harbor, lists } from '../gateway/harbor.js'

/** A program that lets pages in by their name, and does what they say. */
const PROGRAM = `
import { createInterface } from 'node:readline'
const write = (message) => console.log(JSON.stringify({ jsonrpc: '2.0', ...message }))
const told = []
const asked = new Map()
let last = 0
const ask = (method, params) => new Promise((resolve) => {
  asked.set(++last, resolve)
  write({ id: last, method, params })
})
const say = (method, params) => write({ method, params })
say('clients.on', { events: ['connect', 'message', 'disconnect', 'presence'] })
say('clients.allow', { act: 'broadcast', filter: { isAdmin: true } })
const answers = {
  'clients.connect'({ token, origin }) {
    if (typeof token !== 'string') throw new Error('who are you?')
    return { id: token, data: { isAdmin: token === 'ada' } }
  },
  async 'clients.message'({ type, data, encoding, client }) {
    switch (type) {
      case 'who': return client
      case 'echo': return { data, encoding }
      case 'told': return told
      case 'list': return (await ask('clients.list')).result
      case 'join': return say('clients.join', { session: client.session, room: data })
      case 'leave': return say('clients.leave', { session: client.session, room: data })
      case 'die': return process.exit(1)
      case 'do': return await ask('clients.' + data[0], data[1])
      default: throw new Error('what?')
    }
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params, ...answer } = JSON.parse(line)
  if (!method) { asked.get(id)(answer); continue }
  if (id === undefined) { told.push([method, params.id]); continue }
  Promise.resolve().then(() => answers[method](params)).then(
    (result) => write({ id, result: result ?? null }),
    (error) => write({ id, error: { code: 1, message: error.message } })
  )
}
`

async function stage(t: Test) {
  const harbor = await Harbor.make(t)
  const dir = await harbor.testbed.dir()
  const file = join(dir, 'program.mjs')
  await writeFile(file, PROGRAM)
  const service = Service({
    ...harbor.options,
    ...{ role: 'chat@1.0.0', dir, drainTimeout: 500, stdio: [process.execPath, file] }
  })
  const notices: string[] = []
  service.on('notice', ({ message }) => notices.push(message))
  t.teardown(() => service.destroy())
  await service.setup()
  const web = await harbor.web({ drainTimeout: 500 })
  await lists(web, 1)
  const page = (token: unknown) => {
    const client = connect(`${web.url}channel/chat@1.x`, { token, backoffs: [0, 50] })
    t.teardown(() => client.close())
    return client
  }
  return { page, notices }
}

t.test('a program in any language has clients as the Node API has them', async (t) => {
  const { page, notices } = await stage(t)
  const [ada, bob] = [page('ada'), page('bob')]
  t.match(await ada.send('who'), { id: 'ada', data: { isAdmin: true }, rooms: [] })
  t.match(await bob.send('who'), { id: 'bob' })
  t.same(await ada.send('echo', new Uint8Array([1, 2])), { data: 'AQI=', encoding: 'base64' })
  await t.rejects(ada.send('nothing'), { code: 'COMMAND_FAILED' })
  await t.rejects(bob.broadcast('news'), { code: 'NOT_ALLOWED' })
  const news = new Promise((resolve) => bob.on('news', resolve))
  await ada.broadcast('news', 'from a page')
  t.equal(await news, 'from a page')
  const listed = (await ada.send('list')) as { id: string; sessions: number }[]
  // Either may have come first.
  t.match(
    new Map(listed.map(({ id, sessions }) => [id, sessions])),
    new Map(Object.entries({ ada: 1, bob: 1 }))
  )

  const heard: unknown[] = []
  bob.on('message', ({ type, data }) => heard.push([type, data]))
  const act = (method: string, params: object) => ada.send('do', [method, params])
  await bob.send('join', 'red')
  while (!(await bob.send('who')).rooms.includes('red')) t.pass('not yet')
  await act('broadcast', { type: 'all', data: [1] })
  await act('broadcast', { type: 'admins', filter: { isAdmin: true } })
  await act('broadcast', { type: 'red', data: 'AQI=', encoding: 'base64', room: 'red' })
  t.match(await act('direct', { id: 'bob', type: 'only', data: 'you' }), { result: 1 })
  t.match(await act('direct', { id: 'carl', type: 'later', data: 1, ttl: 60_000 }), { result: 0 })
  const bad = await act('direct', { id: 'bob', type: 'no name' })
  t.match(bad, { error: { code: -32000, message: /^USAGE/ } })
  t.match(await act('nothing', {}), { error: { message: /^UNKNOWN_COMMAND/ } })
  t.match(await act('on', { events: ['rain'] }), { error: { message: /^USAGE/ } })
  await bob.send('leave', 'red')
  t.same(heard, [
    ['all', [1]],
    ['red', new Uint8Array([1, 2])],
    ['only', 'you']
  ])
  const later = new Promise((resolve) => page('carl').on('later', resolve))
  t.equal(await later, 1)

  const away = new Promise((resolve) => bob.on('disconnected', resolve))
  await act('disconnect', { id: 'bob', code: 4100 })
  t.same(await away, { code: 4100, isFinal: true })
  const told = await ada.send('told')
  t.ok(told.some(([method, id]: string[]) => method === 'clients.presence' && id === 'bob'))
  t.ok(told.some(([method, id]: string[]) => method === 'clients.disconnect' && id === 'bob'))
  t.same(notices, [])
})

t.test('whoever is refused by the program learns one code', async (t) => {
  const { page } = await stage(t)
  // Until the program has said that it listens, a page is told to come back.
  const code = await new Promise((resolve) => {
    page(7).on('disconnected', ({ code, isFinal }) => isFinal && resolve(code))
  })
  t.equal(code, 4003)
})

t.test('pages wait while the program is started again', async (t) => {
  const { page } = await stage(t)
  const ada = page('ada')
  t.match(await ada.send('who'), { id: 'ada' })
  await t.rejects(ada.send('die'), { code: 'LINK_LOST' }, 'it is not said to the next run')
  t.match(await ada.send('who'), { id: 'ada' })
  const dead = ada.send('die').catch(() => {})
  const bob = page('bob')
  t.match(await bob.send('who'), { id: 'bob' })
  await dead
})
