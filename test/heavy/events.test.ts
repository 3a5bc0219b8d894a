import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { SecretStream } from '../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Acceptor } from '../../lib/link/acceptor.js'
import { DirectConnector } from '../../lib/link/direct/connector.js'
import { DirectListener } from '../../lib/link/direct/listener.js'
import { LinkPool } from '../../lib/link/pool.js'
import { EVENTS } from '../../lib/messaging/conversation.js'
import { EntryEvents } from '../../lib/messaging/entry-events.js'
import type { EventRingOptions } from '../../lib/messaging/event-ring.js'
import { Events } from '../../lib/messaging/events.js'
import { SPOKEN } from '../../lib/messaging/speaker.js'
import { FarPair } from '../link/far-pair.js'
import { Testbed } from '../testbed.js'
import { inTime } from '../watchdog.js'

const EVERY_MS = 5
const CUT_MS = 5000
/** Between two events that are waited for. */
const POLL_MS = 10
const IDLE_MS = 50
/** After which a dead peer has been noticed: 11 s, and what timers and polling add. */
const NOTICED_MS = 11_000 + 250

t.setTimeout(200_000)

/** An instance beyond a network that the test cuts, and by TCP beside it once its address is told; and who hears it. */
async function apart(t: Test, ring: EventRingOptions = {}) {
  const far = await FarPair.make(t, { delay: 5 })
  const network = await (await Testbed.make(t)).network()
  const keyPair = KeyPair()
  const key = toHex(keyPair.publicKey)
  const events = new Events({ denialOf: () => null, onnotice: () => {}, ...ring })
  const acceptor = new Acceptor({ dht: network.dht, keyPair })
  acceptor.handle(EVENTS, (stream, peer) => events.subscribe(stream, peer))
  const connections: SecretStream[] = []
  const take = (connection: SecretStream, path: 'dht' | 'direct') => {
    connections.push(connection)
    acceptor.take(connection, path)
  }
  const listener = new DirectListener({
    keyPair,
    hosts: () => ['127.0.0.1'],
    onconnection: (connection) => take(connection, 'direct')
  })
  t.teardown(() => listener.close())
  await listener.ready()
  const addresses: string[] = []
  const caller = KeyPair()
  const pool = new LinkPool({
    connect: () => {
      const { initiator, responder } = far.connect()
      t.teardown(() => {
        initiator.destroy()
        responder.destroy()
      })
      responder.once('connect', () => take(responder, 'dht'))
      return initiator
    },
    connector: new DirectConnector({
      keyPair: () => caller,
      addressesOf: () => addresses,
      backoffs: [0]
    }),
    retryInterval: 0,
    idleTimeout: IDLE_MS
  })
  t.teardown(() => pool.close())
  const entry = new EntryEvents({
    pool,
    instances: () => [{ servicePublicKey: key, version: '1.0.0', speaks: SPOKEN }],
    watch: () => () => {},
    backoffs: [100],
    onnotice: (notice) => t.comment(notice.message)
  })
  t.teardown(() => entry.close())
  const heard: { n: number; missed: number }[] = []
  entry.on('TICK', (n: number, { missed }) => heard.push({ n, missed }))
  await entry.ready()
  return { relay: far.relay, events, pool, key, addresses, listener, connections, heard }
}

type Apart = Awaited<ReturnType<typeof apart>>

/** Emits at a fixed rate; the function that it returns ends that, and says how many there were. */
function ticking(t: Test, { events }: Apart): () => number {
  let n = 0
  const timer = setInterval(() => events.emit('TICK', ++n), EVERY_MS)
  t.teardown(() => clearInterval(timer))
  return () => {
    clearInterval(timer)
    return n
  }
}

/** Waits for the last event, and sees that each came once, in order. */
async function heardAll(t: Test, heard: Apart['heard'], count: number) {
  await until(() => heard.at(-1)?.n === count)
  t.same(
    heard.map(({ n }) => n),
    upTo(count)
  )
  t.ok(heard.every(({ missed }) => missed === 0))
}

async function until(condition: () => boolean) {
  while (!condition()) await setTimeout(POLL_MS)
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

t.test('a link that is cut for 5 s costs no event, and none comes twice', async (t) => {
  const setting = await apart(t)
  const { relay, heard, pool } = setting
  const stop = ticking(t, setting)
  await until(() => heard.length > 50)
  relay.cut()
  await setTimeout(CUT_MS)
  const before = heard.length
  relay.mend()
  await until(() => heard.length > before)
  await setTimeout(500)
  const count = stop()
  await heardAll(t, heard, count)
  t.comment(`${count} events, ${count - before} of them after the cut; ${pool.stats.made} links`)
})

t.test('of a ring that is too small, missed is what was lost', async (t) => {
  const setting = await apart(t, { maxEvents: 50 })
  const { relay, heard, connections } = setting
  const stop = ticking(t, setting)
  await until(() => heard.length > 50)
  relay.cut()
  // What was sent on a link that is gone is of no use any more, so that the ring alone has what comes.
  connections[0]?.destroy()
  await setTimeout(CUT_MS)
  relay.mend()
  const before = heard.length
  await until(() => heard.length > before + 60)
  const count = stop()
  await until(() => heard.at(-1)?.n === count)
  const numbers = heard.map(({ n }) => n)
  t.same(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
    'in order, and none twice'
  )
  const missed = heard.reduce((sum, one) => sum + one.missed, 0)
  t.equal(heard.length + missed, count, `${missed} of ${count} were missed, and told`)
  t.ok(missed > 0)
  const gaps = heard.map(({ n }, i) => n - (heard[i - 1]?.n ?? 0) - 1)
  t.same(
    heard.map(({ missed }) => missed),
    gaps,
    'each where it was'
  )
})

t.test(
  'from the DHT to a direct path and back no event is lost, and none comes twice',
  async (t) => {
    const setting = await apart(t)
    const { heard, pool, key, addresses, listener, connections } = setting
    const stop = ticking(t, setting)
    const isOn = (path: string) => pool.pathOf(key)?.kind === path
    await until(() => heard.length > 20 && isOn('dht'))
    for (let round = 0; round < 3; round++) {
      addresses.push(...listener.addresses)
      await until(() => isOn('direct') && pool.links().length === 1)
      const moved = heard.length
      await until(() => heard.length > moved + 20)
      addresses.length = 0
      connections.at(-1)?.destroy()
      await until(() => isOn('dht'))
      const back = heard.length
      await until(() => heard.length > back + 20)
    }
    const count = stop()
    await heardAll(t, heard, count)
  }
)

t.test('an idle subscription keeps its link, and a dead peer is noticed in 11 s', async (t) => {
  const { relay, events, pool, heard } = await apart(t)
  await setTimeout(60 * IDLE_MS)
  t.match({ ...pool.stats }, { made: 1, lost: 0, links: 1 })
  events.emit('TICK', 1)
  await until(() => heard.length === 1)
  relay.cut()
  const since = performance.now()
  const [here, there] = await Promise.all(
    [() => pool.stats.lost > 0, () => events.stats.subscribers === 0].map(async (condition) => {
      await until(condition)
      return performance.now() - since
    })
  )
  t.ok(inTime(here as number, NOTICED_MS), `here after ${Math.round(here as number)} ms`)
  t.ok(inTime(there as number, NOTICED_MS), `there after ${Math.round(there as number)} ms`)
})
