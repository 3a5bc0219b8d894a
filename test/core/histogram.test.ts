import t from 'tap'
import { Histogram } from '../../lib/core/histogram.js'

t.test('each time counts in its bucket and in all above', async (t) => {
  const histogram = new Histogram()
  for (const ms of [0.2, 1, 1.1, 300, 10_000, 60_000]) histogram.observe(ms)
  const buckets = new Map(histogram.buckets())
  t.equal(buckets.get(0.001), 2, 'a bound belongs to its bucket')
  t.equal(buckets.get(0.0025), 3)
  t.equal(buckets.get(0.25), 3)
  t.equal(buckets.get(0.5), 4)
  t.equal(buckets.get(10), 5)
  t.equal(buckets.get(Infinity), 6)
  t.equal(histogram.count, 6)
  t.ok(Math.abs(histogram.sum - 70.3023) < 1e-9)
})
