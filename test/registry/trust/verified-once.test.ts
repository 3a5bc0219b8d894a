import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { checkCertificate, signCertificate } from '../../../lib/registry/trust/certificate.js'
import { VerifiedOnce } from '../../../lib/registry/trust/verified-once.js'

t.test('what holds is verified once, and what does not is never remembered', (t) => {
  const known = new VerifiedOnce()
  let verified = 0
  const verify = (holds: boolean) => () => {
    verified++
    return holds
  }
  t.ok(known.holds('a', verify(true)))
  t.ok(known.holds('a', verify(false)))
  t.equal(verified, 1)
  t.notOk(known.holds('b', verify(false)))
  t.notOk(known.holds('b', verify(false)))
  t.equal(verified, 3)
  for (let i = 0; i < 5000; i++) known.holds(`${i}`, verify(true))
  t.notOk(known.holds('a', verify(false)), 'it is bounded')
  t.end()
})

t.test('a certificate that is known does not vouch for one that was changed', (t) => {
  const registry = KeyPair()
  const key = toHex(KeyPair().publicKey)
  const fields = { registrarKey: key, logKey: key, startedAt: 1, renewedAt: 2 }
  const certificate = signCertificate(registry, fields)
  checkCertificate({ ...certificate }, registry.publicKey)
  const changed = { ...certificate, renewedAt: 3 }
  t.throws(() => checkCertificate(changed, registry.publicKey), { code: 'BAD_SIGNATURE' })
  t.end()
})
