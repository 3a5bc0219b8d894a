import { once } from 'node:events'
import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import type { HyperDHT, LooseRawStream } from '../../../lib/core/holepunch.js'
import type { Network } from '../../../lib/core/network.js'
import type { RelayOffer } from '../../../lib/core/relay-offer.js'
import { Relay } from '../../../lib/link/relay/relay.js'
import { Testbed } from '../../testbed.js'

// biome-ignore lint/suspicious/noExplicitAny: the package has no types
const { Client }: any = createRequire(import.meta.url)('blind-relay')

t.test('it passes on between two who name the same token, and counts', async (t) => {
  const { relay, offer, near, far } = await make(t, { rate: 1e9 })
  const token = Buffer.alloc(32, 7)
  const [one, other] = await Promise.all([
    join(t, near.dht, offer, token, true),
    join(t, far.dht, offer, token, false)
  ])
  const received = once(other, 'data')
  // It learns where each is from what comes.
  other.write(Buffer.alloc(1))
  one.write(Buffer.alloc(1000, 1))
  const [data] = await received
  t.equal(data.length, 1000)
  t.match(relay.stats, { pairs: 1, paired: 1, refused: 0, ended: 0 })
  while (relay.stats.bytes < 1000) await new Promise((resolve) => setTimeout(resolve, 20))
})

t.test('who passes on too much is ended, and it says so', async (t) => {
  const { relay, offer, near, far } = await make(t, { rate: 1000, window: 1000 })
  const token = Buffer.alloc(32, 7)
  const [one, other] = await Promise.all([
    join(t, near.dht, offer, token, true),
    join(t, far.dht, offer, token, false)
  ])
  other.on('data', () => {})
  const noticed = once(relay, 'notice')
  one.write(Buffer.alloc(100_000))
  const [notice] = await noticed
  t.match(notice, { code: 'LIMIT_REACHED', message: /1000 bytes a second/ })
  t.equal(relay.stats.ended, 1)
  while (relay.stats.pairs > 0) await new Promise((resolve) => setTimeout(resolve, 20))
})

t.test('a stream that is relayed cannot be relayed elsewhere, or it could be slowed', async (t) => {
  const testbed = await Testbed.make(t)
  const { dht } = await testbed.network()
  const [stream, other, nowhere] = [0, 1, 2].map(
    () => dht.createRawStream({ framed: true }) as unknown as Relayed
  )
  stream?.relayTo(other as Relayed)
  t.throws(() => stream?.relayTo(nowhere as Relayed), { code: 'EINVAL' })
  for (const one of [stream, other, nowhere]) one?.destroy()
})

interface Relayed extends LooseRawStream {
  relayTo(other: Relayed): void
}

t.test('it takes no more pairs than it may', async (t) => {
  const { relay, offer, near } = await make(t, { rate: 1000, maxPairs: 0 })
  const connection = near.dht.connect(offer.key)
  connection.on('error', () => {})
  await new Promise((resolve) => connection.on('close', resolve))
  t.ok(relay.stats.refused > 0)
})

t.test('who cannot be called offers none', async (t) => {
  const testbed = await Testbed.make(t)
  const { dht } = await testbed.network()
  dht.firewalled = true
  const relay = new Relay({ dht, rate: 1000 })
  t.teardown(() => relay.close())
  relay.on('offer', () => t.fail('it was offered'))
  await relay.ready()
  dht.firewalled = false
})

interface Place {
  relay: Relay
  offer: RelayOffer
  near: Network
  far: Network
}

async function make(
  t: Test,
  options: { rate: number; window?: number; maxPairs?: number }
): Promise<Place> {
  const testbed = await Testbed.make(t)
  const [{ dht }, near, far] = [
    await testbed.network(),
    await testbed.network(),
    await testbed.network()
  ]
  const relay = new Relay({ dht, ...options })
  testbed.teardown(() => relay.close())
  const offered = once(relay, 'offer')
  await relay.ready()
  const [offer] = await offered
  return { relay, offer, near, far }
}

/** A stream to whoever names the same token. */
async function join(
  t: Test,
  dht: HyperDHT,
  { key }: RelayOffer,
  token: Buffer,
  isInitiator: boolean
): Promise<LooseRawStream> {
  const connection = dht.connect(key)
  t.teardown(() => connection.destroy())
  connection.on('error', () => {})
  await once(connection, 'open')
  const stream = dht.createRawStream({ framed: false })
  stream.on('error', () => {})
  t.teardown(() => stream.destroy())
  const client = Client.from(connection, { id: connection.publicKey })
  const [remoteId] = await once(client.pair(isInitiator, token, stream), 'data')
  const { remoteHost, remotePort } = connection.rawStream
  const { socket } = connection.rawStream as unknown as { socket: never }
  stream.connect(socket, remoteId, remotePort, remoteHost)
  return stream
}
