import t from 'tap'
import { KeyPair, type KeyPair as KeyPairType, toHex } from '../../lib/keys.js'
import { covers, parsePattern, signGrant, signRevocation } from '../../lib/registry/grant.js'
import { Grants } from '../../lib/registry/grants.js'

const registry = KeyPair()
const [alice, bob, mallory] = [KeyPair(), KeyPair(), KeyPair()]
const terms = { serve: [], consume: [], admin: false, expiresAt: 0 }

function grantsAt(now: () => number): Grants {
  const grants = new Grants(registry.publicKey, now)
  grants.isPrivate = true
  return grants
}

const grant = (issuer: KeyPairType, subject: KeyPairType, more = {}, issuedAt = 1000) =>
  signGrant(registry.publicKey, issuer, subject.publicKey, { ...terms, ...more }, issuedAt)
const revoke = (issuer: KeyPairType, subject: KeyPairType, issuedAt = 2000) =>
  signRevocation(registry.publicKey, issuer, subject.publicKey, issuedAt)
const hex = (keyPair: KeyPairType) => toHex(keyPair.publicKey)

t.test('a pattern covers the names and versions that it says', (t) => {
  const cases: [pattern: string, role: string, version: string, covered: boolean][] = [
    ['couchdb@^3', 'couchdb', '3.2.2', true],
    ['couchdb@^3', 'couchdb', '4.0.0', false],
    ['couchdb@^3', 'couch', '3.2.2', false],
    ['couchdb', 'couchdb', '0.0.1-rc.1', true],
    ['@team/*@2.x', '@team/api', '2.9.9', true],
    ['@team/*@2.x', '@team/api', '3.0.0', false],
    ['@team/*', '@teams/api', '1.0.0', false],
    ['@team/*', 'team', '1.0.0', false],
    ['*', '@team/api', '1.0.0', true],
    ['*@1.x', 'api', '2.0.0', false]
  ]
  for (const [pattern, role, version, covered] of cases) {
    t.equal(covers([pattern], role, version), covered, `${pattern} ${role}@${version}`)
  }
  for (const bad of ['', 'a b', '@/x', 'a*@1', '@team/*@nonsense', '**']) {
    t.throws(() => parsePattern(bad), { code: 'BAD_ROLE' }, bad)
  }
  t.end()
})

t.test(
  'without a grant nothing is allowed in a private registry, and all but admin in an open one',
  (t) => {
    const grants = grantsAt(() => 5000)
    t.notOk(grants.allows(hex(alice), { kind: 'read' }))
    t.ok(grants.allows(hex(registry), { kind: 'admin' }))
    grants.isPrivate = false
    t.ok(grants.allows(hex(alice), { kind: 'read' }))
    t.ok(grants.allows(hex(alice), { kind: 'serve', role: 'a', version: '1.0.0' }))
    t.notOk(grants.allows(hex(alice), { kind: 'admin' }))
    t.end()
  }
)

t.test(
  'a grant gives what it says until it expires or is revoked, and a later one gives it again',
  (t) => {
    let now = 1500
    const grants = grantsAt(() => now)
    grants.add(grant(registry, alice, { serve: ['a@1.x'], expiresAt: 3000 }))
    const serve = { kind: 'serve', role: 'a', version: '1.1.0' } as const
    t.ok(grants.allows(hex(alice), serve))
    t.ok(grants.allows(hex(alice), { kind: 'read' }))
    t.notOk(grants.allows(hex(alice), { ...serve, version: '2.0.0' }))
    t.notOk(grants.allows(hex(alice), { ...serve, kind: 'consume' }))
    now = 3000
    t.notOk(grants.allows(hex(alice), serve), 'expired')
    grants.add(grant(registry, alice, { serve: ['a'] }, 3500))
    t.ok(grants.allows(hex(alice), serve))
    grants.add(revoke(registry, alice, 4000))
    t.notOk(grants.allows(hex(alice), serve), 'revoked')
    grants.add(grant(registry, alice, { serve: ['a'] }, 4001))
    t.ok(grants.allows(hex(alice), serve), 'granted anew')
    t.end()
  }
)

t.test(
  'an admin grants, until it is revoked itself, but makes no admins and cannot touch any',
  (t) => {
    const grants = grantsAt(() => 5000)
    const byNobody = grant(mallory, bob)
    t.notOk(grants.isAuthorized(byNobody))
    grants.add(byNobody)
    t.notOk(grants.allows(hex(bob), { kind: 'read' }), 'a grant by who may not grant')

    grants.add(grant(registry, alice, { admin: true }))
    grants.add(grant(alice, bob, { consume: ['*'] }))
    t.ok(grants.allows(hex(bob), { kind: 'consume', role: 'a', version: '1.0.0' }))
    t.notOk(
      grants.isAuthorized(grant(alice, bob, { admin: true })),
      'only the registry makes admins'
    )
    t.notOk(grants.isAuthorized(revoke(alice, alice)), 'admins are the registry’s to revoke')
    t.ok(grants.isAuthorized(revoke(alice, bob)))

    grants.add(revoke(registry, alice))
    t.notOk(grants.allows(hex(alice), { kind: 'admin' }))
    t.notOk(grants.allows(hex(bob), { kind: 'read' }), 'what it granted falls with it')
    t.end()
  }
)

t.test(
  'a revocation by who had no right to it hides neither the grant nor a true revocation',
  (t) => {
    const grants = grantsAt(() => 5000)
    grants.add(grant(registry, alice))
    grants.add(revoke(mallory, alice, 3000))
    t.ok(grants.allows(hex(alice), { kind: 'read' }))
    grants.add(revoke(registry, alice, 2000))
    t.notOk(grants.allows(hex(alice), { kind: 'read' }))
    grants.add(revoke(mallory, alice, 4000))
    t.notOk(grants.allows(hex(alice), { kind: 'read' }))
    t.end()
  }
)

t.test('who watches is told of the keys whose rights may have changed, once each', (t) => {
  const grants = grantsAt(() => 5000)
  const told: string[] = []
  grants.watch((subject) => told.push(subject))
  const one = grant(registry, alice)
  grants.add(one)
  grants.add(one)
  grants.add(revoke(registry, bob))
  t.strictSame(told, [hex(alice), hex(bob)])
  t.end()
})
