import t, { type Test } from 'tap'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'
import {
  announceAfresh,
  declareReachable,
  lend,
  limitRandomPunches,
  pingFromElsewhere
} from '../../lib/core/dht-node.js'
import { type ConnectOptions, HyperDHT, SecretStream } from '../../lib/core/holepunch.js'

const LOOPBACK = '127.0.0.1'

t.test('what an upgrade takes away is done without', async (t) => {
  const dht = await node(t)
  declareReachable(without(dht, 'io', '_nat'), { host: LOOPBACK, port: 1 })
  await t.rejects(pingFromElsewhere(without(dht, '_request'), { host: LOOPBACK, port: 1 }))
  announceAfresh(without(dht.createServer({}), '_announcer'))
})

t.test('a packet comes to the port that takes calls, and sent none', async (t) => {
  const dht = await node(t)
  const other = new BootstrapNode({ port: 0 })
  await other.setup()
  t.teardown(() => other.destroy())
  const [address = { host: '', port: 0 }] = parseBootstrap(other.address)
  const before = await dht.ping(address)
  const { to } = await pingFromElsewhere(dht, address)
  t.not(to.port, before.to.port)
})

t.test('a swarm punches at random ports for those only who are worth it', async (t) => {
  const dht = await node(t)
  limitRandomPunches(dht, 8)
  const asked: ConnectOptions[] = []
  dht.connect = (_key, options = {}) => {
    asked.push(options)
    return new SecretStream(true, null, { autoStart: false })
  }
  const [worth, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const swarms = lend(dht, (key) => key.equals(worth))
  for (const key of [worth, other]) swarms.connect(key)
  const [toWorth, toOther] = asked.map(({ holepunch }) => holepunch)
  t.equal(toWorth?.(3, 2), true)
  t.equal(toOther?.(3, 2), false)
  t.equal(toOther?.(2, 3), false)
  t.equal(toOther?.(2, 2), true, 'ports that stay are met at once')
})

async function node(t: Test): Promise<HyperDHT> {
  const dht = new HyperDHT({ bootstrap: [], host: LOOPBACK })
  t.teardown(() => dht.destroy())
  await dht.bind()
  return dht
}

/** A real object that lacks some members, as after an upgrade. */
function without<T extends object>(whole: T, ...names: string[]): T {
  return Object.create(whole, Object.fromEntries(names.map((name) => [name, { value: undefined }])))
}
