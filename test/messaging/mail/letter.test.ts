import { randomBytes } from 'node:crypto'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { boxKeyOf, boxKeyPair, boxKeyPairOf, seal, unseal } from '../../../lib/core/sealed-box.js'
import { decodeBody, encodeBody } from '../../../lib/messaging/body.js'
import {
  checkLetterDates,
  decodeLetter,
  encodeLetter,
  isLetterExpired,
  isLetterSigned,
  isToRole,
  type LetterTerms,
  MAX_LETTER_BODY_BYTES,
  MAX_LETTER_BYTES,
  openLetter,
  writeLetter
} from '../../../lib/messaging/mail/letter.js'

const registry = KeyPair().publicKey
const alice = KeyPair()
const bob = KeyPair()
const NOW = Date.UTC(2030, 0, 1)
const DAY = 86_400_000

function write(body: unknown, terms: Partial<LetterTerms> = {}) {
  return writeLetter({
    registry,
    keyPair: alice,
    id: toHex(randomBytes(32)),
    to: toHex(bob.publicKey),
    sealTo: boxKeyOf(bob.publicKey),
    sentAt: NOW,
    expiresAt: NOW + DAY,
    type: 'note',
    body: encodeBody(body),
    ...terms
  })
}

t.test(
  'a letter comes out of its bytes as it was written, and only its receiver opens it',
  async (t) => {
    for (const body of ['hello', { a: [1, null] }, Buffer.from([1, 2, 3]), undefined]) {
      const letter = write(body)
      const read = decodeLetter(encodeLetter(letter))
      t.same(read, letter)
      t.ok(isLetterSigned(registry, encodeLetter(read)))
      const content = openLetter(read, [boxKeyPairOf(KeyPair()), boxKeyPairOf(bob)])
      t.equal(content?.type, 'note')
      t.same(content && decodeBody(content.body), body)
      t.equal(openLetter(read, [boxKeyPairOf(alice)]), null, 'not even who wrote it')
    }
  }
)

t.test('a letter that was sealed to a prekey does not open with the lasting key', async (t) => {
  const prekey = boxKeyPair()
  const letter = write('secret', { sealTo: prekey.publicKey, isToRole: true })
  t.equal(openLetter(letter, [boxKeyPairOf(bob)]), null)
  t.ok(openLetter(letter, [prekey]))
  t.ok(isToRole(letter))
  t.notOk(isToRole(write('other')))
})

t.test('its length says little of what is in it', async (t) => {
  const lengths = (size: number) => encodeLetter(write(Buffer.alloc(size))).byteLength
  t.equal(lengths(0), lengths(100))
  t.equal(lengths(1000), lengths(1500))
  t.equal(lengths(MAX_LETTER_BODY_BYTES), MAX_LETTER_BYTES)
  t.throws(() => write(Buffer.alloc(MAX_LETTER_BODY_BYTES * 2)), { code: 'TOO_LARGE' })
})

t.test('each field is covered by the signature, and so is the registry', async (t) => {
  const letter = write('hello', {})
  const other = toHex(KeyPair().publicKey)
  t.notOk(isLetterSigned(KeyPair().publicKey, encodeLetter(letter)))
  for (const changed of [
    { id: other },
    { from: other },
    { to: other },
    { sentAt: letter.sentAt + 1 },
    { expiresAt: letter.expiresAt + 1 },
    { flags: 1 },
    { box: seal(Buffer.alloc(256), boxKeyOf(bob.publicKey)) }
  ]) {
    t.notOk(
      isLetterSigned(registry, encodeLetter({ ...letter, ...changed })),
      Object.keys(changed).join()
    )
  }
})

t.test('nobody passes off the sealed words of another as his own', async (t) => {
  const { box } = write('I owe you 100')
  const mallory = KeyPair()
  const taken = { ...write('x', { keyPair: mallory }), box }
  const bobs = [boxKeyPairOf(bob)]
  t.throws(() => openLetter(taken, bobs), { code: 'BAD_MESSAGE' })
  const repeated = { ...write('x'), box }
  t.throws(() => openLetter(repeated, bobs), { code: 'BAD_MESSAGE' }, 'nor under another id')
})

t.test(
  'a letter is of use for 30 days at most, and clocks may differ by five minutes',
  async (t) => {
    const minute = 60_000
    const check = (terms: Partial<LetterTerms>, now = NOW) =>
      checkLetterDates(write('x', terms), now)
    t.doesNotThrow(() => check({ sentAt: NOW + 4 * minute }))
    t.throws(() => check({ sentAt: NOW + 6 * minute }), { code: 'BAD_DATE' })
    t.throws(() => check({ expiresAt: NOW }), { code: 'BAD_DATE' })
    t.throws(() => check({ expiresAt: NOW + 31 * DAY }), { code: 'BAD_DATE' })
    t.notOk(isLetterExpired(write('x'), NOW + DAY + 4 * minute))
    t.ok(isLetterExpired(write('x'), NOW + DAY + 6 * minute))
  }
)

t.test('what is no letter is refused', async (t) => {
  const bytes = encodeLetter(write('hello'))
  for (const bad of [
    Buffer.alloc(0),
    bytes.subarray(0, 100),
    bytes.subarray(0, -1),
    Buffer.concat([bytes, Buffer.alloc(1)]),
    Buffer.concat([Buffer.from([2]), bytes.subarray(1)]),
    Buffer.alloc(MAX_LETTER_BYTES + 1, 1)
  ]) {
    t.throws(() => decodeLetter(bad), { code: 'BAD_MESSAGE' })
  }
})

t.test(
  'a sealed message opens with its own pair alone, and nothing is sealed to what is no key',
  async (t) => {
    const pair = boxKeyPair()
    const sealed = seal(Buffer.from('words'), pair.publicKey)
    t.same(unseal(sealed, pair), Buffer.from('words'))
    t.equal(unseal(sealed, boxKeyPair()), null)
    t.equal(unseal(sealed.subarray(1), pair), null)
    t.equal(unseal(Buffer.alloc(3), pair), null)
    t.throws(() => boxKeyOf(Buffer.alloc(32, 255)), { code: 'BAD_KEY' })
  }
)
