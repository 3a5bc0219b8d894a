import t from 'tap'
import { parseSize } from '../../lib/core/size.js'

t.test('a size has a unit, and a bare number is bytes', async (t) => {
  t.equal(parseSize('512'), 512)
  t.equal(parseSize('200MB'), 200_000_000)
  t.equal(parseSize('1.5GiB'), 1.5 * 2 ** 30)
  t.equal(parseSize('64KiB'), 65_536)
  t.same(['64k', '10m', '1G'].map(parseSize), [2 ** 16, 10 * 2 ** 20, 2 ** 30])
  for (const text of ['0', '', '-1', '5 MB', '1e3', '1TB', 'much', `${'9'.repeat(40)}GB`]) {
    t.throws(() => parseSize(text), { code: 'USAGE' }, JSON.stringify(text))
  }
})
