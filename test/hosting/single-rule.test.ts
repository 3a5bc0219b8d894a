import t from 'tap'
import { countedRegistrars, SingleRule } from '../../lib/hosting/single-rule.js'

const THREE = ['a', 'b', 'c']

/** Leases of a host that has just heard of all that hold one. */
function leasesOf(keys: readonly string[], now = 0) {
  return { held: new Set(keys), heardAt: () => now }
}

t.test(
  'single instances run while leases are held at more than half of the registrars',
  async (t) => {
    const rule = new SingleRule()
    t.match(rule.look(THREE, leasesOf(['a']), 0), {
      mayStart: false,
      mustStop: true,
      waitsFor: 'it holds leases at 1 of 3 registrars, and needs 2: not at b…, c…',
      again: null
    })
    t.match(rule.look(THREE, leasesOf(['a', 'c']), 0), {
      ...{ mayStart: true, mustStop: false, waitsFor: null, again: 20_000 }
    })
    const half = new SingleRule().look(['a', 'b'], leasesOf(['a']), 0)
    t.match(half, { mayStart: false, mustStop: true }, 'half is not enough')
    t.match(new SingleRule().look([], leasesOf(['a']), 0), { mayStart: false, mustStop: true })
  }
)

t.test(
  'they end 20 s after the leases were lost, and a lease that comes back in time saves them',
  async (t) => {
    const rule = new SingleRule()
    rule.look(THREE, leasesOf(THREE), 0)
    t.match(rule.look(THREE, leasesOf(['b'], 1000), 1000), {
      ...{ mayStart: false, mustStop: false, again: 20_000 }
    })
    t.match(rule.look(THREE, leasesOf(['b'], 20_999), 20_999), { mustStop: false, again: 1 })
    t.match(rule.look(THREE, leasesOf(THREE, 20_999), 20_999), { mayStart: true, mustStop: false })
    t.match(rule.look(THREE, leasesOf(['b'], 22_000), 22_000), { mustStop: false, again: 20_000 })
    t.match(rule.look(THREE, leasesOf(['b'], 42_000), 42_000), { mustStop: true, again: null })
  }
)

t.test(
  'a lease counts as lost when its registrar was last heard of, however late that is noticed',
  async (t) => {
    const rule = new SingleRule()
    rule.look(THREE, leasesOf(THREE), 0)
    const silent = (held: string[]) => ({ held: new Set(held), heardAt: () => 4000 })
    t.match(rule.look(THREE, silent(THREE), 9000), { mayStart: true, again: 15_000 })
    t.match(rule.look(THREE, silent(['b']), 9500), { mustStop: false, again: 14_500 })
    t.match(rule.look(THREE, silent(['b']), 24_000), { mustStop: true })
    t.match(rule.look(THREE, silent(THREE), 24_000), { mayStart: false, mustStop: true })
  }
)

t.test('an instance that was just started has as long until it holds leases', async (t) => {
  const rule = new SingleRule({ since: 1000 })
  t.match(rule.look(THREE, leasesOf([]), 1000), { mustStop: false, again: 20_000 })
  t.match(rule.look(THREE, leasesOf([]), 21_000), { mustStop: true })
})

const HOUR = 3_600_000
const TODAY = Date.UTC(2026, 0, 1)

/** @param hours since each renewed its certificate */
function registrarsOf(hours: { [key: string]: number }, forgotten = '') {
  return Object.entries(hours).map(([registrarKey, ago]) => ({
    registrarKey,
    renewedAt: TODAY - ago * HOUR,
    isForgotten: forgotten.includes(registrarKey)
  }))
}

t.test(
  'registrars count that were not struck off, but for one that was away for two hours while most were there',
  async (t) => {
    const countedOf = (hours: { [key: string]: number }, forgotten = '', held: string[] = []) =>
      countedRegistrars(registrarsOf(hours, forgotten), new Set(held), TODAY).sort().join('')
    t.equal(countedOf({ a: 0.5, b: 0.1, c: 1.9 }), 'abc')
    t.equal(countedOf({ a: 0.5, b: 0.1, c: 2.6 }), 'ab')
    t.equal(
      countedOf({ a: 0.5, b: 0.1, c: 2.6 }, '', ['c']),
      'abc',
      'a lease shows that it is there'
    )
    t.equal(countedOf({ a: 0.5, b: 0.1, c: 0.1 }, 'c'), 'ab')
    t.equal(countedOf({ a: 0.1, b: 0.1, c: 0.1, d: 3, e: 4 }), 'abc')
    t.equal(countedOf({ a: 0.1, b: 5, c: 10 }), 'ab', 'b was there when c had gone')
  }
)

t.test(
  'the smaller part of a network that is divided does not forget the others, and neither does half',
  async (t) => {
    const countedOf = (hours: { [key: string]: number }, forgotten = '') =>
      countedRegistrars(registrarsOf(hours, forgotten), new Set(), TODAY).sort().join('')
    t.equal(countedOf({ a: 24, b: 24, c: 0 }), 'abc')
    t.equal(countedOf({ a: 24, b: 0 }), 'ab', 'one that began anew on an empty disk')
    t.equal(countedOf({ a: 24, b: 0 }, 'a'), 'b')
    t.equal(countedOf({ a: 24, b: 24.1, c: 24.2 }), 'abc', 'all were away, as when a host starts')
  }
)

t.test('registrars that are gone for longer than counts are forgotten', async (t) => {
  const rule = new SingleRule()
  const all = Array.from({ length: 1000 }, (_, i) => `crashed ${i}`)
  for (const [i, key] of all.entries()) rule.look([key], leasesOf([key], i * 1000), i * 1000)
  t.ok(rule.remembered < 30, `${rule.remembered} of ${all.length}`)
})
