import { once } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import {
  c,
  crypto,
  type MuxMessage,
  Protomux,
  type SecretStream
} from '../../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import type { Registrar } from '../../../lib/registry/registrar/registrar.js'
import { exchangeHello } from '../../../lib/registry/swarm/hello.js'
import { Peer } from '../../../lib/registry/swarm/peer.js'
import { leaseEncoding, REGISTRY_PROTOCOL } from '../../../lib/registry/swarm/protocol.js'
import { type ServiceRecord, signRecord } from '../../../lib/registry/trust/record.js'
import { signStatement } from '../../../lib/registry/trust/statement.js'
import { Outsider } from '../../outsider.js'
import { shows, Testbed } from '../../testbed.js'

const MAX_FRAME_BYTES = 2 ** 24 - 1 - 17

/** A raw connection to a registrar, under a key of its own. */
async function dial(
  testbed: Testbed,
  registrar: Registrar,
  keyPair = KeyPair()
): Promise<SecretStream> {
  const network = await testbed.network()
  const [log] = registrar.replica.logs()
  const connection = network.dht.connect(Buffer.from(log?.registrarKey ?? '', 'hex'), { keyPair })
  connection.on('error', () => {})
  testbed.teardown(() => connection.destroy())
  await once(connection, 'open')
  return connection
}

/** Whether with an error or without. */
function closed(connection: SecretStream): Promise<void> {
  return new Promise((resolve) => connection.on('close', () => resolve()))
}

function hello(connection: SecretStream, registry: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    exchangeHello(connection, registry, { onhello: () => resolve(), ondenied: reject })
  })
}

async function member(testbed: Testbed, registrar: Registrar, keyPair = KeyPair()): Promise<Peer> {
  const connection = await dial(testbed, registrar, keyPair)
  return new Promise((resolve, reject) => {
    exchangeHello(connection, testbed.keyPair.publicKey, {
      onhello: () => resolve(new Peer(connection)),
      ondenied: reject
    })
  })
}

function record(
  testbed: Testbed,
  keyPair: KeyPair,
  fields: Partial<ServiceRecord> = {}
): ServiceRecord {
  const {
    role = 'couchdb',
    version = '3.2.2',
    tags = [],
    status = 'passing',
    direct = [],
    holder = toHex(keyPair.publicKey),
    seq = Date.now()
  } = fields
  return signRecord(testbed.keyPair.publicKey, keyPair, {
    role,
    version,
    tags,
    status,
    direct,
    holder,
    seq
  })
}

t.test(
  'who does not know the public key is told so, learns nothing else, and is reported once',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const notices: SeaportError[] = []
    registrar.on('notice', (notice) => notices.push(notice))
    const keyPair = KeyPair()
    for (let i = 0; i < 3; i++) {
      const connection = await dial(testbed, registrar, keyPair)
      const received: Buffer[] = []
      connection.on('data', (frame: Buffer) => received.push(frame))
      connection.write(Buffer.concat([Buffer.of(1), crypto.randomBytes(32)]))
      await closed(connection)
      const frames = received.filter((frame) => frame.byteLength > 0)
      t.equal(frames.length, 2, 'its proof, and the denial')
      t.equal(frames[0]?.byteLength, 33)
      t.match(frames[1]?.subarray(1).toString(), /^NOT_A_MEMBER: /)
    }
    t.equal(notices.length, 1)
    t.equal(notices[0]?.code, 'NOT_A_MEMBER')
  }
)

t.test('a proof heard on one connection is worthless on another', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const first = await dial(testbed, registrar)
  const [proof] = await once(first, 'data')
  const second = await dial(testbed, registrar)
  second.on('data', () => {})
  second.write(proof)
  await closed(second)
  t.equal(registrar.replica.peering.stats.strangers, 1)
})

t.test(
  'a call whose caller is gone before it is taken is cut before one that stops halfway',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const outsider = new Outsider(testbed, testbed.keyPair.publicKey)
    const participant = Buffer.from(registrar.replica.key, 'hex')
    const halfway = await outsider.meet(participant, { credentials: () => null })
    const gone = await dial(testbed, registrar)
    const first = await Promise.race([
      halfway.closed.then(() => 'halfway'),
      closed(gone).then(() => 'gone')
    ])
    t.equal(first, 'gone')
  }
)

t.test('a member who sends garbage is dropped and reported, and disturbs nobody', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  const lease = await testbed.lease(owner)
  const notices: SeaportError[] = []
  registrar.on('notice', (notice) => notices.push(notice))
  const frames = fc.sample(fc.uint8Array({ minLength: 1, maxLength: 300 }), {
    numRuns: 60,
    seed: 7
  })
  for (const frame of frames) {
    const connection = await dial(testbed, registrar)
    await hello(connection, testbed.keyPair.publicKey)
    connection.on('data', () => {})
    const ended = closed(connection)
    connection.write(Buffer.from(frame))
    connection.end()
    await ended
  }
  lease.update({ tags: ['still here'] })
  await once(lease, 'registered')
  t.ok(notices.length <= 5, `reported ${notices.length} times`)
})

t.test('a member who says that it has 2^52 blocks of a log disturbs nobody', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const [log] = registrar.replica.logs()
  const peer = await member(testbed, registrar)
  const store = (await testbed.storage()).store
  const copy = store.get({ key: Buffer.from(log?.logKey ?? '', 'hex') })
  await copy.ready()
  store.replicate(peer.mux)
  const [teller] = (await once(copy, 'peer-add')) as [{ wireRange: MuxMessage<object> }]
  teller.wireRange.send({ drop: false, start: 1, length: 2 ** 52 })
  teller.wireRange.send({ drop: false, start: 2 ** 52, length: 1 })
  await copy.update({ wait: true })
  const owner = await testbed.replica()
  await testbed.lease(owner)
  t.notOk(peer.closed)
})

t.test('a message that should be JSON and is not ends the connection, and no more', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const connection = await dial(testbed, registrar)
  await hello(connection, testbed.keyPair.publicKey)
  const channel = Protomux.from(connection).createChannel({ protocol: REGISTRY_PROTOCOL })
  const logs = channel?.addMessage({ encoding: c.string })
  const reported = once(registrar, 'notice')
  const ended = closed(connection)
  channel?.open()
  logs?.send('{ "this": is none')
  await ended
  t.match(await reported, [{ code: 'BAD_MESSAGE' }])
})

t.test(
  'every field of a message has its limit, and the largest frame there can be is refused',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const oversized = [
      { what: 'a record with a role of 1 MiB', bytes: 2 ** 20 },
      { what: 'a record of 16 MiB', bytes: MAX_FRAME_BYTES - 200 }
    ]
    for (const { what, bytes } of oversized) {
      const connection = await dial(testbed, registrar)
      await hello(connection, testbed.keyPair.publicKey)
      const mux = Protomux.from(connection)
      const channel = mux.createChannel({ protocol: REGISTRY_PROTOCOL })
      for (let i = 0; i < 3; i++) channel?.addMessage({ encoding: leaseEncoding })
      const lease = channel?.addMessage({ encoding: leaseEncoding })
      const ended = closed(connection)
      channel?.open()
      lease?.send({ id: 1, record: 'r'.repeat(bytes) })
      await ended
      t.pass(what)
    }
    const unasked = await dial(testbed, registrar)
    unasked.write(Buffer.alloc(MAX_FRAME_BYTES))
    unasked.on('data', () => {})
    await closed(unasked)
    t.equal(registrar.stats.granted, 0)
  }
)

t.test(
  'nobody registers a key it does not hold, changes, withdraws or replays the record of another',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    const victim = KeyPair()
    const lease = await testbed.lease(owner, { keyPair: victim })
    const old = lease.record as ServiceRecord
    lease.update({ tags: ['new'] })
    await once(lease, 'registered')
    await shows(reader.directory, ([instance]) => instance?.tags[0] === 'new')

    const thief = KeyPair()
    const peer = await member(testbed, registrar, thief)
    const holder = toHex(thief.publicKey)
    const current = lease.record as ServiceRecord
    for (const replayed of [old, current]) {
      t.equal((await peer.lease(replayed)).code, 'BAD_SIGNATURE', 'the record of another, replayed')
    }
    t.equal(
      (await peer.lease({ ...current, holder })).code,
      'BAD_SIGNATURE',
      'the record of another, with itself as its holder'
    )
    const seq = Date.now() + 1000
    const forged = {
      ...record(testbed, thief, { seq, holder, status: 'withdrawn' }),
      key: toHex(victim.publicKey)
    }
    const crowd = Array.from({ length: 20 }, () => peer.lease(forged))
    for (const { code } of await Promise.all(crowd)) {
      t.equal(code, 'BAD_SIGNATURE', 'a withdrawal in the name of another')
    }

    const [ownerPeer] = owner.registrars
    t.equal((await ownerPeer?.lease(old))?.code, 'STALE_RECORD', 'even the owner does not go back')
    t.match(reader.directory.list(), [{ tags: ['new'] }])
  }
)

t.test(
  'a record that breaks the rules is refused with a code, and nothing of it is written',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const peer = await member(testbed, registrar)
    const service = KeyPair()
    const sign = (fields: { [field: string]: unknown }) =>
      signStatement(
        { ...record(testbed, service), ...fields, signature: undefined } as never,
        service.secretKey
      )
    const bad: { [what: string]: { [field: string]: unknown } } = {
      'a range for a version': { version: '1.x' },
      'no version': { version: '' },
      'a version that is not in npm’s form': { version: 'v1.2.3' },
      'a NUL in the role': { role: 'couch\0db' },
      'a role of the wrong type': { role: 7 },
      'a role that leaves its place': { role: '../../etc' },
      'a tag with a NUL': { tags: ['a\0'] },
      'tags of the wrong type': { tags: 'a' },
      'too many tags': { tags: new Array(17).fill('a') },
      'a status nobody knows': { status: 'great' },
      'a fractional sequence number': { seq: 1.5 },
      'a sequence number that would lock the owner out': { seq: Number.MAX_SAFE_INTEGER },
      'another registry': { registry: toHex(KeyPair().publicKey) },
      'another type': { type: 'hyperseaport/certificate/1' },
      'an address with a space': { direct: ['a b:1'] },
      'a holder that is no key': { holder: 'somebody' },
      'more than 4 KB': { note: 'n'.repeat(4096) }
    }
    for (const [what, fields] of Object.entries(bad)) {
      const answer = await peer
        .lease(sign(fields) as ServiceRecord)
        .catch((error: SeaportError) => error)
      t.match(answer.code, /^(BAD_MESSAGE|CLOSED)$/, what)
      if (answer.code === 'CLOSED') break
    }
    t.equal(registrar.stats.granted, 0)
  }
)
