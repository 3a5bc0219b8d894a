import { once } from 'node:events'
import t, { type Test } from 'tap'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { BootstrapNode } from '../../lib/core/bootstrap-node.js'
import { type Address, HyperDHT } from '../../lib/core/holepunch.js'
import { Reachability } from '../../lib/core/reachability.js'
import { inTime } from '../watchdog.js'

const LOOPBACK = '127.0.0.1'

t.test(
  'who is seen under its own address, and gets what it did not ask for, can be called',
  async (t) => {
    const { dht, nodes } = await make(t, 2)
    const reachability = new Reachability({ dht, hosts: () => new Set([LOOPBACK]) })
    t.ok(dht.firewalled, 'nobody said so yet')
    let changes = 0
    reachability.on('change', () => changes++)
    await reachability.ask(nodes)
    t.notOk(dht.firewalled)
    t.same({ host: dht.host, port: dht.port }, serverAddress(dht))
    t.equal(changes, 1)
  }
)

t.test('who is seen under an address that it has not is behind a router', async (t) => {
  const { dht, nodes } = await make(t, 2)
  await new Reachability({ dht, hosts: () => new Set(['10.0.0.1']) }).ask(nodes)
  t.ok(dht.firewalled)
})

t.test('who is behind a router now was in front of it before', async (t) => {
  const { dht, nodes } = await make(t, 1)
  let own = new Set([LOOPBACK])
  const reachability = new Reachability({ dht, hosts: () => own })
  await reachability.ask(nodes)
  t.notOk(dht.firewalled)
  own = new Set()
  const changed = once(reachability, 'change')
  await reachability.ask(nodes)
  await changed
  t.ok(dht.firewalled)
})

t.test('a bootstrap node that is dead is not waited for', async (t) => {
  const { dht, nodes } = await make(t, 1)
  const reachability = new Reachability({ dht, hosts: () => new Set([LOOPBACK]) })
  const answered: Address[] = []
  reachability.on('answer', (node) => answered.push(node))
  const beganAt = performance.now()
  await reachability.ask([{ host: LOOPBACK, port: 1 }, ...nodes])
  t.ok(inTime(performance.now() - beganAt, 900), 'HyperDHT asks a dead node for 4 s')
  t.same(answered, nodes)
})

t.test('answers to what left from another port before do not make it doubt', async (t) => {
  const { dht, nodes } = await make(t, 8)
  const reachability = new Reachability({ dht, hosts: () => new Set([LOOPBACK]) })
  await reachability.ask(nodes.slice(0, 1))
  t.notOk(dht.firewalled)
  const { clientSocket } = (dht as unknown as { io: { clientSocket: object } }).io
  for (const node of nodes.slice(1)) {
    await dht.ping(node, { socket: clientSocket } as object)
  }
  t.same({ host: dht.host, port: dht.port }, serverAddress(dht))
})

t.test('what is known of another network is forgotten', async (t) => {
  const { dht, nodes } = await make(t, 1)
  let own = new Set([LOOPBACK])
  const reachability = new Reachability({ dht, hosts: () => own })
  await reachability.ask(nodes)
  own = new Set()
  reachability.forget()
  t.ok(dht.firewalled)
  await reachability.ask(nodes)
  t.ok(dht.firewalled)
})

async function make(t: Test, count: number): Promise<{ dht: HyperDHT; nodes: Address[] }> {
  const others = new BootstrapNode({ port: 0, nodes: count })
  await others.setup()
  t.teardown(() => others.destroy())
  const dht = new HyperDHT({ bootstrap: [], host: LOOPBACK, firewalled: true })
  t.teardown(() => dht.destroy())
  await dht.bind()
  return { dht, nodes: parseBootstrap(others.address) }
}

function serverAddress(dht: HyperDHT): Address {
  const { serverSocket } = (dht as unknown as { io: { serverSocket: { address(): Address } } }).io
  const { host, port } = serverSocket.address()
  return { host, port }
}
