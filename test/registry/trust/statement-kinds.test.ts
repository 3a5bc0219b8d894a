import t from 'tap'
import type { SeaportError } from '../../../lib/core/errors.js'
import { c } from '../../../lib/core/holepunch.js'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { isPrintable } from '../../../lib/core/printable.js'
import { answerEncoding } from '../../../lib/registry/swarm/protocol.js'
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
  [
    'lists within lists, deeper than everybody can read',
    { ...good, later: JSON.parse('['.repeat(40) + ']'.repeat(40)) },
    'BAD_MESSAGE'
  ],
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

t.test('a kind that lacks something is refused, and what it lacks is named', async (t) => {
  const { merge: _, ...incomplete } = { ...NOTE, name: undefined }
  t.throws(() => new StatementKinds([incomplete as never]), {
    message: 'USAGE: a kind of statements that kinds has lacks name, merge'
  })
  t.throws(() => new StatementKinds([{} as never]), { code: 'USAGE' })
})

function certificate() {
  const registrarKey = toHex(publicKey)
  const fields = { registrarKey, logKey: registrarKey, private: false, startedAt: 1, renewedAt: 1 }
  return signCertificate(registry, fields)
}

t.test('an unknown type is repeated as far as it can be shown', async (t) => {
  const type = `\x1b[31m${'a'.repeat(10_000)}`
  try {
    parse({ ...good, type })
    t.fail('it is unknown')
  } catch (error) {
    const { code, text } = error as SeaportError
    t.equal(code, 'UNKNOWN_KIND')
    t.ok(isPrintable(text) && text.length < 200, text)
  }
})

t.test('an answer’s text fits into its message, however long it is', async (t) => {
  for (const text of ['a'.repeat(10_000), '漢'.repeat(10_000), '😀'.repeat(10_000)]) {
    const sent = c.encode(answerEncoding, { id: 1, code: 'REFUSED', text, seq: 0 })
    t.ok(text.startsWith(c.decode(answerEncoding, sent).text.slice(0, 300)))
  }
})
