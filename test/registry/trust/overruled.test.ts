import fc from 'fast-check'
import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { type AppStatement, signApp } from '../../../lib/registry/trust/app-statement.js'
import { Grants } from '../../../lib/registry/trust/grants.js'
import {
  isOverruled,
  MAX_OVERRULED_CHANGES,
  OVERRULED,
  type OverruledChange,
  overruledChange,
  overruledIn,
  signOverruled
} from '../../../lib/registry/trust/overruled.js'
import { signStatement } from '../../../lib/registry/trust/statement.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { Statements } from '../../../lib/registry/trust/statements.js'

const registry = KeyPair()
const { publicKey } = registry
const [deployer, other] = [KeyPair(), KeyPair()]

function next(before: AppStatement | null, release: string, by = deployer, fields = {}) {
  const place = { labels: [], memory: 0, driver: 'process' }
  const wanted = { version: '1.0.0', instances: 1, hostnames: [], place, restarts: 0 }
  return signApp(
    publicKey,
    by,
    { app: 'shop', state: 'running', ...wanted, release: release.repeat(32), ...fields },
    before
  )
}

t.test('a change is overruled by one that does not follow from it, and by no later one', (t) => {
  const first = next(null, '01')
  const second = next(first, '02')
  const third = next(second, '03')
  const fourth = next(third, '04')
  const lost = next(first, '0a', other)
  for (const [i, one] of [first, second, third].entries()) {
    for (const later of [first, second, third, fourth].slice(i + 1)) {
      t.notOk(isOverruled(one, later), `${one.seq} before ${later.seq}`)
    }
  }
  for (const later of [second, third, fourth]) t.ok(isOverruled(lost, later), `by ${later.seq}`)
  t.ok(isOverruled(second, next(lost, '0b', other)))
  const removed = next(third, '03', deployer, { state: 'removed' })
  const again = next(removed, '05')
  t.notOk(isOverruled(third, again), 'nothing is known of what it was before it was removed')
  t.notOk(isOverruled(third, next(again, '06')))
  t.ok(isOverruled(next(third, '0c', other), removed), 'by the removal, too')
  t.end()
})

t.test('only the registry’s key says what was overruled', (t) => {
  const grants = new Grants(publicKey)
  const statements = new Statements(new StatementKinds(), grants)
  const changes = [overruledChange(next(null, '01'), next(null, '02', other))]
  const fields = { type: OVERRULED.type, registry: toHex(publicKey), app: 'shop', changes }
  const parse = (value: object) => statements.kinds.parse(JSON.stringify(value), publicKey)
  t.throws(() => parse(signStatement(fields, deployer.secretKey)), { code: 'BAD_SIGNATURE' })
  const own = { ...fields, registry: toHex(deployer.publicKey) }
  t.throws(() => parse(signStatement(own, deployer.secretKey)), { code: 'BAD_MESSAGE' })
  const said = signOverruled(registry, 'shop', changes)
  statements.admit(parse(said))
  t.same(statements.list(OVERRULED), [said])
  const [change] = changes
  const bad = [
    { app: 'a b' },
    { changes: {} },
    { changes: Array(MAX_OVERRULED_CHANGES + 1).fill(change) },
    ...[{ hash: 'ab' }, { seq: -1 }, { state: 'lost' }, { version: 'x' }, { by: null }].map(
      (field) => ({ changes: [{ ...change, ...field }] })
    )
  ]
  for (const field of bad) {
    const signed = signStatement({ ...fields, ...field }, registry.secretKey)
    t.throws(() => parse(signed), { code: 'BAD_MESSAGE' }, JSON.stringify(field).slice(0, 60))
  }
  const long = { version: `1.0.0-${'a'.repeat(90)}`, app: `@${'a'.repeat(40)}/${'b'.repeat(40)}` }
  const many = Array.from({ length: 20 }, (_, i) =>
    overruledChange(next(null, `${i + 10}`, deployer, long), next(null, 'ff', other))
  )
  const kept = signOverruled(registry, long.app, overruledIn(many, many)).changes
  t.equal(kept.length, MAX_OVERRULED_CHANGES, 'the longest have room')
  t.end()
})

t.test('whoever saw what, in whatever order they meet, all come to one list', (t) => {
  const hex = (text: string) => text.repeat(32)
  const change = fc
    .tuple(fc.nat(6), fc.constantFrom('0a', '0b', '0c'), fc.nat(3), fc.constantFrom('01', '02'))
    .map(([seq, hash, more, by]): OverruledChange => {
      const said = { state: 'running', version: '1.0.0', release: hex(hash), instances: 1 } as const
      const of = { hash: hex(`${seq}${hash[1]}`), seq, issuer: hex('0d'), issuedAt: seq }
      return { ...of, ...said, by: { seq: seq + more, issuer: hex(by), issuedAt: more } }
    })
  const list = fc.array(change, { maxLength: 12 }).map((all) => overruledIn(all, []))
  const merge = (one: OverruledChange[], two: OverruledChange[]) => {
    const [known, more] = [one, two].map((changes) => ({ changes }) as never)
    const { changes } = OVERRULED.merge(known as never, more as never, {} as never)
    return changes
  }
  fc.assert(
    fc.property(list, list, list, (one, two, three) => {
      const both = overruledIn(one, two)
      t.same(overruledIn(two, one), both)
      t.same(overruledIn(overruledIn(three, two), one), overruledIn(both, three))
      t.same(overruledIn(both, one), both)
      for (const part of [one, two]) {
        t.same(merge(part, both), both)
        t.same(merge(both, part), both)
      }
      t.same(merge(one, two), merge(two, one))
    }),
    { numRuns: 200 }
  )
  t.end()
})
