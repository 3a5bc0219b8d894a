import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import {
  BALANCE_MODES,
  type BalanceContext,
  type BalanceMode,
  balancerOf,
  type Measurement
} from '../../lib/dialing/balancer.js'

const candidate = fc.record({
  servicePublicKey: fc.uuid(),
  version: fc.constantFrom('1.0.0', '1.1.0', '2.0.0'),
  live: fc.boolean(),
  status: fc.constantFrom('passing' as const, 'failing' as const, 'draining' as const)
})
const candidates = fc.uniqueArray(candidate, {
  selector: ({ servicePublicKey }) => servicePublicKey,
  maxLength: 12
})
const context: fc.Arbitrary<BalanceContext> = fc.record({
  dial: fc.nat(),
  random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }).map((value) => () => value),
  measure: fc.func(
    fc.record({ inFlight: fc.nat(100), latency: fc.option(fc.double({ min: 0, max: 1e4 })) })
  ),
  consumerKey: fc.uuid(),
  versions: fc.constantFrom('newest' as const, 'all' as const)
})

for (const mode of BALANCE_MODES) {
  t.test(`${mode} returns every candidate, and none twice`, async () => {
    fc.assert(
      fc.property(candidates, context, (candidates, context) => {
        const ordered = balancerOf(mode)(candidates, context)
        assert.deepEqual(new Set(ordered), new Set(candidates))
        assert.equal(ordered.length, candidates.length)
      })
    )
  })

  t.test(`${mode} keeps what is older, or not known to live and work, behind`, async (t) => {
    const instances = [
      { servicePublicKey: 'new', version: '2.0.0', live: true },
      { servicePublicKey: 'old', version: '1.0.0', live: true },
      { servicePublicKey: 'unsure', version: '2.0.0', live: false },
      { servicePublicKey: 'failing', version: '2.0.0', live: true, status: 'failing' as const },
      { servicePublicKey: 'draining', version: '2.0.0', live: true, status: 'draining' as const }
    ]
    for (let dial = 0; dial < 10; dial++) {
      const ordered = balancerOf(mode)(instances, given({ dial, consumerKey: String(dial) }))
      t.same(keys(ordered), keys(instances))
    }
  })
}

t.test('versions of an app that run beside each other have equal shares', async (t) => {
  const app = { host: 'a', slot: 0, release: 'b' }
  const instances = [
    { servicePublicKey: 'new', version: '2.0.0', live: true, app },
    { servicePublicKey: 'old', version: '1.0.0', live: true, app },
    { servicePublicKey: 'other', version: '1.0.0', live: true, app },
    { servicePublicKey: 'draining', version: '2.0.0', live: true, app, status: 'draining' as const }
  ]
  const order = (dial: number) =>
    keys(balancerOf('round-robin')(instances, given({ dial, consumerKey: '' })))
  t.same(
    [0, 1, 2].map((dial) => order(dial)[0]),
    ['new', 'old', 'other']
  )
  t.equal(order(1).at(-1), 'draining')
})

t.test('an unknown mode is an error that names those there are', async (t) => {
  t.throws(() => balancerOf('fastest' as BalanceMode), {
    code: 'USAGE',
    message: /p2c, first, round-robin, hash, static-first.*not "fastest"/
  })
  t.throws(() => balancerOf('toString' as BalanceMode), { code: 'USAGE' })
})

t.test('first always tries the best first', async (t) => {
  for (const dial of [0, 1, 2]) {
    t.same(keys(balancerOf('first')(replicas(2), given({ dial }))), ['0', '1'])
  }
})

t.test('round-robin gives each of the newest the same share', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(1_000_000), (size, start) => {
      const chosen = replicas(size).map((_, i) => choose('round-robin', size, { dial: start + i }))
      assert.equal(new Set(chosen).size, size)
    })
  )
})

t.test('with versions "all" each version gets its share', async (t) => {
  const instances = ['2.0.0', '1.1.0', '1.0.0'].map((version, i) => ({
    servicePublicKey: String(i),
    version
  }))
  const chosen = [0, 1, 2].map((dial) => {
    const ordered = balancerOf('round-robin')(instances, given({ dial, versions: 'all' }))
    return ordered[0]?.version
  })
  t.same(chosen, ['2.0.0', '1.1.0', '1.0.0'])
})

for (const size of [2, 3, 7]) {
  t.test(`p2c spreads evenly over ${size} that are equal, as first choice and second`, async () => {
    const firsts = new Map<string, number>()
    const seconds = new Map<string, number>()
    const random = pseudorandom(size)
    for (let i = 0; i < DRAWS; i++) {
      const [one = '', other = ''] = keys(balancerOf('p2c')(replicas(size), given({ random })))
      count(firsts, one)
      count(seconds, other)
    }
    assertEven(firsts, size)
    assertEven(seconds, size)
  })

  t.test(`hash spreads consumers evenly over ${size}`, async () => {
    const chosen = new Map<string, number>()
    for (let i = 0; i < DRAWS; i++) count(chosen, choose('hash', size, { consumerKey: `${i}` }))
    assertEven(chosen, size)
  })
}

t.test('of two, p2c takes the one that is quicker and has less to do', async (t) => {
  const better: [Measurement, Measurement][] = [
    [
      { inFlight: 1, latency: 10 },
      { inFlight: 2, latency: 10 }
    ],
    [
      { inFlight: 5, latency: 1 },
      { inFlight: 0, latency: 10 }
    ],
    [
      { inFlight: 0, latency: null },
      { inFlight: 1, latency: 1 }
    ],
    [
      { inFlight: 0, latency: 1 },
      { inFlight: 1, latency: null }
    ]
  ]
  for (const measurements of better) {
    for (let i = 0; i < 10; i++) {
      const random = pseudorandom(i)
      const measure: BalanceContext['measure'] = ({ servicePublicKey }) =>
        measurements[Number(servicePublicKey)] as Measurement
      t.equal(choose('p2c', 2, { random, measure }), '0')
    }
  }
})

t.test('p2c avoids the one that is much slower than all others', async (t) => {
  const random = pseudorandom(1)
  const measure: BalanceContext['measure'] = ({ servicePublicKey }) => ({
    inFlight: 0,
    latency: servicePublicKey === '0' ? 100 : 1
  })
  const chosen = Array.from({ length: 1000 }, () => choose('p2c', 5, { random, measure }))
  t.notOk(chosen.includes('0'))
})

t.test('hash gives a consumer the same instance each time', async () => {
  fc.assert(
    fc.property(candidates, context, fc.nat(), (candidates, context, dial) => {
      const order = (dial: number) => balancerOf('hash')(candidates, { ...context, dial })
      assert.deepEqual(order(dial), order(dial + 1))
    })
  )
})

t.test('when an instance leaves, hash moves only the consumers it had', async () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.uuid(), { minLength: 2, maxLength: 12 }),
      fc.uuid(),
      fc.nat(),
      (names, consumerKey, leaver) => {
        const instances = names.map((servicePublicKey) => ({ servicePublicKey, version: '1.0.0' }))
        const left = instances.filter((_, i) => i !== leaver % names.length)
        const order = (from: typeof instances) =>
          keys(balancerOf('hash')(from, given({ consumerKey })))
        const leaving = names[leaver % names.length]
        assert.deepEqual(
          order(left),
          order(instances).filter((name) => name !== leaving)
        )
      }
    )
  )
})

const DRAWS = 7000
/** More than five standard deviations of what each gets, if it is even. */
const TOLERANCE = 0.2

function given(special: Partial<BalanceContext> = {}): BalanceContext {
  return {
    dial: 0,
    random: Math.random,
    measure: () => ({ inFlight: 0, latency: null }),
    consumerKey: '',
    versions: 'newest',
    ...special
  }
}

/** That many of one version, called 0, 1, 2… */
function replicas(size: number) {
  return Array.from({ length: size }, (_, i) => ({ servicePublicKey: `${i}`, version: '1.0.0' }))
}

function choose(mode: BalanceMode, size: number, special: Partial<BalanceContext>): string {
  return keys(balancerOf(mode)(replicas(size), given(special)))[0] ?? ''
}

function keys(candidates: { servicePublicKey: string }[]): string[] {
  return candidates.map(({ servicePublicKey }) => servicePublicKey)
}

function count(counts: Map<string, number>, key: string) {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function assertEven(counts: Map<string, number>, size: number) {
  assert.equal(counts.size, size)
  for (const share of counts.values()) {
    assert.ok(Math.abs((share * size) / DRAWS - 1) < TOLERANCE, `${share} of ${DRAWS}`)
  }
}

/** The same numbers in each run (Numerical Recipes' linear congruential generator). */
function pseudorandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
