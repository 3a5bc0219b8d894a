import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { parseRolePattern } from '../../lib/core/role-pattern.js'
import { AccessList } from '../../lib/gateway/access.js'
import { readCors } from '../../lib/gateway/cors.js'
import { signGrant } from '../../lib/registry/trust/grant.js'
import { Grants } from '../../lib/registry/trust/grants.js'

const CASES: [pattern: string, role: string, version: string, has: boolean][] = [
  ['couchdb@^3', 'couchdb', '3.2.2', true],
  ['couchdb@^3', 'couchdb', '4.0.0', false],
  ['couchdb@^3', 'couch', '3.2.2', false],
  ['couchdb', 'couchdb', '0.0.1-rc.1', true],
  ['couchdb@1.x', 'couchdb', '1.9.0-beta.1', false],
  ['couchdb@*', 'couchdb', '1.9.0-beta.1', true],
  ['couchdb@x', 'couchdb', '1.9.0-beta.1', true],
  ['api@<2.0.0', 'api', '2.0.0-rc.1', false],
  ['api@<2.0.0', 'api', '1.0.0-rc.1', false],
  ['api@>=2.0.0-rc.1', 'api', '2.0.0-rc.2', true],
  ['api@>=2.0.0-rc.1', 'api', '2.1.0-rc.2', false],
  ['api@2.0.0-rc.1', 'api', '2.0.0-rc.1', true],
  ['@team/api@^1', '@team/api', '1.1.0', true],
  ['@team/*@2.x', '@team/api', '2.9.9', true],
  ['@team/*@2.x', '@team/api', '3.0.0', false],
  ['@team/*', '@team/api', '3.0.0', true],
  ['@team/*', '@teams/api', '1.0.0', false],
  ['@team/*', 'team', '1.0.0', false],
  ['*', '@team/api', '1.0.0', true],
  ['*', 'api', '2.0.0-beta.1', true],
  ['*@1.x', 'api', '1.2.0', true],
  ['*@1.x', 'api', '2.0.0', false]
]
const BAD = ['', 'a b', '@/x', 'a*@1', '@team/*@nonsense', '**', '@te am/*', 'api@!!']

t.test('a pattern covers the names and versions that it says', async (t) => {
  for (const [pattern, role, version, has] of CASES) {
    t.equal(parseRolePattern(pattern).has(role, version), has, `${pattern} ${role}@${version}`)
  }
  for (const bad of BAD) t.throws(() => parseRolePattern(bad), { code: 'BAD_ROLE' }, bad)
})

t.test('whether a pattern names a role does not depend on the version', async (t) => {
  t.equal(parseRolePattern('api@1.x').hasRole('api'), true)
  t.equal(parseRolePattern('api@1.x').hasRole('apis'), false)
  t.equal(parseRolePattern('@team/*@2.x').hasRole('@team/api'), true)
  t.equal(parseRolePattern('*@2.x').hasRole('api'), true)
})

t.test('only a pattern of every name and every version is everything', async (t) => {
  for (const text of ['*', '*@*', '*@']) t.equal(parseRolePattern(text).isEverything, true, text)
  for (const text of ['*@1.x', '@team/*', 'api']) {
    t.equal(parseRolePattern(text).isEverything, false, text)
  }
})

t.test('a grant, what a gateway shows and its CORS rules read each pattern alike', async (t) => {
  const [registry, somebody] = [KeyPair(), KeyPair()]
  for (const [pattern, role, version, has] of CASES) {
    const grants = new Grants(registry.publicKey)
    const terms = { serve: [], consume: [pattern], admin: false, expiresAt: 0 }
    grants.add(signGrant(registry.publicKey, registry, somebody.publicKey, terms))
    const right = { kind: 'consume', role, version } as const
    const { anonymous } = new AccessList({ open: [parseRolePattern(pattern)] })
    t.equal(grants.allows(toHex(somebody.publicKey), right), has, `granted ${pattern}`)
    t.equal(anonymous.mayReach(role, version), has, `public ${pattern}`)
    t.equal(
      readCors({ role: pattern, origin: '*' }).roles.has(role, version),
      has,
      `CORS ${pattern}`
    )
  }
})
