import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import {
  decodeReceipt,
  encodeReceipt,
  isReceiptSigned,
  MAX_RECEIPT_BYTES,
  signReceipt
} from '../../../lib/messaging/mail/receipt.js'

const registry = KeyPair().publicKey
const bob = KeyPair()
const fields = { id: '01'.repeat(32), to: '02'.repeat(32), at: Date.UTC(2030, 0, 1) }
const delivered = signReceipt(registry, bob, { ...fields, status: 'delivered', code: '' })
const refused = signReceipt(registry, bob, { ...fields, status: 'refused', code: 'INBOX_FULL' })

t.test('a receipt comes out of its bytes as it was signed', async (t) => {
  for (const receipt of [delivered, refused]) {
    const bytes = encodeReceipt(receipt)
    t.ok(bytes.byteLength <= MAX_RECEIPT_BYTES)
    t.same(decodeReceipt(bytes), receipt)
    t.ok(isReceiptSigned(registry, decodeReceipt(bytes)))
  }
  t.equal(delivered.from, toHex(bob.publicKey))
})

t.test('nobody signs for another, nor turns one receipt into another', async (t) => {
  t.notOk(isReceiptSigned(KeyPair().publicKey, delivered), 'another registry')
  const other = toHex(KeyPair().publicKey)
  for (const changed of [
    { id: other },
    { from: other },
    { to: other },
    { at: fields.at + 1 },
    { status: 'queued' as const },
    { code: 'UNREADABLE' }
  ]) {
    t.notOk(isReceiptSigned(registry, { ...refused, ...changed }), Object.keys(changed).join())
  }
})

t.test('what is no receipt is refused', async (t) => {
  const bytes = encodeReceipt(refused)
  const lower = Buffer.from(bytes)
  lower[106] = 'a'.charCodeAt(0)
  const unknown = Buffer.from(bytes)
  unknown[1] = 9
  for (const bad of [
    Buffer.alloc(0),
    bytes.subarray(1),
    bytes.subarray(0, -1),
    Buffer.concat([bytes, Buffer.alloc(64)]),
    lower,
    unknown
  ]) {
    t.throws(() => decodeReceipt(bad), { code: 'BAD_MESSAGE' })
  }
})
