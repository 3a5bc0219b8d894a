import t from 'tap'
import { KeyPair } from '../lib/core/keys.js'
import { isPublicKey } from '../lib/public-key.js'

t.test('a public key is told from most of what is none', async (t) => {
  for (let i = 0; i < 50; i++) t.ok(isPublicKey(KeyPair().publicKey))
  const others = Array.from({ length: 200 }, () => isPublicKey(KeyPair().secretKey.subarray(0, 32)))
  // One in sixteen passes: that of 200 more than 60 do has a chance of less than 10 to the -20.
  t.ok(others.filter(Boolean).length < 60)
})
