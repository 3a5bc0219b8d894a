import t from 'tap'
import { readRules, type WebRules } from '../../lib/gateway/rules.js'

const KEY = 'ab'.repeat(32)

t.test('rules are objects, and say their times in ms', async (t) => {
  const rules = readRules({
    domains: [{ host: 'API.example.com', role: 'api@^2' }],
    hostnames: [{ host: '*.example.com', services: [KEY, Buffer.from(KEY, 'hex')] }],
    open: ['@team/*'],
    cors: [{ role: 'api@1.x', origin: '*' }],
    deadlines: [{ role: '@team/*', ms: 250 }]
  })
  const [domain, hostname] = rules.domains.match('api.example.com')
  t.match(domain, { pattern: 'api.example.com', role: { role: 'api', range: '^2' } })
  t.strictSame(hostname, { pattern: '*.example.com', keys: new Set([KEY]) })
  t.ok(rules.access.anonymous.mayReach('@team/api', '1.0.0'))
  t.notOk(rules.access.anonymous.mayReach('other', '1.0.0'))
  t.ok(rules.cors[0]?.roles.has('api', '1.5.0'))
  t.equal(rules.deadlines[0]?.ms, 250)
  t.ok(readRules().access.isOpen, 'without a word, whoever connects may reach all')
})

t.test('a rule that cannot be read is refused', async (t) => {
  const cases: [rules: WebRules, code: string][] = [
    [{ domains: [{ host: 'nonsense!', role: 'api' }] }, 'USAGE'],
    [{ domains: [{ host: 'a.b', role: 'api@!!' }] }, 'BAD_ROLE'],
    [{ hostnames: [{ host: 'a.b', services: ['no key'] }] }, 'BAD_KEY'],
    [{ allowedHosts: ['https://a.b'] }, 'USAGE'],
    [{ access: 'nonsense' }, 'BAD_CONFIG'],
    [{ open: ['api@!!'] }, 'BAD_ROLE'],
    [{ cors: [{ role: 'api', origin: 'https://a.b/path' }] }, 'USAGE'],
    [{ deadlines: [{ role: 'api', ms: 0 }] }, 'USAGE'],
    [{ deadlines: [{ role: 'api', ms: Number.NaN }] }, 'USAGE']
  ]
  for (const [rules, code] of cases) {
    t.throws(() => readRules(rules), { code }, JSON.stringify(rules))
  }
})
