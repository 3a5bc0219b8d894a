import { once } from 'node:events'
import t from 'tap'
import type { LogView } from '../../../lib/registry/replica/known-logs.js'
import type { Peer } from '../../../lib/registry/swarm/peer.js'
import { signCertificate } from '../../../lib/registry/trust/certificate.js'
import { signSnapshot } from '../../../lib/registry/trust/snapshot.js'
import { Testbed } from '../../testbed.js'
import { registerCrowd } from '../crowd.js'

/** More than a newcomer should have to read block by block. */
const CROWD = 1100

function certificateOf({ keyPair }: Testbed, { logKey, registrarKey }: LogView) {
  const now = Date.now()
  const fields = { logKey, registrarKey, private: false, startedAt: now, renewedAt: now }
  return signCertificate(keyPair, fields)
}

t.test(
  'what a newcomer took as a snapshot it passes on, when every registrar and everybody else is gone',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    await registerCrowd(testbed, CROWD)
    // Who comes first has the registrar make a snapshot; who comes then reads it.
    const first = await testbed.replica()
    await first.synced()
    t.equal(first.directory.size, CROWD)
    const [log] = first.logs()
    const [peer] = first.registrars as [Peer]
    while (registrar.replica.snapshotOf(log?.logKey ?? '') === null) await once(peer, 'logs')
    const second = await testbed.replica()
    await second.synced()
    t.equal(second.directory.size, CROWD)
    t.ok(second.snapshotOf(log?.logKey ?? ''))
    await testbed.close(registrar)
    await testbed.close(first)

    const third = await testbed.replica()
    await third.synced()
    t.equal(third.directory.size, CROWD)
    t.equal(third.directory.resolve('crowd-7', '1.x').length, CROWD / 10, 'and all are signed')
    t.ok(third.directory.list().every(({ live }) => !live))
  }
)

t.test('a snapshot that a peer made itself is not taken, and the peer is dropped', async (t) => {
  const testbed = await Testbed.make(t)
  await testbed.registrar()
  const owner = await testbed.replica()
  await testbed.lease(owner)
  const liar = await testbed.replica()
  await liar.synced()
  const victim = await testbed.replica()
  await victim.synced()
  const [log] = liar.logs()
  const peer = liar.peering.peers.get(victim.key) ?? victim.peering.peers.get(liar.key)
  const toVictim = liar.peering.peers.get(victim.key)
  if (!peer || !toVictim || !log) throw new Error('they are not connected')
  const empty = {
    logKey: log.logKey,
    length: log.applied + 5000,
    key: log.logKey,
    blocks: 0,
    values: 0
  }
  const forged = { ...signSnapshot(testbed.keyPair, empty), length: log.applied + 6000 }
  const closed = once(toVictim, 'close')
  const certificate = certificateOf(testbed, log)
  toVictim.sendLogs([{ certificate, length: log.applied, snapshot: forged }])
  await closed
  t.equal(victim.directory.size, 1)
  t.equal(victim.peering.stats.malformed, 1)
})

t.test('a snapshot of one log is not taken for another', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const victim = await testbed.replica()
  await victim.synced()
  const peer = [...registrar.replica.peering.peers.values()][0]
  const [log] = registrar.replica.logs() as [LogView]
  const certificate = certificateOf(testbed, log)
  const fields = { logKey: victim.key, length: 9, key: victim.key, blocks: 0, values: 0 }
  const closed = once(victim, 'registrar-lost')
  peer?.sendLogs([
    { certificate, length: log.applied, snapshot: signSnapshot(testbed.keyPair, fields) }
  ])
  await closed
  t.equal(victim.peering.stats.malformed, 1)
})
