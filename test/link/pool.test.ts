import { once } from 'node:events'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import type { RelayOffer } from '../../lib/core/relay-offer.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link } from '../../lib/link/link.js'
import { LinkPool, type LinkPoolOptions } from '../../lib/link/pool.js'
import { readAll, secretPair } from './pair.js'

const KEY = KeyPair().publicKey
const OTHER_KEY = KeyPair().publicKey

t.test('callers at the same time share one link, and so do later ones', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept()?.toDuplex().end('hello'))
  const streams = await Promise.all([pool.open(KEY), pool.open(KEY), pool.open(KEY)])
  streams.push(await pool.open(KEY))
  for (const stream of streams) t.equal(String(await readAll(stream.toDuplex())), 'hello')
  t.equal(made.length, 1)
  t.same(pool.stats, { links: 1, direct: 0, made: 1, lost: 0 })
})

t.test('who cannot be met is met by a relay, at the first open and later', async (t) => {
  const offer = { key: OTHER_KEY, host: '192.0.2.1', port: 1 }
  const asked: (RelayOffer | undefined)[] = []
  const pool = new LinkPool({
    connect: (_key, relay) => {
      asked.push(relay)
      const { initiator, responder } = secretPair(t)
      if (!relay) {
        initiator.destroy(Object.assign(new Error('no hole'), { code: 'HOLEPUNCH_ABORTED' }))
        return initiator
      }
      const link = new Link(responder, {
        onincoming: (incoming) => incoming.accept()?.toDuplex().end('hello')
      })
      t.teardown(() => link.destroy())
      return initiator
    },
    relay: () => offer
  })
  t.teardown(() => pool.close())
  t.equal(String(await readAll((await pool.open(KEY)).toDuplex())), 'hello')
  t.same(asked, [undefined, offer])
  pool.cut(toHex(KEY), SeaportError.CLOSED('over'))
  await pool.open(KEY)
  t.same(asked, [undefined, offer, offer], 'it is remembered')
})

t.test('where no relay is offered, who cannot be met is not asked for twice', async (t) => {
  let asked = 0
  const pool = new LinkPool({
    connect: () => {
      asked++
      const { initiator } = secretPair(t)
      initiator.destroy(Object.assign(new Error('no hole'), { code: 'HOLEPUNCH_ABORTED' }))
      return initiator
    }
  })
  t.teardown(() => pool.close())
  await t.rejects(pool.open(KEY), { code: 'LINK_LOST', message: /no hole was found; a registrar/ })
  t.equal(asked, 1)
})

t.test('each key has a link of its own', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept()?.toDuplex().end())
  await Promise.all([pool.open(KEY), pool.open(OTHER_KEY)])
  t.equal(made.length, 2)
})

t.test('a link that was lost is made afresh by the next open', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept()?.toDuplex().end())
  await pool.open(KEY)
  made[0]?.link.destroy()
  await once(made[0]?.near as never, 'close')
  await pool.open(KEY)
  t.equal(made.length, 2)
  t.match(pool.stats, { links: 1, lost: 1 })
})

t.test('an open that finds its link gone is made again, once, on a new one', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => {
    if (made.length === 1 && pool.stats.made === 1 && made[0]?.link.stats.accepted === 1) {
      made[0].link.destroy()
    } else incoming.accept()?.toDuplex().end('hello')
  })
  await pool.open(KEY)
  t.equal(String(await readAll((await pool.open(KEY)).toDuplex())), 'hello')
  t.equal(made.length, 2)
})

t.test('a link that breaks each time is not made for ever', async (t) => {
  const { pool, made } = poolOf(t, () => made.at(-1)?.link.destroy())
  await t.rejects(pool.open(KEY), { code: 'LINK_LOST' })
  t.equal(made.length, 1)
})

t.test(
  'who came while a link was being made that fails gets a fresh one, for all of them',
  async (t) => {
    const far: ReturnType<typeof secretPair>[] = []
    const pool = new LinkPool({
      connect: () => {
        const pair = secretPair(t)
        far.push(pair)
        if (far.length > 1) {
          const link = new Link(pair.responder, {
            onincoming: (incoming) => incoming.accept()?.toDuplex().end('hello')
          })
          t.teardown(() => link.destroy())
        }
        return pair.initiator
      }
    })
    t.teardown(() => pool.close())
    const first = pool.open(KEY)
    const later = [pool.open(KEY), pool.open(KEY)]
    const code = 'PEER_CONNECTION_FAILED'
    far[0]?.initiator.destroy(Object.assign(new Error('no answer'), { code }))
    await t.rejects(first, { code: 'LINK_LOST' })
    for (const stream of await Promise.all(later)) {
      t.equal(String(await readAll(stream.toDuplex())), 'hello')
    }
    t.equal(far.length, 2)
  }
)

t.test('a dead link is replaced once an open over it went unanswered', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept()?.toDuplex().end(), {
    heartbeat: 20
  })
  const stream = (await pool.open(KEY)).toDuplex()
  stream.end()
  await readAll(stream)
  made[0]?.freeze()
  const attempt = pool.open(KEY, { timeout: 100 })
  await t.rejects(attempt, { code: 'OPEN_TIMEOUT' })
  await pool.open(KEY, { timeout: 5000 })
  t.equal(made.length, 2)
})

t.test('who insists gets a new link where the one that is there does not answer', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept(), { heartbeat: 20 })
  await pool.open(KEY)
  made[0]?.freeze()
  await t.rejects(pool.open(KEY, { timeout: 10 }), { code: 'OPEN_TIMEOUT' })
  t.ok(await pool.open(KEY, { timeout: 5000, insist: true }))
  t.equal(made.length, 2)
  t.notOk(made[0]?.link.isClosed, 'which keeps the streams that it has')
})

t.test('a slow backend is asked once, however one insists', async (t) => {
  let asked = 0
  const { pool, made } = poolOf(t, () => asked++, { heartbeat: 20 })
  await t.rejects(pool.open(KEY, { timeout: 200, insist: true }), { code: 'OPEN_TIMEOUT' })
  t.equal(asked, 1)
  t.equal(made.length, 1)
})

t.test('a link that falls silent while streams are open is suspect', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept(), { heartbeat: 20 })
  await pool.open(KEY)
  t.notOk(pool.isSuspect(toHex(KEY)))
  t.notOk(pool.isSuspect(toHex(OTHER_KEY)), 'a link that is not there is not suspect')
  made[0]?.freeze()
  await t.rejects(pool.open(KEY, { timeout: 100 }), { code: 'OPEN_TIMEOUT' })
  t.ok(pool.isSuspect(toHex(KEY)), 'and its streams have some time left')
})

t.test('an idle link is closed after a while, a used one is not', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept(), { idleTimeout: 50 })
  const used = (await pool.open(KEY)).toDuplex()
  const idle = await pool.open(OTHER_KEY)
  idle.destroy()
  await once(made[1]?.near as never, 'close')
  t.notOk(used.destroyed)
  t.equal(pool.stats.links, 1)
})

t.test('an aborted open leaves the link to the others', async (t) => {
  const { pool, made } = poolOf(t, (incoming) => incoming.accept()?.toDuplex().end())
  const abort = new AbortController()
  const [aborted, open] = [pool.open(KEY, { signal: abort.signal }), pool.open(KEY)]
  abort.abort(new Error('changed my mind'))
  await t.rejects(aborted, { message: 'changed my mind' })
  t.ok(await open)
  t.equal(made.length, 1)
})

t.test('a closed pool cuts its links and opens no more', async (t) => {
  const { pool } = poolOf(t, (incoming) => incoming.id === 1 && incoming.accept())
  const stream = (await pool.open(KEY)).toDuplex()
  const pending = pool.open(KEY)
  const [refused] = await Promise.all([
    t.rejects(pending, { code: 'CLOSED' }),
    once(stream, 'error'),
    pool.close()
  ])
  t.ok(refused)
  await t.rejects(pool.open(KEY), { code: 'CLOSED' })
  t.same(pool.stats, { links: 0, direct: 0, made: 1, lost: 0 })
})

/** A pool whose links all lead here. */
function poolOf(
  t: Test,
  onincoming: (incoming: IncomingStream) => unknown,
  options: Omit<LinkPoolOptions, 'connect'> = {}
) {
  const made: { link: Link; near: unknown; freeze: () => void }[] = []
  const pool = new LinkPool({
    connect: () => {
      const { initiator, responder, freeze } = secretPair(t)
      made.push({ link: new Link(responder, { onincoming }), near: initiator, freeze })
      return initiator
    },
    ...options
  })
  t.teardown(() => pool.close())
  return { pool, made }
}
