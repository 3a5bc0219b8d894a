import t from 'tap'
import { crypto } from '../../lib/core/holepunch.js'
import { checkKeyPair, KeyPair, parseKey, randomSeed, toHex } from '../../lib/core/keys.js'

const HEX = '5b64a8956d8f2404c4f4b4e6f402ef439f610f7fe297718093641359130b0d45'
/** The same 32 bytes, as the z32 package writes them. */
const Z32 = 'mp1ktfmpth1yjt8wsuuxeyzxeqxsnd59hkmzdyrucoji1rambino'

t.test('a key pair is the one that libsodium makes of its seed', async (t) => {
  for (let i = 0; i < 20; i++) {
    const seed = randomSeed()
    t.same(KeyPair(seed), crypto.keyPair(seed))
  }
  const { publicKey, secretKey } = KeyPair('01'.repeat(32))
  const message = Buffer.from('signed by one, verified by the other')
  t.ok(crypto.verify(message, crypto.sign(message, secretKey), publicKey))
})

t.test('without a seed each key pair is another', async (t) => {
  t.notSame(KeyPair().publicKey, KeyPair().publicKey)
})

t.test('a key is read from hex, z-base-32 and bytes', async (t) => {
  for (const key of [HEX, HEX.toUpperCase(), Z32, Z32.toUpperCase(), ` ${Z32}\n`]) {
    t.equal(toHex(parseKey(key)), HEX, key)
  }
  t.equal(toHex(parseKey(new Uint8Array(Buffer.from(HEX, 'hex')))), HEX)
})

t.test('what is no key is refused, and a seed is not repeated', async (t) => {
  for (const key of ['', 'secret', HEX.slice(1), `${HEX}0`, Z32.slice(1), `${Z32.slice(1)}l`]) {
    const error = t.throws(() => parseKey(key, 'seed'), { code: 'BAD_KEY' })
    if (key !== '') t.notMatch(String(error), key)
  }
  t.throws(() => parseKey(Buffer.alloc(31)), { code: 'BAD_KEY' })
})

t.test('what is no key pair is refused', async (t) => {
  const { publicKey, secretKey } = KeyPair()
  t.equal(checkKeyPair({ publicKey, secretKey }).publicKey, publicKey)
  for (const pair of [
    { publicKey, secretKey: KeyPair().secretKey },
    { publicKey, secretKey: secretKey.subarray(1) },
    { publicKey: secretKey, secretKey }
  ]) {
    t.throws(() => checkKeyPair(pair), { code: 'BAD_KEY' })
  }
})
