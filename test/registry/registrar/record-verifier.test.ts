import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { recordVerifier } from '../../../lib/registry/registrar/record-verifier.js'
import { signRecord } from '../../../lib/registry/trust/record.js'
import { restWhile } from '../../rest.js'

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

type Crowd = ReturnType<typeof crowd>

function ask(verifier: ReturnType<typeof recordVerifier>, records: Crowd): Promise<boolean[]> {
  return Promise.all(
    records.map((record) => verifier.verify({ record, json: JSON.stringify(record) }))
  )
}

const truth = (records: Crowd) => records.map((_, i) => i % 3 !== 0)

for (const cores of [1, 2]) {
  t.test(`a crowd's signatures are told apart, on ${cores} core(s)`, async (t) => {
    const verifier = recordVerifier({ cores })
    const records = crowd(50)
    t.strictSame(await ask(verifier, records), truth(records))
    await verifier.started()
    t.strictSame(await ask(verifier, records), truth(records))
    await verifier.close()
  })
}

t.test('the first crowd does not wait for the thread that it starts', async (t) => {
  const verifier = recordVerifier({ cores: 2 })
  const records = crowd(50)
  const next = new Promise<null>((resolve) => setImmediate(() => resolve(null)))
  t.strictSame(await Promise.race([ask(verifier, records), next]), truth(records))
  await verifier.close()
})

t.test(
  'who waits when it is closed is answered all the same, and so is who comes later',
  async (t) => {
    const verifier = recordVerifier({ cores: 2 })
    const records = crowd(50)
    await ask(verifier, records)
    await verifier.started()
    const waiting = ask(verifier, records)
    await verifier.close()
    t.strictSame(await waiting, truth(records))
    t.strictSame(await ask(verifier, records), truth(records))
  }
)

t.test('a thread with nothing to do ends, and the next crowd starts another', async (t) => {
  const verifier = recordVerifier({ cores: 2, idleMs: 50 })
  const records = crowd(50)
  for (let round = 0; round < 2; round++) {
    t.strictSame(await ask(verifier, records), truth(records))
    await verifier.started()
    t.ok(verifier.isThreaded)
    t.strictSame(await ask(verifier, records), truth(records))
    await restWhile(() => verifier.isThreaded)
  }
  await verifier.close()
})
