import t from 'tap'
import { RateLimiter } from '../../../lib/registry/swarm/rate-limiter.js'

t.test('a rate is of one key, and is there again after a while', (t) => {
  let time = 0
  const limiter = new RateLimiter({ rate: 100, burst: 10, now: () => time })
  for (let i = 0; i < 10; i++) t.equal(limiter.spend('a'), 0)
  t.equal(limiter.spend('a'), 10, 'the eleventh waits for the next hundredth')
  t.equal(limiter.spend('b'), 0, 'another key has its own')
  time += 110
  for (let i = 0; i < 10; i++) t.equal(limiter.spend('a'), 0)
  for (let i = 0; i < 30_000; i++) limiter.spend(`key ${i}`)
  t.ok(limiter.size <= 10_000, 'it remembers no more than so many')
  t.end()
})
