import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { signCertificate } from '../../../lib/registry/trust/certificate.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { NOTE, note } from '../notes.js'
import { record } from '../records.js'

const registry = KeyPair()
const { publicKey } = registry
const kinds = new StatementKinds([NOTE])
const parse = (value: unknown) => kinds.parse(JSON.stringify(value), publicKey)
const good = note(publicKey, registry)

t.test('a statement is read by its kind', async (t) => {
  t.strictSame(parse(good), good)
  t.equal(kinds.get(NOTE.type), NOTE)
  t.equal(kinds.get('example/other/1'), null)
})

const REFUSED: [what: string, value: unknown, code: string][] = [
  ['an unknown kind', { ...good, type: 'example/other/1' }, 'UNKNOWN_KIND'],
  ['no object', [good], 'BAD_MESSAGE'],
  ['no type', { ...good, type: 7 }, 'BAD_MESSAGE'],
  ['a bad field', { ...good, title: 7 }, 'BAD_MESSAGE'],
  ['another registry', note(KeyPair().publicKey, registry), 'BAD_MESSAGE'],
  ['too much', note(publicKey, registry, { text: 'x'.repeat(1024) }), 'BAD_MESSAGE'],
  ['other words than were signed', { ...good, text: 'at one' }, 'BAD_SIGNATURE'],
  [
    'a signature in another spelling',
    { ...good, signature: `${good.signature}00` },
    'BAD_SIGNATURE'
  ],
  ['a record, which takes a lease', record(), 'BAD_MESSAGE'],
  ['a certificate, which no log holds', certificate(), 'BAD_MESSAGE']
]

for (const [what, value, code] of REFUSED) {
  t.test(`${what} is refused with ${code}`, async (t) => {
    t.throws(() => parse(value), { code })
  })
}

t.test('no kind may be called as another, or be larger than a message', async (t) => {
  t.throws(() => new StatementKinds([NOTE, NOTE]), { code: 'USAGE' })
  const grant = { ...NOTE, type: 'hyperseaport/grant/1' }
  t.throws(() => new StatementKinds([grant]), { code: 'USAGE' })
  t.throws(() => new StatementKinds([{ ...NOTE, maxBytes: 2 ** 20 }]), { code: 'USAGE' })
})

function certificate() {
  const registrarKey = toHex(publicKey)
  const fields = { registrarKey, logKey: registrarKey, private: false, startedAt: 1, renewedAt: 1 }
  return signCertificate(registry, fields)
}
