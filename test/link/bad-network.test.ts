import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import type { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Dialer } from '../../lib/dialing/dialer.js'
import { Link, type LinkOptions } from '../../lib/link/link.js'
import { LinkPool } from '../../lib/link/pool.js'
import { INITIAL_WINDOW } from '../../lib/link/window.js'
import type { Conditions } from '../udp-relay.js'
import { inTime } from '../watchdog.js'
import { FarPair } from './far-pair.js'
import { readAll } from './pair.js'

const KIB = 1024
/** 2 Mbit/s, 40 ms there and back, and a router that holds another 100 ms. */
const SLOW_LINE = { rate: 250_000, delay: 20, queue: 25_000 }
/** What is under way on it: all of the way and of the router's queue, twice, as UDX feels its way. */
const UNDER_WAY_BYTES = 80 * KIB
/** What may wait in the process that sends. */
const WAITING_BYTES = 48 * KIB
/** Where a second is a fifth of one. */
const SHORT_TIMES = { heartbeat: 200, deadAfter: 3000 }

for (const direction of ['up', 'down'] as const) {
  t.test(`beside bulk ${direction} a slow line, a small request is answered soon`, async (t) => {
    const { near, far, relay, open } = await farLinks(t, SLOW_LINE)
    const [nearEnd, farEnd] = await open()
    const [from, to] = direction === 'up' ? [nearEnd, farEnd] : [farEnd, nearEnd]
    const [sender, receiver] = direction === 'up' ? [near, far] : [far, near]
    let most = 0
    to.on('data', () => {
      most = Math.max(most, sender.stats.bytesSent - receiver.stats.bytesReceived)
    })
    flood(from)
    while (receiver.stats.bytesReceived < 300 * KIB) await once(to, 'data')
    const times = []
    for (let i = 0; i < 5; i++) {
      const beganAt = performance.now()
      const [stream, other] = await open()
      other.pipe(other)
      stream.end('ahoy')
      await readAll(stream)
      times.push(performance.now() - beganAt)
    }
    const median = times.sort((a, b) => a - b)[2] as number
    t.ok(inTime(median, 1200), `two round trips in ${Math.round(median)} ms`)
    t.ok(most < UNDER_WAY_BYTES + WAITING_BYTES, `${Math.round(most / KIB)} KiB at most`)
    t.ok(relay.there.stats.packets > 0 && relay.back.stats.packets > 0, 'all through the relay')
  })
}

t.test('a reader that stalls on a slow line costs no more than its window', async (t) => {
  const { near, far, open } = await farLinks(t, SLOW_LINE)
  const [from, to] = await open()
  flood(from)
  const [stream, other] = await open()
  other.pipe(other)
  const sent = randomBytes(400 * KIB)
  stream.end(sent)
  t.ok((await readAll(stream)).equals(sent), 'another stream goes on')
  t.ok(near.stats.bytesSent - sent.byteLength <= INITIAL_WINDOW)
  t.ok(from.writableLength < 256 * KIB, 'and no more is taken from whoever writes')
  to.resume()
  while (far.stats.bytesReceived < 2 * INITIAL_WINDOW + sent.byteLength) await once(to, 'data')
  t.pass('until the reader reads on')
})

t.test('where packets are lost, bytes arrive as they were sent and opens succeed', async (t) => {
  const { near, relay, open } = await farLinks(t, { delay: 10, jitter: 10, loss: 0.03 })
  const sent = randomBytes(2000 * KIB)
  const echo = async (bytes: Buffer) => {
    const [stream, other] = await open()
    other.pipe(other)
    stream.end(bytes)
    return hash(await readAll(stream)) === hash(bytes)
  }
  const outcomes = await Promise.all([
    echo(sent),
    ...Array.from({ length: 20 }, (_, i) => echo(sent.subarray(0, i * 500)))
  ])
  t.ok(outcomes.every((outcome) => outcome))
  t.match(near.stats, { opened: 21, failed: 0 })
  t.ok(relay.there.stats.lost > 0 && relay.back.stats.lost > 0)
})

t.test('a short outage cuts nothing', async (t) => {
  const { near, relay, open } = await farLinks(t, { delay: 5 }, { heartbeat: 100, deadAfter: 5000 })
  const [stream, other] = await open()
  other.pipe(other)
  stream.write('before')
  await once(stream, 'data')
  relay.cut()
  stream.write('within')
  while (!near.isSuspect) await beat()
  relay.mend()
  const [echoed] = await once(stream, 'data')
  t.equal(String(echoed), 'within')
  t.notOk(near.isSuspect)
  t.ok(await open())
})

for (const mover of ['caller', 'service'] as const) {
  t.test(
    `after the ${mover}'s address changed, what is new goes over a new link at once`,
    async (t) => {
      const { relay, pool, dial } = await farDialer(t, { delay: 5 }, mover, SHORT_TIMES)
      const held = await dial()
      const heldLost = new Promise<SeaportError>((resolve) => held.once('error', resolve))
      await relay.rebind()
      const beganAt = performance.now()
      const outcomes = await Promise.all(
        [dial(), dial()].map(async (dialed) => echoes(await dialed))
      )
      const took = performance.now() - beganAt
      t.same(outcomes, [true, true])
      t.ok(inTime(took, SHORT_TIMES.deadAfter), `in ${Math.round(took)} ms`)
      t.notOk(held.destroyed, 'and what is open is given time')
      t.equal(pool.stats.made, 2)
      t.ok(await echoes(await dial()), 'which costs the next nothing')
      t.equal((await heldLost).code, 'LINK_LOST')
      t.equal(pool.stats.links, 1)
    }
  )
}

t.test('a link that does not answer for a while, and then does, goes on', async (t) => {
  const { relay, pool, dial } = await farDialer(t, { delay: 5 }, 'caller', {
    ...SHORT_TIMES,
    deadAfter: 20_000
  })
  const held = await dial()
  relay.cut()
  const late = [dial(), dial()]
  while (!pool.links()[0]?.suspect) await beat()
  relay.mend()
  for (const dialed of late) t.ok(await echoes(await dialed))
  t.ok(await echoes(held), 'and so does what was open')
  held.destroy()
  await dial()
  t.equal(pool.stats.links, 1, 'and of two, one is enough')
})

t.test(
  'a long outage cuts streams with a code, and the link comes back when it is needed',
  async (t) => {
    const { relay, pool, dial } = await farDialer(t, { delay: 5 }, 'caller', SHORT_TIMES)
    const held = await dial()
    relay.cut()
    const [reason] = (await once(held, 'error')) as [SeaportError]
    t.equal(reason.code, 'LINK_LOST')
    t.equal(pool.stats.links, 0, 'nobody asks for it')
    const { packets } = relay.there.stats
    const dials = Array.from({ length: 20 }, () => dial())
    while (relay.there.stats.cut === 0) await beat()
    t.equal(pool.stats.links, 1, 'all who ask share one attempt')
    relay.mend()
    const outcomes = await Promise.all(dials.map(async (dialed) => echoes(await dialed)))
    t.ok(outcomes.every((outcome) => outcome))
    t.ok(relay.there.stats.packets - packets < 200, 'with no storm of packets')
  }
)

/** Dials one service over links through a bad network. It is the mover whose address `rebind` changes. */
async function farDialer(
  t: Test,
  conditions: Conditions,
  mover: 'caller' | 'service',
  times: { heartbeat: number; deadAfter: number }
) {
  const pair = await FarPair.make(t, conditions)
  const pool = new LinkPool({
    ...times,
    connect: () => {
      const { initiator, responder } = pair.connect()
      const [here, there] = mover === 'caller' ? [initiator, responder] : [responder, initiator]
      new Link(there, { ...times, onincoming: (incoming) => echo(incoming.accept()?.toDuplex()) })
      return here
    }
  })
  t.teardown(() => pool.close())
  const candidate = { servicePublicKey: toHex(KeyPair().publicKey), role: 'api', version: '1.0.0' }
  const dialer = new Dialer({
    role: 'api@1.x',
    resolve: () => [candidate],
    pool,
    openTimeout: 2 * times.heartbeat
  })
  const dial = async () => {
    const stream = (await dialer.dial()).toDuplex()
    stream.on('error', () => {})
    return stream
  }
  return { relay: pair.relay, pool, dial }
}

function echo(stream: Duplex | undefined) {
  stream?.on('error', () => {}).pipe(stream)
}

async function echoes(stream: Duplex): Promise<boolean> {
  stream.write('ahoy')
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  return String(chunk) === 'ahoy'
}

/** A link through a bad network. What the near side opens, `open` has the far end of. */
async function farLinks(t: Test, conditions: Conditions, options: LinkOptions = {}) {
  const pair = await FarPair.make(t, conditions)
  const { initiator, responder } = pair.connect()
  const accepted: Duplex[] = []
  const near = new Link(initiator, options)
  const far = new Link(responder, {
    ...options,
    onincoming: (incoming) => accepted.push(incoming.accept()?.toDuplex() as Duplex)
  })
  await near.connected()
  const open = async (): Promise<[Duplex, Duplex]> => {
    const stream = (await near.open()).toDuplex()
    const other = accepted.shift() as Duplex
    for (const end of [stream, other]) end.on('error', () => {})
    return [stream, other]
  }
  return { near, far, relay: pair.relay, open }
}

/** Writes for as long as it may. */
function flood(stream: Duplex) {
  const chunk = Buffer.alloc(16 * KIB)
  const fill = () => {
    while (!stream.destroyed && stream.write(chunk));
  }
  stream.on('drain', fill)
  fill()
}

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function beat(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20))
}
