import { once } from 'node:events'
import t, { type Test } from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { crypto, type SecretStream } from '../../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import type { Registrar } from '../../../lib/registry/registrar/registrar.js'
import { exchangeHello } from '../../../lib/registry/swarm/hello.js'
import type { Limits } from '../../../lib/registry/swarm/limits.js'
import { Peer } from '../../../lib/registry/swarm/peer.js'
import { signApp } from '../../../lib/registry/trust/app-statement.js'
import { type ServiceRecord, signRecord } from '../../../lib/registry/trust/record.js'
import { restWhile } from '../../rest.js'
import { shows, Testbed } from '../../testbed.js'

async function dial(testbed: Testbed, registrar: Registrar, keyPair = KeyPair()) {
  const network = await testbed.network()
  const key = Buffer.from(registrar.replica.logs()[0]?.registrarKey ?? '', 'hex')
  const connection = network.dht.connect(key, { keyPair })
  connection.on('error', () => {})
  testbed.teardown(() => connection.destroy())
  return connection
}

/** Says hello; rejects with what it was denied. */
function join(testbed: Testbed, connection: SecretStream): Promise<Peer> {
  const { publicKey } = testbed.keyPair
  return new Promise((resolve, reject) => {
    connection.on('close', () => reject(SeaportError.CLOSED('hung up')))
    connection.once('open', () =>
      exchangeHello(connection, publicKey, {
        onhello: () => resolve(new Peer(connection)),
        ondenied: reject
      })
    )
  })
}

/** A record of a service, held by whoever asks with a connection of this key. */
function recordFor(testbed: Testbed, holder: KeyPair, service = KeyPair()) {
  return signRecord(testbed.keyPair.publicKey, service, {
    role: 'api',
    version: '1.0.0',
    tags: [],
    status: 'passing',
    direct: [],
    holder: toHex(holder.publicKey),
    seq: 1
  })
}

/** Asks for a lease so often at once, and tells what the registrar said when it had cut the connection. */
async function flood(t: Test, times: number, limits: Partial<Limits> = {}) {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits })
  const notices: SeaportError[] = []
  registrar.on('notice', (notice) => notices.push(notice))
  // The end of a connection may be seen at its other side first.
  const told = once(registrar, 'notice')
  const holder = KeyPair()
  const peer = await join(testbed, await dial(testbed, registrar, holder))
  const record = recordFor(testbed, holder)
  peer.mux.cork()
  for (let i = 0; i < times; i++) peer.lease(record).catch(() => {})
  peer.mux.uncork()
  await Promise.all([once(peer, 'close'), told])
  return notices
}

t.test('a key’s messages are slowed down to its rate, and none is lost', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { messageRate: 100, messageBurst: 20 } })
  const keyPair = KeyPair()
  const ask = async (peer: Peer, times: number) => {
    const record = recordFor(testbed, keyPair)
    const answers = Array.from({ length: times }, () => peer.lease(record))
    return Promise.all(answers)
  }
  const since = performance.now()
  const first = await join(testbed, await dial(testbed, registrar, keyPair))
  t.equal((await ask(first, 40)).filter(({ code }) => code === '').length, 40)
  first.destroy()
  await once(first, 'close')
  const second = await join(testbed, await dial(testbed, registrar, keyPair))
  await ask(second, 30)
  // They came as one frame, and were answered; what comes after it waits until they are paid for.
  await ask(second, 1)
  const took = performance.now() - since
  t.ok(took >= 450, `71 messages at 100/s after 20 at once, whatever the connection: ${took} ms`)
})

t.test('messages far beyond the rate end the connection with a code', async (t) => {
  const notices = await flood(t, 500, { messageRate: 10, messageBurst: 10 })
  t.match(notices, [{ code: 'LIMIT_REACHED' }])
})

t.test('who is slowed down is not read from: what waits is the sender’s to hold', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { messageRate: 100, messageBurst: 100 } })
  const peer = await join(testbed, await dial(testbed, registrar))
  const record = { note: 'n'.repeat(4000) } as unknown as ServiceRecord
  for (let sent = 0; sent < 3000; sent += 3) {
    for (let i = 0; i < 3; i++) peer.lease(record).catch(() => {})
    await new Promise(setImmediate)
  }
  const [receiver] = registrar.replica.peering.peers.values()
  const read = receiver?.connection.rawBytesRead ?? 0
  t.ok(read < 3_000_000, `${read} bytes of 12 MB were read`)
  t.notOk(receiver?.closed, 'and it is not cut off')
})

t.test('who asks and asks without waiting for answers is cut off', async (t) => {
  const notices = await flood(t, 5000)
  t.match(notices, [{ code: 'BAD_MESSAGE', text: /too many requests/ }])
})

t.test(
  'one participant registers no more services than it may; others are not concerned',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar({ limits: { leasesPerKey: 2 } })
    const [holder, second, third] = [KeyPair(), KeyPair(), KeyPair()]
    const peer = await join(testbed, await dial(testbed, registrar, holder))
    const [one, two] = [recordFor(testbed, holder), recordFor(testbed, holder)]
    t.match(await peer.lease(one), { code: '' })
    t.match(await peer.lease(two), { code: '' })
    t.match(await peer.lease(recordFor(testbed, holder, third)), { code: 'LIMIT_REACHED' })
    t.match(await peer.lease(one), { code: '' }, 'what it has it keeps')
    const other = await join(testbed, await dial(testbed, registrar, second))
    t.match(await other.lease(recordFor(testbed, second, third)), { code: '' })
  }
)

t.test('a registry takes no more apps than it may', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { apps: 1 } })
  const peer = await join(testbed, await dial(testbed, registrar))
  const registry = testbed.keyPair
  const app = (name: string) =>
    signApp(
      registry.publicKey,
      registry,
      {
        ...{ app: name, state: 'running', version: '1.0.0', release: 'a'.repeat(64) },
        ...{ instances: 1, hostnames: [], restarts: 0 },
        place: { labels: [], memory: 0, driver: 'process' }
      },
      null
    )
  t.match(await peer.put(app('one')), { code: '' })
  t.match(await peer.put(app('two')), { code: 'LIMIT_REACHED' })
})

t.test('an address has so many connections, and again when one is closed', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { connectionsPerAddress: 2 } })
  const peers = [
    await join(testbed, await dial(testbed, registrar)),
    await join(testbed, await dial(testbed, registrar))
  ]
  await t.rejects(join(testbed, await dial(testbed, registrar)), { code: 'LIMIT_REACHED' })
  t.equal(registrar.replica.peering.stats.limited, 1)
  peers[0]?.destroy()
  await restWhile(() => registrar.replica.peering.peers.size > 1)
  await join(testbed, await dial(testbed, registrar))
})

t.test('so many replicate from here, and the next ones from each other', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { replications: 1 } })
  const notices: SeaportError[] = []
  registrar.on('notice', (notice) => notices.push(notice))
  const owner = await testbed.replica()
  await testbed.lease(owner)
  await shows(owner.directory, (all) => all.length === 1)
  const second = await testbed.replica()
  const told = once(second, 'notice')
  await testbed.lease(second, { role: 'other' })
  await shows(second.directory, (all) => all.length === 2)
  t.match(notices, [{ code: 'LIMIT_REACHED' }])
  t.match(await told, [{ code: 'LIMIT_REACHED', text: registrar.replica.key.slice(0, 8) }])
})

t.test('an impostor is answered three times, and then not any more for a while', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar({ limits: { memory: 60_000 } })
  const keyPair = KeyPair()
  const frames: Buffer[][] = []
  for (let i = 0; i < 4; i++) {
    const connection = await dial(testbed, registrar, keyPair)
    const received: Buffer[] = []
    frames.push(received)
    connection.on('data', (frame: Buffer) => frame.byteLength > 0 && received.push(frame))
    connection.write(Buffer.concat([Buffer.of(1), crypto.randomBytes(32)]))
    await new Promise((resolve) => connection.on('close', resolve))
  }
  t.strictSame(
    frames.map(({ length }) => length),
    [2, 2, 2, 0]
  )
  t.match(registrar.replica.peering.stats, { strangers: 3, barred: 1 })
})

t.test('who announces itself as a registrar without the registry’s key is left', async (t) => {
  const testbed = await Testbed.make(t)
  const network = await testbed.network()
  const impostor = network.swarm(KeyPair())
  t.teardown(() => impostor.destroy())
  const topic = crypto.hash([Buffer.from('hyperseaport/registrars/1'), testbed.keyPair.publicKey])
  const denials: SeaportError[] = []
  impostor.on('connection', (connection: SecretStream) => {
    connection.on('error', () => {})
    exchangeHello(connection, testbed.keyPair.publicKey, {
      credentials: () => Buffer.from('{"proofs":[],"grants":[]}'),
      onhello: () => t.fail('it was let in'),
      ondenied: (reason) => denials.push(reason)
    })
  })
  await impostor.join(topic, { server: true, client: false }).flushed()
  const replica = await testbed.replica()
  const [notice] = await once(replica, 'notice')
  t.equal(notice.code, 'NOT_A_MEMBER')
  t.equal(replica.peering.peers.size, 0)
})
