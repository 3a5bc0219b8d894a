import t from 'tap'
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
      { kind: 'instance', name: KEY, path: '/a?b', prefix: `/instance/${KEY}` }
    ],
    [`/instance/${KEY}`, { kind: 'instance', name: KEY, path: '/', prefix: `/instance/${KEY}` }],
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
