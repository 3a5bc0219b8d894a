import { SeaportError } from '../../lib/core/errors.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { boxKeyOf, boxKeyPairOf } from '../../lib/core/sealed-box.js'
import { decodeBody, encodeBody } from '../../lib/messaging/body.js'
import {
  decodeLetter,
  encodeLetter,
  isLetterSigned,
  openLetter,
  writeLetter
} from '../../lib/messaging/mail/letter.js'
import {
  decodeReceipt,
  encodeReceipt,
  isReceiptSigned,
  signReceipt
} from '../../lib/messaging/mail/receipt.js'
import type { Target } from './mutants.js'

const registry = KeyPair().publicKey
const [alice, bob] = [KeyPair(), KeyPair()]
const keys = [boxKeyPairOf(bob)]
const id = '07'.repeat(32)
const sentAt = Date.UTC(2030, 0, 1)

const letter = encodeLetter(
  writeLetter({
    registry,
    keyPair: alice,
    id,
    to: toHex(bob.publicKey),
    sealTo: boxKeyOf(bob.publicKey),
    sentAt,
    expiresAt: sentAt + 1000,
    type: 'note',
    body: encodeBody({ text: 'hello' })
  })
)
const receipt = encodeReceipt(
  signReceipt(registry, bob, {
    id,
    to: toHex(alice.publicKey),
    status: 'refused',
    code: 'INBOX_FULL',
    at: sentAt
  })
)

export const mailTargets: Record<string, Target> = {
  'a letter': {
    valid: [letter],
    read([bytes]) {
      const read = decodeLetter(bytes as Buffer)
      if (!isLetterSigned(registry, read)) throw SeaportError.BAD_SIGNATURE('not signed')
      const content = openLetter(read, keys)
      if (content) decodeBody(content.body)
      return bytes
    },
    mayAccept: (bytes) => (bytes as Buffer).equals(letter)
  },
  'a letter that whoever seals it signs': {
    valid: [letter],
    read([bytes]) {
      const content = openLetter(decodeLetter(bytes as Buffer), keys)
      return content && decodeBody(content.body)
    }
  },
  'a receipt': {
    valid: [receipt],
    read([bytes]) {
      const read = decodeReceipt(bytes as Buffer)
      if (!isReceiptSigned(registry, read)) throw SeaportError.BAD_SIGNATURE('not signed')
      return bytes
    },
    mayAccept: (bytes) => (bytes as Buffer).equals(receipt)
  }
}
