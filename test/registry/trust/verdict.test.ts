import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import type { Rights } from '../../../lib/registry/trust/rights.js'
import { checkStatement } from '../../../lib/registry/trust/statement-kind.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { Statements } from '../../../lib/registry/trust/statements.js'
import { type Judgement, signVerdict, VERDICT } from '../../../lib/registry/trust/verdict.js'

const registry = KeyPair().publicKey
const host = KeyPair()
const rights: Rights = {
  registry: toHex(registry),
  allows: (subject, { kind }) => kind === 'host' && subject === toHex(host.publicKey)
}

t.test('only a host judges, for itself, and of what it said the latest counts', async (t) => {
  const statements = new Statements(new StatementKinds(), rights)
  const first = signVerdict(registry, host, 'shop', judgement('a'), null)
  statements.admit(first)
  const second = signVerdict(registry, host, 'shop', judgement('b'), first)
  statements.admit(second)
  t.same(
    statements.list(VERDICT).map(({ judged }) => judged.map(({ release }) => release[0])),
    [['b', 'a']]
  )
  t.notOk(statements.add(first), 'an old one changes nothing')
  const stranger = signVerdict(registry, KeyPair(), 'shop', judgement('b'), null)
  t.throws(() => statements.admit(stranger), { code: 'NOT_GRANTED' })
  const forged = { ...second, app: 'other' }
  t.throws(() => checkStatement(VERDICT, forged, registry), { code: 'BAD_SIGNATURE' })
})

t.test('it stays small: the releases that are kept, and why the last ones failed', async (t) => {
  let verdict = signVerdict(registry, host, 'shop', judgement('0'), null)
  for (const letter of '123456789abcdef') {
    verdict = signVerdict(registry, host, 'shop', judgement(letter), verdict)
  }
  t.equal(verdict.judged.length, 11)
  t.same(
    verdict.judged.slice(0, 3).map(({ why }) => why.length),
    [600, 600, 0]
  )
  const again = signVerdict(registry, host, 'shop', judgement('e', 'complete'), verdict)
  t.match(again.judged[0], { release: 'e'.repeat(64), outcome: 'complete' })
  t.equal(again.judged.filter(({ release }) => release.startsWith('e')).length, 1)
})

t.test('each field has its bounds, and a host judges so many apps', async (t) => {
  const verdict = signVerdict(registry, host, 'shop', judgement('a'), null)
  const [judged] = verdict.judged
  const bad = [
    { app: 'Not A Name' },
    { host: 'x' },
    { issuedAt: -1 },
    { judged: {} },
    { judged: [{ ...judged, outcome: 'fine' }] },
    { judged: [{ ...judged, why: 'x'.repeat(601) }] },
    { judged: [{ ...judged, at: 0.5 }] },
    { judged: Array(12).fill(judged) }
  ]
  for (const fields of bad) {
    t.throws(() => VERDICT.checkFields({ ...verdict, ...fields }), { code: 'BAD_MESSAGE' })
  }
  const list = () => Array(1000).fill(verdict)
  const known = { list, now: Date.now(), maxApps: 0 }
  t.throws(() => VERDICT.checkNext?.(verdict, null, known), { code: 'LIMIT_REACHED' })
  t.doesNotThrow(() => VERDICT.checkNext?.(verdict, verdict, known))
})

function judgement(letter: string, outcome: Judgement['outcome'] = 'failed'): Judgement {
  const why = '\n'.repeat(700)
  return { release: letter.repeat(64), outcome, isLast: false, at: 1000, why }
}
