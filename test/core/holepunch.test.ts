import t from 'tap'
import { lend } from '../../lib/core/dht-node.js'
import {
  allConnections,
  checkStack,
  connectionTo,
  forgetAddresses,
  HyperDHT,
  Hyperswarm,
  paceOf,
  SecretStream,
  waitingMessages
} from '../../lib/core/holepunch.js'

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
