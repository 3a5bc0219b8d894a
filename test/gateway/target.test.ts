import t from 'tap'
import { DomainTable, hostnameOf, isOwnName, parseDomain } from '../../lib/gateway/domains.js'
import { bucketOf, Latency } from '../../lib/gateway/latency.js'
import { RetryBudget } from '../../lib/gateway/retry-budget.js'
import { parseTarget } from '../../lib/gateway/target.js'

const KEY = 'ab'.repeat(32)

t.test('a path names a role, an instance, a list or a page', async (t) => {
  const role = (role: string, range: string, path: string, prefix: string) => ({
    kind: 'role',
    role: { role, range },
    path,
    prefix
  })
  const cases: [url: string, target: object][] = [
    ['/role/api@1.x/a/b?c=d', role('api', '1.x', '/a/b?c=d', '/role/api@1.x')],
    ['/role/api@1.x', role('api', '1.x', '/', '/role/api@1.x')],
    ['/role/api@1.x?c=d', role('api', '1.x', '/?c=d', '/role/api@1.x')],
    ['/role/api/', role('api', '*', '/', '/role/api')],
    ['/role/@team/api@1.x/a', role('@team/api', '1.x', '/a', '/role/@team/api@1.x')],
    ['/role/%40team/api@1.x/a', role('@team/api', '1.x', '/a', '/role/%40team/api@1.x')],
    ['/role/%40team%2Fapi%401.x/a', role('@team/api', '1.x', '/a', '/role/%40team%2Fapi%401.x')],
    ['/role/api@%3E=1%20%3C3/', role('api', '>=1 <3', '/', '/role/api@%3E=1%20%3C3')],
    ['/role/api@1%20||%203/x', role('api', '1 || 3', '/x', '/role/api@1%20||%203')],
    ['/role/api@1//%2e%2e/', role('api', '1', '//%2e%2e/', '/role/api@1')],
    [
      `/instance/${KEY}/a?b`,
      { kind: 'instance', key: KEY, path: '/a?b', prefix: `/instance/${KEY}` }
    ],
    [`/instance/${KEY}`, { kind: 'instance', key: KEY, path: '/', prefix: `/instance/${KEY}` }],
    ['/list/@team/api@1.x', { kind: 'list', role: { role: '@team/api', range: '1.x' } }],
    ['/list/', { kind: 'list', role: null }],
    ['/list?x', { kind: 'list', role: null }],
    ['/', { kind: 'page', path: '/' }],
    ['/metrics?x', { kind: 'page', path: '/metrics' }]
  ]
  for (const [url, target] of cases) t.strictSame(parseTarget(url), target, url)
  t.throws(() => parseTarget('/role/'), { code: 'BAD_ROLE' })
  t.throws(() => parseTarget('/role/a@%zz/'), { code: 'BAD_REQUEST' })
  t.throws(() => parseTarget('/instance/1/'), { code: 'BAD_KEY' })
})

t.test('the closest domain is asked first', async (t) => {
  const rules = ['*.example.com=any', 'api.example.com=api@^2', '*.eu.example.com=eu'].map(
    parseDomain
  )
  const table = new DomainTable(rules)
  const patterns = (host: string) => table.match(host).map(({ pattern }) => pattern)
  t.strictSame(patterns('api.example.com'), ['api.example.com', '*.example.com'])
  t.strictSame(patterns('a.eu.example.com'), ['*.eu.example.com', '*.example.com'])
  t.strictSame(patterns('example.com'), [])
  t.strictSame(patterns('api.example.com.evil'), [])
  t.throws(() => parseDomain('api'), { code: 'USAGE' })
  t.throws(() => parseDomain('*=api'), { code: 'USAGE' })
  t.throws(() => parseDomain('a.b=api@!!'), { code: 'BAD_ROLE' })
  t.equal(hostnameOf('API.Example.com.:8080'), 'api.example.com')
  t.equal(hostnameOf('[::1]:80'), '::1')
  t.ok(isOwnName('127.0.0.1') && isOwnName('app.localhost') && isOwnName('::1'))
  t.notOk(isOwnName('example.com'))
})

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
