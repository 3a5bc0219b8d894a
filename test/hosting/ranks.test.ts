import t from 'tap'
import { Ranks } from '../../lib/hosting/ranks.js'
import { randomFrom, shuffled } from '../random.js'

const HOSTS = Array.from({ length: 40 }, (_, i) => `host-${i}`)

t.test('an order that was taken over is the one that is computed anew', async (t) => {
  const random = randomFrom(1)
  let ranks = new Ranks(HOSTS)
  for (let round = 0; round < 50; round++) {
    const hosts = shuffled(HOSTS, random).slice(0, Math.floor(random() * HOSTS.length))
    ranks = new Ranks(hosts, ranks)
    for (const app of ['shop', 'blog']) t.same(ranks.of(app), new Ranks(hosts).of(app))
  }
})

t.test('a host that leaves changes no order of the others', async (t) => {
  const before = new Ranks(HOSTS).of('shop')
  const after = new Ranks(HOSTS.slice(1)).of('shop')
  t.same(
    after,
    before.filter(({ host }) => host !== HOSTS[0])
  )
})

t.test('each host is the best for about as many apps as any other', async (t) => {
  const ranks = new Ranks(HOSTS.slice(0, 10))
  const wins = new Map<string, number>()
  for (let i = 0; i < 1000; i++) {
    const best = ranks.of(`app-${i}`)[0]?.host ?? ''
    wins.set(best, (wins.get(best) ?? 0) + 1)
  }
  t.equal(wins.size, 10)
  for (const [host, count] of wins) t.ok(count > 60 && count < 140, `${host}: ${count} of 1000`)
})

t.test('apps that there are no more are forgotten', async (t) => {
  const ranks = new Ranks(HOSTS)
  const order = ranks.of('shop')
  const other = ranks.of('blog')
  ranks.keep(new Set(['shop']))
  t.equal(ranks.of('shop'), order)
  t.not(ranks.of('blog'), other, 'it is computed again')
})
