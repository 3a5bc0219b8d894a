import t from 'tap'
import { CallBackoff } from '../../../lib/registry/swarm/call-backoff.js'

t.test('who does not answer is called less and less often, and at once when it is new', (t) => {
  let now = 0
  const calls = new CallBackoff(() => now)
  t.same(calls.due(['a', 'b']), ['a', 'b'])
  calls.called('a')
  t.same(calls.due(['a', 'b']), ['b'])
  now = 5000
  t.same(calls.due(['a']), ['a'])
  calls.called('a')
  now = 10_000
  t.same(calls.due(['a']), [])
  calls.forget('a')
  t.same(calls.due(['a']), ['a'])
  t.end()
})
