import t from 'tap'
import { DomainTable, readDomain } from '../../lib/gateway/domains.js'

t.test('the closest domain is asked first', async (t) => {
  const rules = [
    { host: '*.example.com', role: 'any' },
    { host: 'api.example.com', role: 'api@^2' },
    { host: '*.eu.example.com', role: 'eu' }
  ]
  const table = new DomainTable(rules.map(readDomain))
  const patterns = (host: string) => table.match(host).map(({ pattern }) => pattern)
  t.strictSame(patterns('api.example.com'), ['api.example.com', '*.example.com'])
  t.strictSame(patterns('a.eu.example.com'), ['*.eu.example.com', '*.example.com'])
  t.strictSame(patterns('example.com'), [])
  t.strictSame(patterns('api.example.com.evil'), [])
  t.throws(() => readDomain({ host: 'a b', role: 'api' }), { code: 'USAGE' })
  t.throws(() => readDomain({ host: '*', role: 'api' }), { code: 'USAGE' })
  t.throws(() => readDomain('a.b=api' as never), { code: 'USAGE' })
  t.throws(() => readDomain({ host: 'a.b', role: 'api@!!' }), { code: 'BAD_ROLE' })
})
