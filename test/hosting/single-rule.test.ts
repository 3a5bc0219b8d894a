import t from 'tap'
import { countedRegistrars, SingleRule } from '../../lib/hosting/single-rule.js'

const THREE = ['a', 'b', 'c']

t.test(
  'single instances run while leases are held at more than half of the registrars',
  async (t) => {
    const rule = new SingleRule()
    t.match(rule.look(THREE, new Set(['a']), 0), {
      mayStart: false,
      mustStop: true,
      waitsFor: 'it holds leases at 1 of 3 registrars, and needs 2',
      again: null
    })
    t.match(rule.look(THREE, new Set(['a', 'c']), 0), { mayStart: true, mustStop: false })
    t.match(rule.look(['a', 'b'], new Set(['a']), 0), { mayStart: false }, 'half is not enough')
    t.match(new SingleRule().look([], new Set(['a']), 0), { mayStart: false, mustStop: true })
  }
)

t.test(
  'they end 20 s after the leases were lost, and a lease that comes back in time saves them',
  async (t) => {
    const rule = new SingleRule()
    const [all, few] = [new Set(THREE), new Set(['b'])]
    rule.look(THREE, all, 0)
    t.match(rule.look(THREE, few, 1000), { mayStart: false, mustStop: false, again: 20_000 })
    t.match(rule.look(THREE, few, 20_999), { mustStop: false, again: 1 })
    t.match(rule.look(THREE, all, 20_999), { mustStop: false, again: null })
    t.match(rule.look(THREE, few, 22_000), { mustStop: false, again: 20_000 })
    t.match(rule.look(THREE, few, 42_000), { mustStop: true, again: null })
  }
)

t.test(
  'registrars count that have renewed their certificate within two hours, and were not struck off',
  async (t) => {
    const today = Date.UTC(2026, 0, 1)
    const registrar = { key: 'a', renewedAt: today - 1000, isForgotten: false }
    const counted = countedRegistrars(
      [
        registrar,
        { ...registrar, key: 'b', renewedAt: today - 2 * 3_600_000 },
        { ...registrar, key: 'c', isForgotten: true }
      ],
      today
    )
    t.same(counted, ['a'])
  }
)
