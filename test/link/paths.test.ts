import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import type { DirectConnection } from '../../lib/link/direct/connector.js'
import { Link } from '../../lib/link/link.js'
import { LinkPool, type LinkPoolOptions } from '../../lib/link/pool.js'
import { type Pair, readAll, secretPair } from './pair.js'

const KEY = KeyPair().publicKey
const FOR_EVER_MS = 60_000

t.test('where there is a direct path, the DHT is not asked', async (t) => {
  const { pool, dht, direct } = pathsOf(t)
  t.equal(await pathOfNext(pool), 'direct')
  t.equal(await pathOfNext(pool), 'direct')
  t.equal(direct.length, 1)
  t.equal(dht.length, 0)
  t.match(pool.stats, { links: 1, direct: 1, made: 1 })
  t.match(pool.links(), [{ key: KEY.toString('hex'), path: 'direct', rtt: 1.5, suspect: false }])
  t.same(pool.pathOf(toHex(KEY)), { kind: 'direct', rtt: 1.5 })
})

t.test('where there is none, the DHT is asked at once', async (t) => {
  const { pool, network } = pathsOf(t, { headStart: FOR_EVER_MS })
  network.direct = 'closed'
  t.equal(await pathOfNext(pool), 'dht')
  network.direct = 'unknown'
  t.equal(await pathOfNext(pool), 'dht')
  t.match(pool.stats, { links: 1, direct: 0, made: 1, lost: 0 })
})

t.test('a direct path that does not answer costs its head start and no more', async (t) => {
  const { pool, network, direct } = pathsOf(t, { headStart: 10 })
  network.direct = 'silent'
  t.equal(await pathOfNext(pool), 'dht')
  t.equal(direct.length, 0)
  network.answer()
  await until(() => pool.stats.direct === 1)
  t.equal(await pathOfNext(pool), 'direct', 'and is taken when it comes late')
})

t.test('the loser of the race is closed', async (t) => {
  const { pool, network, dht } = pathsOf(t, { headStart: 1 })
  network.direct = 'silent'
  network.isDhtSilent = true
  const open = pathOfNext(pool)
  await until(() => dht.length === 1)
  const lost = once(dht[0]?.initiator as never, 'close')
  network.answer()
  t.equal(await open, 'direct')
  await lost
  t.match(pool.stats, { links: 1, direct: 1, made: 2, lost: 0 })
})

t.test('all who ask while a link is being made share it', async (t) => {
  const { pool, direct, dht } = pathsOf(t)
  await Promise.all([pathOfNext(pool), pathOfNext(pool), pathOfNext(pool)])
  t.equal(direct.length + dht.length, 1)
})

t.test('a direct path that breaks is replaced by the DHT, and comes back', async (t) => {
  const { pool, network, direct, dht } = pathsOf(t, { retryInterval: 0 })
  t.equal(await pathOfNext(pool), 'direct')
  network.direct = 'closed'
  direct[0]?.responder.destroy()
  await until(() => pool.stats.direct === 0)
  t.equal(await pathOfNext(pool), 'dht')
  network.direct = 'open'
  t.equal(await pathOfNext(pool), 'dht', 'nobody waits for it while there is a link')
  await until(() => pool.stats.direct === 1)
  t.equal(await pathOfNext(pool), 'direct')
  t.equal(direct.length, 2)
  t.equal(dht.length, 1)
})

t.test('an open that finds its direct link gone takes the DHT', async (t) => {
  const { pool, network, direct } = pathsOf(t)
  t.equal(await pathOfNext(pool), 'direct')
  network.direct = 'closed'
  network.onincoming = () => direct[0]?.responder.destroy()
  const open = pathOfNext(pool)
  await until(() => pool.stats.direct === 0)
  t.equal(await open, 'dht')
})

t.test('a direct path that falls silent is replaced while it may still come back', async (t) => {
  const { pool, direct } = pathsOf(t, { heartbeat: 20, deadAfter: FOR_EVER_MS })
  const stream = (await pool.open(KEY)).toDuplex()
  direct[0]?.freeze()
  await until(() => pool.isSuspect(toHex(KEY)))
  t.equal(await pathOfNext(pool), 'dht')
  t.notOk(pool.isSuspect(toHex(KEY)), 'since there is another')
  t.notOk(stream.destroyed, 'and its streams have their time')
})

t.test('a link over the DHT stays until its streams have ended', async (t) => {
  const { pool, network, dht } = pathsOf(t, { retryInterval: 0 })
  network.direct = 'closed'
  const stream = (await pool.open(KEY)).toDuplex()
  network.direct = 'open'
  t.equal(await pathOfNext(pool), 'dht')
  await until(() => pool.stats.direct === 1)
  t.equal(await pathOfNext(pool), 'direct')
  t.match(
    pool.links().map(({ path }) => path),
    ['direct', 'dht']
  )
  const closed = once(dht[0]?.initiator as never, 'close')
  const ended = once(stream, 'close')
  stream.end()
  t.equal(String(await readAll(stream)), 'dht')
  await ended
  t.equal(await pathOfNext(pool), 'direct')
  await closed
  t.match(pool.stats, { links: 1, direct: 1, lost: 0 })
})

t.test('where neither path leads anywhere, the reason is the DHT’s', async (t) => {
  const { pool, network, dht } = pathsOf(t, { headStart: 1 })
  network.direct = 'silent'
  network.isDhtSilent = true
  const open = pool.open(KEY)
  await until(() => dht.length === 1)
  dht[0]?.initiator.destroy(Object.assign(new Error(), { code: 'PEER_NOT_FOUND' }))
  network.fail()
  await t.rejects(open, { code: 'LINK_LOST', message: /nobody is announced there/ })
  t.match(pool.stats, { links: 0, lost: 1 })
})

t.test('who gives up while a link is being made leaves it to the others', async (t) => {
  const { pool, network } = pathsOf(t, { headStart: FOR_EVER_MS })
  network.direct = 'silent'
  const hangUp = new AbortController()
  const [impatient, patient] = [pool.open(KEY, { signal: hangUp.signal }), pathOfNext(pool)]
  hangUp.abort(new Error('changed my mind'))
  await t.rejects(impatient, { message: 'changed my mind' })
  network.answer()
  t.equal(await patient, 'direct')
})

t.test('a pool that is closed gives up its attempts', async (t) => {
  const { pool, network } = pathsOf(t, { headStart: FOR_EVER_MS })
  network.direct = 'silent'
  const open = pool.open(KEY)
  await Promise.all([t.rejects(open, { code: 'CLOSED' }), pool.close()])
  t.match(pool.stats, { links: 0, direct: 0, made: 0 })
})

/** A pool for which two paths lead to one key. Each stream says which one it came on. */
function pathsOf(t: Test, options: Partial<LinkPoolOptions> = {}) {
  const dht: Pair[] = []
  const direct: Pair[] = []
  const network = {
    direct: 'open' as 'open' | 'closed' | 'silent' | 'unknown',
    isDhtSilent: false,
    onincoming: null as (() => void) | null,
    /** Ends the silence of a direct path. */
    answer: () => {},
    fail: () => {}
  }
  const pair = (path: 'dht' | 'direct') => {
    const pair = secretPair(t)
    new Link(pair.responder, {
      onincoming: (incoming) => {
        if (network.onincoming) network.onincoming()
        else incoming.accept()?.toDuplex().end(path)
        network.onincoming = null
      }
    })
    return pair
  }
  const connectDirectly = async (): Promise<DirectConnection> => {
    if (network.direct === 'closed') throw SeaportError.LINK_LOST('no direct path')
    const made = pair('direct')
    direct.push(made)
    await made.initiator.opened
    return { connection: made.initiator, rtt: 1.5 }
  }
  const pool = new LinkPool({
    connect: () => {
      const made = pair('dht')
      if (network.isDhtSilent) made.freeze()
      dht.push(made)
      return made.initiator
    },
    connector: {
      isDue: () => network.direct !== 'unknown',
      connect: (_key, signal) => {
        if (network.direct !== 'silent') return connectDirectly()
        return new Promise((resolve, reject) => {
          network.answer = () => {
            network.direct = 'open'
            resolve(connectDirectly())
          }
          network.fail = () => reject(SeaportError.LINK_LOST('no direct path'))
          signal.addEventListener('abort', () => reject(signal.reason))
        })
      }
    },
    ...options
  })
  t.teardown(() => pool.close())
  return { pool, network, dht, direct }
}

async function pathOfNext(pool: LinkPool): Promise<string> {
  const stream = (await pool.open(KEY)).toDuplex()
  stream.end()
  return String(await readAll(stream))
}

async function until(condition: () => boolean) {
  while (!condition()) await turn()
}
