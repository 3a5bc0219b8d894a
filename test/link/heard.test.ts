import { once } from 'node:events'
import t from 'tap'
import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Dialer } from '../../lib/dialing/dialer.js'
import { Link } from '../../lib/link/link.js'
import { LinkPool } from '../../lib/link/pool.js'
import { FarPair } from './far-pair.js'
import { closed, readAll } from './pair.js'

const FOR_EVER_MS = 60_000
const SOON_MS = 100

t.test(
  'a link over the DHT is connected when the other side was heard, and not before',
  async (t) => {
    const pair = await FarPair.make(t, { delay: 5 })
    pair.relay.cut()
    const { initiator, responder } = pair.connectByOthers()
    const link = new Link(initiator, { hearTimeout: FOR_EVER_MS })
    if (!initiator.connected) await once(initiator, 'connect')
    t.notOk(link.isConnected, 'though there is a connection, by what the DHT says')
    t.equal(link.rtt, null)
    const opened = link.open()
    pair.relay.mend()
    new Link(responder, { onincoming: (incoming) => incoming.accept()?.toDuplex().end('ahoy') })
    await link.connected()
    t.ok(link.isConnected)
    const stream = (await opened).toDuplex()
    stream.end()
    t.equal(String(await readAll(stream)), 'ahoy')
    t.ok((link.rtt ?? 0) > 0, 'and its round trip was measured by now')
  }
)

t.test('a link on which nothing is heard is given up, and says why', async (t) => {
  const pair = await FarPair.make(t)
  pair.relay.cut()
  const { initiator, responder } = pair.connectByOthers()
  const link = new Link(initiator, { hearTimeout: SOON_MS })
  new Link(responder)
  const opened = link.open()
  const failed = t.rejects(opened, { code: 'LINK_LOST', message: /no packet of it comes here/ })
  t.match(await closed(link), { code: 'LINK_LOST', message: /firewall or NAT/ })
  await failed
})

t.test('a path on which nothing was heard is not shown, and not reached', async (t) => {
  const pair = await FarPair.make(t)
  pair.relay.cut()
  const { pool, key } = poolOf(pair, SOON_MS)
  t.teardown(() => pool.close())
  const reached = pool.reach(key)
  t.same(pool.links(), [])
  t.equal(pool.pathOf(toHex(key)), null)
  await t.rejects(reached, { code: 'LINK_LOST', message: /no packet of it comes here/ })
})

t.test('whoever reaches a key is told its path and a round trip that was measured', async (t) => {
  const { pool, key } = poolOf(await FarPair.make(t, { delay: 5 }), FOR_EVER_MS)
  t.teardown(() => pool.close())
  const { path, rtt } = await pool.reach(key)
  t.equal(path, 'dht')
  t.ok(Number(rtt) >= 10, `${rtt} ms there and back`)
})

t.test('a dial gives up an instance that cannot be reached, and takes the next', async (t) => {
  const [blocked, open] = [await FarPair.make(t), await FarPair.make(t)]
  blocked.relay.cut()
  const pools = [poolOf(blocked, SOON_MS), poolOf(open, FOR_EVER_MS)]
  for (const { pool } of pools) t.teardown(() => pool.close())
  const candidates = pools.map(({ key }, i) => ({
    role: 'api',
    version: `${2 - i}.0.0`,
    servicePublicKey: toHex(key)
  }))
  const poolTo = (key: Buffer) => pools.find((one) => one.key.equals(key))?.pool as LinkPool
  const dialer = (candidates_: typeof candidates) =>
    new Dialer({
      role: 'api@*',
      resolve: () => candidates_,
      hedgeAfter: FOR_EVER_MS,
      pool: {
        open: (key, options) => poolTo(key).open(key, options),
        isSuspect: (key) => poolTo(Buffer.from(key, 'hex')).isSuspect(key),
        pathOf: (key) => poolTo(Buffer.from(key, 'hex')).pathOf(key)
      }
    })
  await t.rejects(dialer(candidates.slice(0, 1)).dial(), {
    code: 'NO_INSTANCE',
    message: /LINK_LOST.*no packet of it comes here/,
    cause: SeaportError
  })
  const both = dialer(candidates)
  t.ok(await both.dial())
  t.match(both.stats, { dialed: 1, failedAttempts: 1 })
})

/** A pool whose connections go through a relay, to somebody who takes every stream. */
function poolOf(pair: FarPair, hearTimeout: number) {
  const key = KeyPair().publicKey
  const pool = new LinkPool({
    hearTimeout,
    connect: () => {
      const { initiator, responder } = pair.connectByOthers()
      new Link(responder, { onincoming: (incoming) => incoming.accept() })
      return initiator
    }
  })
  return { pool, key }
}
