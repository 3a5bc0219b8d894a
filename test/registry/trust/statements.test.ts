import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import { signGrant } from '../../../lib/registry/trust/grant.js'
import { Grants } from '../../../lib/registry/trust/grants.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { Statements } from '../../../lib/registry/trust/statements.js'
import { LAZY_NOTE, NOTE, note } from '../notes.js'

const registry = KeyPair()
const { publicKey } = registry

function board(kind = NOTE): { statements: Statements; grants: Grants } {
  const grants = new Grants(publicKey)
  return { grants, statements: new Statements(new StatementKinds([kind]), grants) }
}

t.test('the same statements count, in whatever order they were read', async (t) => {
  const said = [
    note(publicKey, registry, { seq: 1 }),
    note(publicKey, registry, { seq: 3, text: 'one side of a partition' }),
    note(publicKey, registry, { seq: 3, text: 'the other side' }),
    note(publicKey, registry, { seq: 2 }),
    note(publicKey, registry, { title: 'supper' })
  ]
  const [one, other] = [board().statements, board().statements]
  for (const statement of said) one.add(statement)
  for (const statement of [...said].reverse()) other.add(statement)
  t.equal(one.get(NOTE, 'lunch')?.seq, 3)
  t.equal(one.get(NOTE, 'lunch'), other.get(NOTE, 'lunch'))
  t.equal(one.list(NOTE).length, 2)
  t.equal(one.get(NOTE, 'breakfast'), null)
})

t.test('who watches a kind is told of each change of it, and of nothing else', async (t) => {
  const { statements } = board()
  const told: unknown[] = []
  const stop = statements.watch(NOTE, (now, before) => told.push([now.seq, before?.seq ?? null]))
  const first = note(publicKey, registry)
  statements.add(first)
  statements.add(first)
  statements.add(note(publicKey, registry, { seq: 2 }))
  statements.add(first)
  const terms = { serve: [], consume: [], admin: false, expiresAt: 0 }
  statements.add(signGrant(publicKey, registry, KeyPair().publicKey, terms))
  stop()
  statements.add(note(publicKey, registry, { seq: 3 }))
  t.strictSame(told, [
    [1, null],
    [2, 1]
  ])
})

t.test('an unknown kind is passed over', async (t) => {
  const statements = new Statements(new StatementKinds(), new Grants(publicKey))
  t.equal(statements.add(note(publicKey, registry)), false)
  t.strictSame(statements.all(), [])
})

t.test('what is verified when it is used changes nothing with a bad signature', async (t) => {
  const { statements } = board(LAZY_NOTE)
  const good = note(publicKey, registry)
  t.equal(statements.add(good), true)
  const forged = { ...good, seq: 9, signature: 'ab'.repeat(64) }
  t.equal(statements.add(forged), false)
  t.equal(statements.get(LAZY_NOTE, 'lunch'), good)
})

t.test('what is admitted needs the right and has to follow; it may come twice', async (t) => {
  const { statements, grants } = board()
  const admin = KeyPair()
  const first = note(publicKey, admin)
  t.throws(() => statements.admit(first), { code: 'NOT_GRANTED' })
  const terms = { serve: [], consume: [], admin: true, expiresAt: 0 }
  grants.add(signGrant(publicKey, registry, admin.publicKey, terms))
  statements.admit(first)
  statements.admit(first)
  t.throws(() => statements.admit(note(publicKey, admin, { text: 'mine' })), { code: 'CONFLICT' })
  statements.admit(note(publicKey, admin, { seq: 2 }))
  t.match(statements.list(NOTE), [{ seq: 2, issuer: toHex(admin.publicKey) }])
})
