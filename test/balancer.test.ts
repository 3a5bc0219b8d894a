import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Balancer, first, roundRobin } from '../lib/balancer.js'

const candidate = fc.record({
  name: fc.uuid(),
  version: fc.constantFrom('1.0.0', '1.1.0', '2.0.0'),
  live: fc.boolean()
})
const candidates = fc.uniqueArray(candidate, { selector: ({ name }) => name, maxLength: 12 })

for (const [name, balancer] of Object.entries({ first, roundRobin } satisfies Record<
  string,
  Balancer
>)) {
  t.test(`${name} returns every candidate, and none twice`, async () => {
    fc.assert(
      fc.property(candidates, fc.nat(), (candidates, dial) => {
        const ordered = balancer(candidates, dial)
        assert.deepEqual(new Set(ordered), new Set(candidates))
        assert.equal(ordered.length, candidates.length)
      })
    )
  })
}

t.test('round-robin takes no turns with an instance that fails', async (t) => {
  const candidates = [
    { name: 'a', version: '1.0.0' },
    { name: 'b', version: '1.0.0' },
    { name: 'failing', version: '1.0.0', status: 'failing' as const }
  ]
  for (const dial of [0, 1, 2, 3]) t.equal(names(roundRobin(candidates, dial))[2], 'failing')
})

t.test('first always tries the best first', async (t) => {
  const candidates = ['a', 'b'].map((name) => ({ name, version: '1.0.0' }))
  for (const dial of [0, 1, 2]) t.same(names(first(candidates, dial)), ['a', 'b'])
})

t.test('round-robin takes turns among the newest, and keeps the older behind them', async (t) => {
  const candidates = [
    { name: 'a', version: '2.0.0', live: true },
    { name: 'b', version: '2.0.0', live: true },
    { name: 'c', version: '1.0.0', live: true },
    { name: 'd', version: '1.0.0', live: true },
    { name: 'e', version: '2.0.0', live: false }
  ]
  t.same(
    [0, 1, 2].map((dial) => names(roundRobin(candidates, dial)).join('')),
    ['abcde', 'badce', 'abcde']
  )
})

t.test('round-robin gives each of the newest the same share', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(1_000_000), (size, start) => {
      const candidates = Array.from({ length: size }, (_, name) => ({ name, version: '1.0.0' }))
      const chosen = candidates.map((_, i) => roundRobin(candidates, start + i)[0]?.name)
      assert.equal(new Set(chosen).size, size)
    })
  )
})

function names(candidates: { name: string }[]) {
  return candidates.map(({ name }) => name)
}
