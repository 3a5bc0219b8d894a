import { once } from 'node:events'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import type { LogView } from '../../../lib/registry/replica/known-logs.js'
import { signCertificate } from '../../../lib/registry/trust/certificate.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import { SignedDates } from '../../../lib/registry/trust/signed-dates.js'
import { Testbed } from '../../testbed.js'

const YEAR_MS = 365 * 24 * 60 * 60 * 1000

t.test('the time of a registry is what its own key signed last, or our clock', (t) => {
  let now = 1000
  const dates = new SignedDates(() => now)
  t.equal(dates.now, 1000)
  dates.hear(5000)
  dates.hear(4000)
  t.equal(dates.now, 5000)
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
