import t from 'tap'
import { InterimAnswers } from '../../lib/gateway/interim.js'

t.test('interim answers of one attempt are passed on, and not too many of them', (t) => {
  const interim = new InterimAnswers()
  t.notOk(interim.hasCome)
  t.ok(interim.admit(2))
  t.ok(interim.hasCome)
  t.notOk(interim.admit(3), 'a second attempt repeats what the client knows')
  for (let i = 0; i < 62; i++) t.ok(interim.admit(2))
  t.throws(() => interim.admit(2), SyntaxError)
  t.end()
})
