import t from 'tap'
import { bucketOf, Latency } from '../../lib/gateway/latency.js'

t.test('percentiles are within a bucket', async (t) => {
  const latency = new Latency()
  t.equal(latency.percentile(0.99), 0)
  for (let ms = 1; ms <= 100; ms++) latency.record(bucketOf(ms))
  for (const [share, ms] of [
    [0.5, 50],
    [0.99, 99]
  ] as const) {
    const measured = latency.percentile(share)
    t.ok(measured >= ms && measured <= ms * 1.15, `${measured}`)
  }
})
