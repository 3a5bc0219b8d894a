import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { MEMORY_FILE, noMemory } from '../../../lib/registry/log/memory.js'
import type { LogView } from '../../../lib/registry/replica/known-logs.js'
import type { Peer } from '../../../lib/registry/swarm/peer.js'
import { signCertificate } from '../../../lib/registry/trust/certificate.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import { SignedDates } from '../../../lib/registry/trust/signed-dates.js'
import { Testbed } from '../../testbed.js'

const YEAR_MS = 365 * 24 * 60 * 60 * 1000

t.test('the time of a registry is what its own key signed last, or our clock', (t) => {
  let now = 1000
  let uptime = 0
  const dates = new SignedDates(
    () => now,
    () => uptime
  )
  t.equal(dates.now, 1000)
  dates.hear(5000)
  dates.hear(4000)
  t.equal(dates.now, 5000)
  t.equal(dates.newest, 5000)
  uptime = 100.5
  t.equal(dates.now, 5100, 'time goes on there, too')
  t.equal(dates.newest, 5000)
  now = 9000
  t.equal(dates.now, 9000)
  t.equal(dates.latest, 9000 + 24 * 60 * 60 * 1000)
  t.end()
})

t.test('a log is dated after each other one of its registrar that anybody shows', async (t) => {
  const testbed = await Testbed.make(t)
  const registrar = await testbed.registrar()
  const member = await testbed.replica()
  await testbed.lease(member)
  const [own] = registrar.replica.logs() as [LogView]
  const ahead = Date.now() + 10 * YEAR_MS
  const before = signCertificate(testbed.keyPair, {
    registrarKey: own.registrarKey,
    logKey: toHex(KeyPair().publicKey),
    startedAt: ahead,
    renewedAt: ahead
  })
  const news = once([...member.peering.peers.values()][0] ?? member, 'logs')
  await member.addCertificate(before)
  await news
  await testbed.lease(member, { role: 'after' })
  const newcomer = await testbed.replica()
  await newcomer.synced()
  const live = newcomer.logs().filter((log) => log.live)
  t.match(live, [{ logKey: own.logKey }], 'the log that goes on is the live one')
  t.equal(newcomer.directory.size, 2)
})

t.test('a registrar that hears of a later date renews its certificate at once', async (t) => {
  const testbed = await Testbed.make(t)
  const dir = await testbed.dir()
  const registrar = await testbed.registrar({ dir })
  const member = await testbed.replica()
  await testbed.lease(member)
  const [own] = registrar.replica.logs() as [LogView]
  const ahead = Date.now() + 10 * YEAR_MS
  const news = once(member.registrars[0] as Peer, 'logs')
  await member.addCertificate(otherCertificate(testbed, ahead))
  await news
  t.match(
    member.logs().filter((log) => log.live),
    [{ logKey: own.logKey }]
  )
  const newcomer = await testbed.replica()
  await newcomer.synced()
  t.match(
    newcomer.logs().filter((log) => log.live),
    [{ logKey: own.logKey }]
  )
  await testbed.close(registrar)
  t.ok(
    newcomer.logs().some(({ logKey }) => logKey === own.logKey),
    'it is of use when it is gone, too'
  )

  const again = await testbed.registrar({ dir })
  await testbed.lease(member, { role: 'after' })
  const stranger = await testbed.replica()
  await stranger.synced()
  t.match(
    stranger.logs().filter((log) => log.live),
    [{ logKey: own.logKey }]
  )
  await testbed.close(again)
  t.ok(
    stranger.logs().some(({ logKey }) => logKey === own.logKey),
    'as it is after a restart'
  )
})

t.test(
  'the log of a registrar that is connected counts whatever its certificate says',
  async (t) => {
    const testbed = await Testbed.make(t)
    const registrar = await testbed.registrar()
    const owner = await testbed.replica()
    await testbed.lease(owner)
    const dir = await testbed.dir()
    const signedAt = Date.now() + 10 * YEAR_MS
    await writeFile(join(dir, MEMORY_FILE), JSON.stringify({ ...noMemory(), signedAt }))
    const reader = await testbed.replica({ dir })
    await reader.synced()
    t.equal(reader.statements.dates.newest, signedAt)
    t.match(reader.logs(), [{ logKey: registrar.replica.logs()[0]?.logKey, live: true }])
    t.equal(reader.directory.size, 1)
  }
)

t.test(
  'a registrar takes no revocation that is dated far ahead, and readers go on reading',
  async (t) => {
    const testbed = await Testbed.make(t)
    const { keyPair } = testbed
    const [admin, subject] = [KeyPair(), KeyPair()]
    const registrar = await testbed.registrar()
    const member = await testbed.replica()
    await member.synced()
    const terms = { serve: [], consume: ['*'], admin: false, expiresAt: 0 }
    await member.put(
      signGrant(keyPair.publicKey, keyPair, admin.publicKey, { ...terms, admin: true })
    )
    const far = signRevocation(keyPair.publicKey, admin, subject.publicKey, 2 ** 52)
    await t.rejects(member.put(far), { code: 'BAD_DATE' })
    t.notOk(registrar.replica.statements.add(far), 'nor from another’s log')
    t.ok(member.statements.add(far), 'a reader may have a wrong clock, and reads what is written')
    t.notOk(member.membership.learn({ ...far, issuedAt: far.issuedAt - 1 }))

    const near = signRevocation(keyPair.publicKey, admin, subject.publicKey, Date.now() + 3_600_000)
    await member.put(near)
    // The registry itself may be ahead, and moves the time with it.
    const ahead = Date.now() + YEAR_MS
    await member.put(signGrant(keyPair.publicKey, keyPair, subject.publicKey, terms, ahead))
    await member.put(signRevocation(keyPair.publicKey, admin, subject.publicKey, ahead + 1))
  }
)

/** Of another registrar. */
function otherCertificate({ keyPair }: Testbed, date: number) {
  const key = () => toHex(KeyPair().publicKey)
  const fields = { registrarKey: key(), logKey: key(), startedAt: date, renewedAt: date }
  return signCertificate(keyPair, fields)
}
