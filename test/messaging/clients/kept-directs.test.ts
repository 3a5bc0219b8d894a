import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../../lib/client/node.js'
import type { Service } from '../../../lib/index.js'
import { KeptDirects, type KeptDirectsParts } from '../../../lib/messaging/clients/kept-directs.js'
import { pier, RawPage } from '../../gateway/channels/pier.js'
import { lists } from '../../gateway/harbor.js'
import { restWhile } from '../../rest.js'

const HOUR_MS = 60 * 60_000

async function untilHere({ clients }: Service, count = 1) {
  await restWhile(() => clients.list().filter(({ sessions }) => sessions > 0).length !== count)
}

async function untilKept({ clients }: Service, count: number) {
  await restWhile(() => clients.stats.kept !== count)
}

t.test('who was away is told what was kept for it: all, in order, and once', async (t) => {
  const { service, web } = await pier(t)
  const numbers = Array.from({ length: 100 }, (_, i) => i)
  for (const n of numbers) await direct(service, 'ada', n)
  await t.rejects(direct(service, 'ada', 100), { code: 'LIMIT_REACHED' })
  await service.clients.direct('bob', 'bytes', Buffer.from('a:b'), { ttl: HOUR_MS })
  t.equal(service.clients.stats.kept, 101)
  const got: unknown[] = []
  const client = connect(`${web.url}channel/chat@1.x`, { token: 'ada' })
  t.teardown(() => client.close())
  client.on('number', (n) => got.push(n))
  await untilKept(service, 1)
  t.same(got, numbers)
  t.equal(await direct(service, 'ada', 100), 1, 'it is here now')
  await untilKept(service, 1)
  t.same(got, [...numbers, 100])

  const [bob, ada] = [new RawPage(web), new RawPage(web)]
  await ada.connect({ token: 'ada' })
  await bob.connect({ token: 'bob' })
  const { k, i, data } = await bob.next('direct')
  t.equal(String(data), 'a:b')
  const again = new RawPage(web)
  await again.connect({ token: 'bob' })
  t.match(await again.next('direct'), { k, i }, 'until it has said that it has it')
  ada.send({ t: 'got', i, k })
  ada.send({ t: 'message', n: 1, type: 'hi' })
  await ada.next('answer')
  t.equal(service.clients.stats.kept, 1, 'nobody else says that')
  again.send({ t: 'got', i, k })
  await untilKept(service, 0)
})

t.test('a page that comes back hears nothing twice that was sent before it was lost', async (t) => {
  const { service, web } = await pier(t)
  const page = new RawPage(web)
  const { ticket, secret, at } = await page.connect({ token: 'ada' })
  await untilHere(service)
  await direct(service, 'ada', 1)
  const { k } = await page.next('direct')
  page.socket.terminate()
  await page.closed
  const back = new RawPage(web)
  await back.connect({ token: 'ada', resume: { ticket, secret, at } })
  t.match(await back.next('direct'), { k, data: 1 }, 'with the same key, by which it knows it')
})

t.test('what was kept outlives the process of the service', async (t) => {
  const { service, web, instance, harbor } = await pier(t)
  const dir = await harbor.testbed.dir()
  const before = await instance({ dir })
  for (const n of [1, 2, 3]) await direct(before, 'ada', n)
  await before.destroy()
  const after = await instance({ dir })
  await lists(web, 2)
  t.equal(after.clients.stats.kept, 3)
  await direct(after, 'ada', 4)
  const client = connect(`${web.url}channel/chat@1.x`, { token: 'ada' })
  t.teardown(() => client.close())
  const got: unknown[] = []
  client.on('number', (n) => got.push(n))
  await untilKept(after, 0)
  t.same(got, [1, 2, 3, 4])
  t.equal(service.clients.stats.kept, 0)
})

t.test('what expires is gone, and what is no time, or too long, is not taken', async (t) => {
  const { service } = await pier(t)
  for (const ttl of [0, -1, Number.NaN, 31 * 24 * HOUR_MS, '60000' as never]) {
    await t.rejects(direct(service, 'ada', 1, ttl), { code: 'USAGE' })
  }
  await t.rejects(service.clients.direct('', 'number', 1, { ttl: 1000 }), { code: 'USAGE' })
  await direct(service, 'ada', 1, 1)
  await direct(service, 'ada', 2)
  await untilKept(service, 1)
  t.equal(service.clients.stats.keptExpired, 1)
})

t.test('there is an end to how many clients, and how much, is kept', async (t) => {
  const folder = join(t.testdir(), 'kept')
  const { kept } = keptIn(t, { maxClients: 2, maxBytes: 20_000 })
  await kept.open(folder)
  const body = (bytes: number) => ({ kind: 'bytes' as const, bytes: Buffer.alloc(bytes) })
  await kept.add('a', 'x', body(1), 1)
  await kept.add('b', 'x', body(1), HOUR_MS)
  await new Promise((resolve) => setTimeout(resolve, 5))
  await kept.add('c', 'x', body(1), HOUR_MS)
  t.pass('what has expired is in the way of nobody')
  await t.rejects(kept.add('d', 'x', body(1), HOUR_MS), { code: 'LIMIT_REACHED' })
  await t.rejects(kept.add('c', 'x', body(20_000), HOUR_MS), { code: 'LIMIT_REACHED' })
  t.ok((await readdir(folder)).length > 0)
})

t.test('a client is sent no more at once than it says it has', async (t) => {
  const { kept, delivered, isHere } = keptIn(t)
  await kept.open(join(t.testdir(), 'kept'))
  const body = { kind: 'bytes' as const, bytes: Buffer.alloc(100 * 1024) }
  for (let n = 0; n < 10; n++) await kept.add('ada', `n${n}`, body, HOUR_MS)
  isHere.add('ada')
  kept.onarrival('ada')
  for (let n = 0; n < 10; n++) {
    await restWhile(() => delivered.length <= n)
    t.ok(delivered.length <= n + 3, `${delivered.length} are sent when it has ${n}`)
    kept.ongot('ada', delivered[n]?.key ?? '')
  }
  t.same(
    delivered.map(({ type }) => type),
    Array.from({ length: 10 }, (_, n) => `n${n}`)
  )
})

t.test('a folder that cannot be used is told to whoever sends', async (t) => {
  const { kept } = keptIn(t)
  await kept.open('/proc/no/folder')
  const body = { kind: 'none' as const, bytes: Buffer.alloc(0) }
  await t.rejects(kept.add('ada', 'x', body, HOUR_MS), { code: 'STORAGE_FAILED' })
  t.equal(kept.stats.kept, 0)
})

function direct(service: Service, id: string, n: number, ttl = HOUR_MS): Promise<number> {
  return service.clients.direct(id, 'number', n, { ttl })
}

/** Kept messages whose clients are those in `isHere`. */
function keptIn(t: Test, limits: Partial<KeptDirectsParts> = {}) {
  const delivered: { key: string; type: string }[] = []
  const isHere = new Set<string>()
  const kept = new KeptDirects({
    ...limits,
    deliver: (_, message) => delivered.push(message),
    isHere: (id) => isHere.has(id),
    onnotice: (notice) => t.fail(notice.message)
  })
  t.teardown(() => kept.close())
  return { kept, delivered, isHere }
}
