import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { MEMORY_FILE } from '../../../lib/registry/log/memory.js'
import type { LogView } from '../../../lib/registry/replica/known-logs.js'
import type { Peer } from '../../../lib/registry/swarm/peer.js'
import { LOG_MS, signCertificate } from '../../../lib/registry/trust/certificate.js'
import { signGrant } from '../../../lib/registry/trust/grant.js'
import { type Meeting, Outsider } from '../../outsider.js'
import { shows, Testbed } from '../../testbed.js'

const key = () => toHex(KeyPair().publicKey)

t.test('a bare length changes nothing at the log’s own registrar', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const member = await testbed.replica()
  await testbed.lease(member)
  const [log] = registrar.replica.logs() as [LogView]
  const [peer] = member.registrars as [Peer]
  const certificate = signCertificate(testbed.keyPair, {
    ...log,
    startedAt: 1,
    renewedAt: Date.now() + 1
  })
  peer.sendLogs([{ certificate, length: 2 ** 40 }])
  // What was sent after it is answered after it.
  await testbed.lease(member, { role: 'after' })
  t.match(registrar.replica.logs(), [{ logKey: log.logKey, live: true }])
  t.equal(registrar.replica.logs().length, 1)
})

t.test('who shows a head that the log’s key did not sign is dropped', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const member = await testbed.replica()
  await testbed.lease(member)
  const toMember = [...registrar.replica.peering.peers.values()][0]
  const [log] = registrar.replica.logs() as [LogView]
  const [peer] = member.registrars as [Peer]
  const forged = { fork: 0, length: 1e9, hash: key(), signature: key() + key(), signer: key() }
  const dropped = once(toMember as Peer, 'close')
  const certificate = signCertificate(testbed.keyPair, { ...log, startedAt: 1, renewedAt: 2 })
  peer.sendLogs([{ certificate, length: 1e9, head: forged }])
  await dropped
  t.equal(registrar.replica.peering.stats.malformed, 1)
  t.equal(registrar.replica.logs()[0]?.logKey, log.logKey)
})

t.test('a replica that claims 2^40 blocks keeps no newcomer waiting', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const liar = await testbed.replica()
  await testbed.lease(liar)
  const [log] = registrar.replica.logs() as [LogView]
  const now = Date.now()
  const certificate = signCertificate(testbed.keyPair, {
    ...log,
    startedAt: 1,
    renewedAt: now,
    endsAt: now + LOG_MS
  })
  let lies = 0
  liar.on('peer', (peer: Peer) => {
    lies++
    peer.sendLogs([{ certificate, length: 2 ** 40 }])
  })
  const newcomer = await testbed.replica({ patience: 60_000 })
  const told = newcomer.peering.peers.has(liar.key) || lies > 0
  await newcomer.synced()
  if (!told && lies === 0) await once(liar, 'peer')
  t.equal(newcomer.directory.size, 1)
  t.ok(newcomer.logs().every(({ offered }) => offered < 1000))
})

t.test('of six hundred certificates of a crash loop few are followed', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const member = await testbed.replica()
  const service = await testbed.replica()
  await testbed.lease(service)
  await shows(member.directory, (all) => all.length === 1)
  const now = Date.now()
  const [peer] = member.registrars as [Peer]
  const begun = (renewedAt: number) =>
    signCertificate(testbed.keyPair, {
      registrarKey: key(),
      logKey: key(),
      startedAt: renewedAt,
      renewedAt
    })
  for (let i = 0; i < 300; i++) peer.sendLogs([{ certificate: begun(now - i * 60_000), length: 0 }])
  await testbed.lease(service, { role: 'b' })
  const ended = registrar.replica.logs().length
  t.ok(ended <= 12, `those that ended are passed over, ${ended} are known`)
  for (let i = 0; i < 300; i++) peer.sendLogs([{ certificate: begun(now + i), length: 0 }])
  await testbed.lease(service, { role: 'c' })
  t.ok(registrar.replica.logs().length <= 64)
  t.ok(registrar.replica.logs().some(({ live }) => live))
  t.equal(service.registrars.length, 1)
  const newcomer = await testbed.replica()
  await shows(newcomer.directory, (all) => all.length === 3 && all.every(({ live }) => live))
})

t.test('a log that alone holds a grant is kept although its certificate has ended', async (t) => {
  const testbed = await Testbed.make(t)
  const first = await testbed.registrar()
  const dir = await testbed.dir()
  const heard = await testbed.replica({ dir })
  await heard.synced()
  const grantee = KeyPair().publicKey
  const terms = { serve: ['*'], consume: [], admin: false, expiresAt: 0 }
  const grant = signGrant(testbed.keyPair.publicKey, testbed.keyPair, grantee, terms)
  await heard.put(grant)
  while (heard.logs()[0]?.behind !== 0 || heard.logs()[0]?.applied === 0) {
    await once(heard, 'applied')
  }
  const lost = first.replica.logs()[0]?.logKey
  await testbed.close(first)
  await testbed.close(heard)
  // In this run its registrar was not heard of.
  const reader = await testbed.replica({ dir })
  const later = Date.now() + 2 * LOG_MS
  const certificate = signCertificate(testbed.keyPair, {
    registrarKey: key(),
    logKey: key(),
    startedAt: later,
    renewedAt: later
  })
  await reader.addCertificate(certificate)
  t.ok(reader.logs().some(({ logKey }) => logKey === lost))
  t.ok(reader.statements.currentFor(grant))
})

t.test(
  'one registrar whose clock is years ahead ends no log of another that just restarts',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const [owner, reader] = await Promise.all([testbed.replica(), testbed.replica()])
    await testbed.lease(owner)
    await shows(reader.directory, (all) => all.length === 1)
    const [log] = registrar.replica.logs() as [LogView]
    await testbed.close(registrar)
    await shows(reader.directory, ([instance]) => instance?.live === false)
    const ahead = Date.now() + 10 * 12 * LOG_MS
    const fields = { registrarKey: key(), logKey: key(), startedAt: ahead, renewedAt: ahead }
    await reader.addCertificate(signCertificate(testbed.keyPair, fields))
    t.equal(reader.logs().length, 2)
    t.ok(reader.logs().some(({ logKey }) => logKey === log.logKey))
    t.equal(reader.directory.size, 1, 'what it said is known as before')
  }
)

t.test('a newcomer gives up what a signed head proves and its holder keeps', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const owner = await testbed.replica()
  await testbed.lease(owner)
  const dir = await testbed.dir()
  const reader = await testbed.replica({ dir })
  await shows(reader.directory, (all) => all.length === 1)
  await testbed.close(reader)
  await testbed.lease(owner, { role: 'unseen' })
  const outsider = new Outsider(testbed, testbed.keyPair.publicKey)
  const { logs: heard } = await introduced(await outsider.meet(await outsider.find('registrars')))
  t.match(heard, [{ head: { length: Number } }])
  await testbed.close(owner)
  await testbed.close(registrar)

  await testbed.replica({ dir })
  // It has to be told within its patience.
  const newcomer = await testbed.replica({ patience: 4000, stall: 500 })
  await shows(newcomer.directory, (all) => all.length === 1)
  const meeting = await outsider.meet(Buffer.from(newcomer.key, 'hex'))
  meeting.tellLogs(heard)
  await newcomer.synced()
  const [log] = newcomer.logs()
  t.match(log, { logKey: heard[0]?.certificate.logKey, live: false })
  t.ok(log && log.offered > log.applied, 'what is not given is known to be there')
  t.equal(newcomer.directory.size, 1)
})

t.test('what only a log that has ended says is written anew by a live registrar', async (t) => {
  const testbed = await Testbed.make(t)
  const first = await testbed.registrar()
  const dir = await testbed.dir()
  const reader = await testbed.replica({ dir })
  await reader.synced()
  const grantee = KeyPair().publicKey
  const terms = { serve: ['*'], consume: [], admin: false, expiresAt: 0 }
  const grant = signGrant(testbed.keyPair.publicKey, testbed.keyPair, grantee, terms)
  await reader.put(grant)
  while (!reader.logs().some(({ behind, applied }) => behind === 0 && applied > 0)) {
    await once(reader, 'applied')
  }
  await testbed.close(reader)
  await testbed.close(first)
  // A month later there is another registrar, which knows nothing of all that, and nobody remembers the grant elsewhere.
  const second = await testbed.registrar()
  const file = join(dir, MEMORY_FILE)
  const memory = JSON.parse(await readFile(file, 'utf8'))
  const signedAt = Date.now() + 2 * LOG_MS
  await writeFile(file, JSON.stringify({ ...memory, grants: [], signedAt }))
  second.replica.statements.dates.hear(signedAt)
  const written = new Promise<void>((resolve) => {
    second.replica.statements.watchAll((statement) => {
      if (statement.signature === grant.signature) resolve()
    })
  })
  const holder = await testbed.replica({ dir, spread: 1 })
  await written
  while (holder.logs().length > 1) await once(holder, 'applied')
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.match(newcomer.logs(), [{ live: true }], 'nobody needs the old log any more')
  t.match(newcomer.statements.currentFor(grant), grant)
})

/** Once the other side has said what it has. */
async function introduced(meeting: Meeting): Promise<Meeting> {
  while (meeting.logs.length === 0) await setTimeout(10)
  return meeting
}
