import t from 'tap'
import {
  arePurposes,
  checkPurpose,
  isPurpose,
  MAX_PURPOSE_LENGTH,
  MAX_PURPOSES
} from '../../lib/core/purpose.js'

t.test('a purpose is a short text of plain characters, or empty', (t) => {
  for (const text of ['', 'chunks', 'hyperseaport/commands/1', 'a.b_C-9', 'x'.repeat(64)]) {
    t.ok(isPurpose(text), text)
    t.equal(checkPurpose(text), text)
  }
  for (const text of ['x'.repeat(MAX_PURPOSE_LENGTH + 1), 'a b', 'a\n', 'ä', '\x1b[1m']) {
    t.notOk(isPurpose(text))
    t.throws(() => checkPurpose(text), { code: 'USAGE' })
  }
  t.notOk(isPurpose(1))
  t.end()
})

t.test('a list of purposes is bounded', (t) => {
  t.ok(arePurposes([]))
  t.ok(arePurposes(Array(MAX_PURPOSES).fill('chunks')))
  t.notOk(arePurposes(Array(MAX_PURPOSES + 1).fill('chunks')))
  t.notOk(arePurposes(['chunks', 1]))
  t.notOk(arePurposes('chunks'))
  t.end()
})
