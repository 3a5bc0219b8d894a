import t from 'tap'
import { KeyPair, toHex } from '../../lib/keys.js'
import { signRecord } from '../../lib/registry/record.js'
import { Verifier } from '../../lib/registry/verifier.js'

const registry = KeyPair().publicKey
const fields = {
  role: 'api',
  version: '1.0.0',
  tags: [],
  status: 'passing',
  direct: [],
  holder: toHex(registry)
} as const

function crowd(size: number) {
  return Array.from({ length: size }, (_, i) => {
    const record = signRecord(registry, KeyPair(), { ...fields, tags: [], direct: [], seq: i + 1 })
    return i % 3 === 0 ? { ...record, version: '6.6.6' } : record
  })
}

for (const cores of [1, 2]) {
  t.test(`a crowd's signatures are told apart, on ${cores} core(s)`, async (t) => {
    const verifier = new Verifier(cores)
    const records = crowd(50)
    const holds = await Promise.all(
      records.map((record) => verifier.verify(record, JSON.stringify(record)))
    )
    t.strictSame(
      holds,
      records.map((_, i) => i % 3 !== 0)
    )
    await verifier.close()
  })
}

t.test(
  'who waits when it is closed is answered all the same, and so is who comes later',
  async (t) => {
    const verifier = new Verifier(2)
    const records = crowd(50)
    const ask = () =>
      Promise.all(records.map((record) => verifier.verify(record, JSON.stringify(record))))
    const waiting = ask()
    await verifier.close()
    for (const holds of [await waiting, await ask()]) {
      t.equal(holds.filter(Boolean).length, records.filter((_, i) => i % 3 !== 0).length)
    }
  }
)
