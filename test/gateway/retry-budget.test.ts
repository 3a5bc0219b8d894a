import t from 'tap'
import { RetryBudget } from '../../lib/gateway/retry-budget.js'

t.test('a retry budget gives a fifth of the requests, and ten a second', async (t) => {
  let now = 0
  const budget = new RetryBudget({ now: () => now })
  const spend = () => {
    let spent = 0
    while (budget.withdraw(1)) spent++
    return spent
  }
  t.equal(spend(), 10)
  for (let i = 0; i < 101; i++) budget.deposit()
  t.equal(spend(), 20)
  now += 500
  t.equal(spend(), 5)
  now += 1e9
  t.equal(spend(), 500, 'no more than so many are saved')
  t.match(budget.stats, { retries: 535, denied: 4 })
  t.notOk(new RetryBudget().withdraw(3), 'three attempts are enough')
})
