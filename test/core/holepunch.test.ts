import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { lend } from '../../lib/core/dht-node.js'
import {
  allConnections,
  checkStack,
  connectionTo,
  forgetAddresses,
  HyperDHT,
  Hyperswarm,
  limitFrames,
  paceOf,
  SecretStream,
  waitingMessages
} from '../../lib/core/holepunch.js'
import { secretPair } from '../link/pair.js'

const LOOPBACK = '127.0.0.1'

/** A real object that lacks some members, as after an upgrade. */
function without<T extends object>(whole: T, ...names: string[]): T {
  return Object.create(whole, Object.fromEntries(names.map((name) => [name, { value: undefined }])))
}

t.test('what an upgrade takes away is done without', async (t) => {
  const bootstrap = [{ host: LOOPBACK, port: 1 }]
  const dht = new HyperDHT({ bootstrap, host: LOOPBACK })
  const swarm = new Hyperswarm({ dht: lend(dht) })
  t.teardown(async () => {
    await swarm.destroy({ force: true })
    await dht.destroy({ force: true })
  })
  forgetAddresses(without(dht, '_relayAddressesCache'), 'ab')
  t.same([...allConnections(without(swarm, '_allConnections'))], [])
  t.equal(connectionTo(without(swarm, '_allConnections'), Buffer.alloc(32)), undefined)
  const stream = new SecretStream(true, null, { autoStart: false })
  t.equal(paceOf(stream), null)
  t.ok(Number.isNaN(waitingMessages(without(stream, '_writableState'))))
  t.equal(waitingMessages(stream), 0)
  stream.destroy()
  checkStack()
})

t.test(
  'a message that is longer than it may be cuts the connection when it is announced',
  async (t) => {
    const { victim, wire } = await encrypted(t)
    limitFrames(victim, 1000)
    const closed = new Promise((resolve) => victim.on('close', resolve))
    const [error] = await Promise.all([
      once(victim, 'error').then(([error]) => error),
      // 16 MiB are announced, and two small pieces of them come.
      wire(Buffer.from([0xff, 0xff, 0xff, 1])).then(() => wire(Buffer.alloc(10)))
    ])
    t.match(error, { code: 'BAD_MESSAGE', message: /16777215 bytes was announced/ })
    await closed
  }
)

t.test(
  'the limit of messages can be raised, and what is within it gets through in pieces',
  async (t) => {
    const { victim, peer } = await encrypted(t)
    limitFrames(victim, 1000)
    limitFrames(victim, 300_000)
    victim.resume()
    peer.write(Buffer.alloc(300_000, 'x'))
    const [message] = (await once(victim, 'data')) as [Buffer]
    t.equal(message.byteLength, 300_000)
  }
)

/** A connection, its other end, and a way to write to its wire what that end would not. */
async function encrypted(t: Test) {
  const { initiator: peer, responder: victim } = secretPair(t)
  await Promise.all([victim.opened, peer.opened])
  const raw = peer.rawStream as unknown as Duplex
  const wire = (bytes: Buffer) =>
    new Promise<void>((resolve) => raw.write(bytes, () => setImmediate(resolve)))
  return { victim, peer, wire }
}
