import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { ClientRequest, createServer as createHttpServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parseBootstrap } from '../lib/core/bootstrap-list.js'
import { BootstrapNode } from '../lib/core/bootstrap-node.js'
import { lend } from '../lib/core/dht-node.js'
import {
  allConnections,
  c,
  checkStack,
  connectionTo,
  crypto,
  HyperDHT,
  Hyperswarm,
  isMalformedFrame,
  SecretStream
} from '../lib/core/holepunch.js'
import { checkHead, headOf } from '../lib/registry/log/head.js'
import { beeNode, Corestore, Hyperbee, treeHashOf } from '../lib/registry/log/hypercore.js'
import { isLocked, isMoved } from '../lib/registry/log/store.js'

/**
 * What dependencies and Node do not promise and we use: docs/internals/stack.md. Each assertion bears the name of a
 * member, and fails when an upgrade takes it away. The objects are the real ones.
 */
const LOOPBACK = '127.0.0.1'
// biome-ignore lint/suspicious/noExplicitAny: what is looked for is in no type
type Anything = any

t.test('hyperdht, hyperswarm and udx have what core/holepunch.ts uses', async (t) => {
  const { dht, swarm, remote } = await connectedSwarm(t)
  const inside: Anything = dht
  t.type(inside._relayAddressesCache.delete, 'function', 'HyperDHT._relayAddressesCache.delete')
  t.type(inside.io.firewalled, 'boolean', 'HyperDHT.io.firewalled')
  t.type(inside.io.serverSocket.address, 'function', 'HyperDHT.io.serverSocket')
  t.type(inside._request, 'function', 'HyperDHT._request')
  t.type(inside._nat.add, 'function', 'HyperDHT._nat.add')
  t.equal(inside._randomPunchLimit, 1, 'HyperDHT._randomPunchLimit')
  t.equal(inside._randomPunches, 0, 'HyperDHT._randomPunches')
  const holepuncher = createRequire(import.meta.url)('hyperdht/lib/holepuncher').prototype
  for (const name of ['_randomProbes', '_autoDestroy', 'ping']) {
    t.type(holepuncher[name], 'function', `Holepuncher.${name}`)
  }
  t.ok(Array.isArray(inside.bootstrapNodes), 'HyperDHT.bootstrapNodes')
  t.type(inside.stats.requests.responses, 'number', 'HyperDHT.stats.requests.responses')
  t.type(inside.listening[Symbol.iterator], 'function', 'HyperDHT.listening')
  t.type(inside.createRawStream, 'function', 'HyperDHT.createRawStream')
  t.equal(
    (swarm as Anything)._allConnections.get(remote)?.destroyed,
    false,
    'Hyperswarm._allConnections.get'
  )
  t.equal([...(swarm as Anything)._allConnections].length, 1, 'Hyperswarm._allConnections')
  t.equal(connectionTo(swarm, remote), [...allConnections(swarm)][0])
  t.type(swarm.connecting, 'number', 'Hyperswarm.connecting')
  t.equal((swarm as Anything).server._announcer, null, 'Server._announcer')
  await swarm.join(remote, { server: true, client: false }).flushed()
  t.type(
    (swarm as Anything).server._announcer._sleeper.resume,
    'function',
    'Server._announcer._sleeper.resume'
  )
  const [connection]: Anything[] = [...swarm.connections]
  t.type(connection.rawStream.inflight, 'number', 'UDXStream.inflight')
  t.type(connection.rawStream.bbrBandwidth, 'number', 'UDXStream.bbrBandwidth')
  t.type(connection.rawStream.rtt, 'number', 'UDXStream.rtt')
})

t.test('a HyperDHT works behind a Proxy, and outlives the swarm that it was lent to', async (t) => {
  const { dht, swarm } = await connectedSwarm(t)
  await swarm.destroy()
  t.equal(dht.destroyed, false, 'HyperDHT behind a Proxy')
})

t.test('streamx counts the messages that wait', async (t) => {
  const stream: Anything = new SecretStream(true, null, { autoStart: false })
  t.type(stream._writableState.queue.length, 'number', '_writableState.queue.length')
  t.type(stream._len, 'number', 'NoiseSecretStream._len')
  stream.destroy()
  checkStack()
})

t.test('bytes that make no sense are told from all that is no offence', async (t) => {
  for (const text of ['Out of bounds', 'Invalid open message', 'Remote exceeded backlog']) {
    t.ok(isMalformedFrame(new Error(text)), text)
  }
  for (const text of ['Duplicate connection', 'Twin connection', 'Swarm has been destroyed', '']) {
    t.notOk(isMalformedFrame(new Error(text)), `no offence: ${text}`)
  }
  try {
    c.decode(c.uint, Buffer.alloc(0))
    t.fail('compact-encoding decodes nothing')
  } catch (error) {
    t.ok(isMalformedFrame(error as Error), `compact-encoding: ${(error as Error).message}`)
  }
})

t.test('hypercore and corestore have what registry/log/hypercore.ts uses', async (t) => {
  const dir = t.testdir()
  const store = new Corestore(dir)
  t.teardown(() => store.close())
  const core: Anything = store.get({ name: 'stack' })
  await core.ready()
  await core.append(Buffer.from('block'))
  t.equal([...(store as Anything).cores][0], core.core, 'Corestore.cores')
  t.type(core.core.close, 'function', 'Hypercore.core.close')
  t.type(core.core.state.mutex.destroy, 'function', 'Hypercore.core.state.mutex.destroy')
  t.type(core.core.replicator.detachFrom, 'function', 'Hypercore.core.replicator.detachFrom')
  const head = headOf(core)
  t.match(head, { fork: 0, length: 1 }, 'Hypercore.state: fork, length, roots, signature; manifest')
  t.ok(checkHead(head, core.key.toString('hex')), 'Hypercore.key, and what Hypercore signs')
  t.notOk(checkHead({ ...head, length: 2 }, core.key.toString('hex')))
  const tree = await treeHashOf(core, 1)
  t.equal(tree?.toString('hex'), head?.hash, 'Hypercore.treeHashFromStorage')
  const reader = core.state.storage.read()
  const node = reader.getTreeNode(0)
  reader.tryFlush()
  t.equal((await node).index, 0, 'Hypercore.state.storage.read: getTreeNode, tryFlush')
  const writer = core.state.storage.write()
  for (const name of ['putTreeNode', 'deleteTreeNode', 'flush']) {
    t.type(writer[name], 'function', `Hypercore.state.storage.write: ${name}`)
  }
  const { rocks }: Anything = (store as Anything).storage
  for (const name of ['createReadBatch', 'createWriteBatch']) {
    t.type(rocks._state[name], 'function', `RocksDB._state.${name}`)
  }
  const batch = rocks._state.createWriteBatch(rocks, {})
  t.type(batch._onfinished, 'function', 'RocksDB batch _onfinished')
  batch.destroy()
  const second = new Corestore(dir, { wait: false })
  const error: Anything = await second.ready().catch((error: unknown) => error)
  await second.close().catch(() => {})
  t.ok(isLocked(error), `the lock's message: ${error?.message}`)
  t.ok(isMoved(new Error('Invalid device file, was moved unsafely')), 'device-file: moved unsafely')
})

t.test('the peers of a hypercore tell their connection', async (t) => {
  const dir = t.testdir()
  const [here, there] = [new Corestore(join(dir, 'here')), new Corestore(join(dir, 'there'))]
  t.teardown(() => Promise.all([here.close(), there.close()]))
  const core: Anything = here.get({ name: 'stack' })
  await core.ready()
  const copy = there.get({ key: core.key })
  const { near, far } = pair(t)
  here.replicate(near)
  there.replicate(far)
  if (core.peers.length === 0) await once(core, 'peer-add')
  await copy.ready()
  t.equal(core.peers[0].protomux.stream, near, 'Hypercore.peers: protomux')
  const { channel } = core.peers[0]
  t.type(channel.close, 'function', 'Hypercore.peers: channel.close')
  t.equal(channel.protocol, 'hypercore/alpha', 'Hypercore.peers: channel.protocol')
  t.equal(channel.userData.core.state.length, 0, 'MuxChannel of a core: userData.core.state')
})

t.test('hyperbee shows the tree of a batch', async (t) => {
  const store = new Corestore(t.testdir())
  t.teardown(() => store.close())
  const bee = new Hyperbee(store.get({ name: 'stack' }), {
    keyEncoding: 'utf-8',
    valueEncoding: 'utf-8'
  })
  await bee.ready()
  const batch: Anything = bee.batch({ keyEncoding: 'binary' })
  await batch.put('key', 'value')
  const last = batch.core.length + batch.length - 1
  t.equal(batch.blocks.get(last).seq, last, 'HyperbeeBatch.blocks')
  t.ok('value' in batch.blocks.get(last).entry, 'BatchEntry.entry.value')
  await batch.flush()
  t.ok('appending' in batch, 'HyperbeeBatch.appending')
  const next: Anything = bee.batch({ keyEncoding: 'binary' })
  const root = await next.getRoot()
  t.equal(root.block.seq, last, 'HyperbeeBatch.getRoot')
  t.equal(root.keys[0].seq, last, 'TreeNode.keys')
  t.ok(Array.isArray(root.children), 'TreeNode.children')
  t.type(root.getChildNode, 'function', 'TreeNode.getChildNode')
  await next.close()
  t.equal(
    beeNode.decode((await bee.core.get(last)) as Buffer).key.toString(),
    'key',
    'hyperbee/lib/messages'
  )
})

t.test('Node has what its files use', async (t) => {
  t.type((ClientRequest.prototype as Anything).onSocket, 'function', 'ClientRequest.onSocket')
  t.equal(
    (createHttpServer() as Anything).httpAllowHalfOpen,
    false,
    'http.Server.httpAllowHalfOpen'
  )
  const server = createServer().listen(0, LOOPBACK)
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, LOOPBACK)
  const [accepted] = await once(server, 'connection')
  t.ok(accepted._handle, 'Socket._handle')
  socket.destroy()
  accepted.destroy()
  server.close()
  await once(server, 'close')
})

for (const flag of [
  'no-parallel-scavenge',
  'semi-space-growth-factor=2',
  'heap-growing-percent=50'
]) {
  t.test(`V8 knows --${flag}`, async (t) => {
    await t.resolves(promisify(execFile)(process.execPath, [`--${flag}`, '-e', '0']))
  })
}

/** A swarm on loopback, with one connection; closed with the test. */
async function connectedSwarm(t: Test) {
  const bootstrapper = new BootstrapNode({ port: 0 })
  await bootstrapper.setup()
  const bootstrap = parseBootstrap(bootstrapper.address)
  const options = { bootstrap, host: LOOPBACK, firewalled: false, ephemeral: false }
  const [dht, far] = [new HyperDHT(options), new HyperDHT(options)]
  const keyPair = crypto.keyPair()
  const server = far.createServer({}, (connection) => connection.on('error', () => {}))
  await server.listen(keyPair)
  const swarm = new Hyperswarm({ dht: lend(dht) })
  t.teardown(async () => {
    await swarm.destroy()
    for (const node of [far, dht, bootstrapper]) await node.destroy()
  })
  swarm.joinPeer(keyPair.publicKey)
  const [connection] = await once(swarm, 'connection')
  connection.on('error', () => {})
  return { dht, swarm, remote: keyPair.publicKey }
}

/** Two ends of one encrypted connection. */
function pair(t: Test) {
  const near: Anything = new SecretStream(true)
  const far: Anything = new SecretStream(false)
  near.rawStream.pipe(far.rawStream).pipe(near.rawStream)
  for (const end of [near, far]) {
    end.on('error', () => {})
    t.teardown(() => end.destroy())
  }
  return { near, far }
}
