import t from 'tap'
import { parseDelay, parseDuration } from '../../lib/core/duration.js'

t.test('a time has a unit, and a bare number is seconds', async (t) => {
  t.equal(parseDuration('500ms'), 500)
  t.equal(parseDuration('2'), 2000)
  t.equal(parseDuration('1.5m'), 90_000)
  t.equal(parseDuration('30d'), 30 * 24 * 60 * 60 * 1000)
  for (const text of ['0', '', '-1', '5 s', '1e3', 'soon']) {
    t.throws(() => parseDuration(text), { code: 'USAGE' }, JSON.stringify(text))
  }
})

t.test('a delay may be none at all', async (t) => {
  for (const text of ['0', '0s', '0ms']) t.equal(parseDelay(text), 0, text)
  t.equal(parseDelay('2s'), 2000)
  t.throws(() => parseDelay('-1'), { code: 'USAGE' })
})
