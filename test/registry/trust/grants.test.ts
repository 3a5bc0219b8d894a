import t from 'tap'
import { KeyPair, type KeyPair as KeyPairType, toHex } from '../../../lib/core/keys.js'
import { Membership } from '../../../lib/registry/swarm/membership.js'
import {
  checkGrantStatement,
  signGrant,
  signRevocation
} from '../../../lib/registry/trust/grant.js'
import { Grants } from '../../../lib/registry/trust/grants.js'

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

t.test('what is said by who has no right to it is not taken, and hides nothing', (t) => {
  const membership = new Membership(registry.publicKey)
  const { grants } = membership
  grants.isPrivate = true
  t.ok(membership.learn(grant(registry, alice)))
  t.notOk(membership.learn(grant(mallory, bob)))
  t.notOk(membership.learn(revoke(mallory, alice, 3000)))
  t.ok(grants.allows(hex(alice), { kind: 'read' }))
  t.ok(membership.learn(revoke(registry, alice, 2000)))
  t.notOk(grants.allows(hex(alice), { kind: 'read' }))
  t.notOk(membership.learn(revoke(mallory, alice, 4000)))
  t.end()
})

t.test('a signature is written in one way, so that nobody can pad what others signed', (t) => {
  const { signature, ...fields } = grant(registry, alice)
  t.ok(checkGrantStatement({ ...fields, signature }, registry.publicKey))
  for (const other of [signature.toUpperCase(), `${signature}00`, `${signature} `]) {
    t.throws(() => checkGrantStatement({ ...fields, signature: other }, registry.publicKey), {
      code: 'BAD_SIGNATURE'
    })
  }
  t.end()
})

t.test('in which order statements are read out of a log makes no difference', (t) => {
  const said = [
    grant(registry, alice, { admin: true }),
    grant(alice, bob),
    grant(alice, mallory),
    revoke(alice, mallory)
  ]
  for (const statements of [said, [...said].reverse()]) {
    const grants = grantsAt(() => 5000)
    for (const statement of statements) grants.add(statement)
    t.ok(grants.allows(hex(bob), { kind: 'read' }))
    t.notOk(grants.allows(hex(mallory), { kind: 'read' }))
  }
  t.end()
})

t.test('who was revoked by an admin stays so when that admin has no rights any more', (t) => {
  let now = 1500
  const grants = grantsAt(() => now)
  grants.add(grant(registry, alice, { admin: true, expiresAt: 3000 }))
  grants.add(grant(registry, bob))
  grants.add(revoke(alice, bob))
  now = 5000
  t.notOk(grants.allows(hex(bob), { kind: 'read' }))
  grants.add(revoke(registry, alice))
  t.notOk(grants.allows(hex(bob), { kind: 'read' }))
  grants.add(grant(registry, bob, {}, 2001))
  t.ok(grants.allows(hex(bob), { kind: 'read' }), 'the registry has the last word')
  t.end()
})

t.test('an older revocation by the registry hides none by an admin, nor the other way', (t) => {
  for (const [first, second] of [
    [registry, alice],
    [alice, registry]
  ] as const) {
    const grants = grantsAt(() => 5000)
    grants.add(grant(registry, alice, { admin: true }))
    grants.add(revoke(first, bob, 2000))
    grants.add(grant(registry, bob, {}, 3000))
    t.ok(grants.allows(hex(bob), { kind: 'read' }))
    grants.add(revoke(second, bob, 4000))
    t.notOk(grants.allows(hex(bob), { kind: 'read' }))
    t.match(grants.list().revoked, [{ issuer: hex(second), issuedAt: 4000 }])
  }
  t.end()
})

t.test('as long as it is not known whether a registry is private, only grants count', (t) => {
  const grants = new Grants(registry.publicKey)
  grants.add(grant(registry, alice, { consume: ['a'] }))
  const consume = { kind: 'consume', role: 'a', version: '1.0.0' } as const
  t.ok(grants.allows(hex(alice), consume))
  t.notOk(grants.allows(hex(bob), consume))
  t.end()
})

t.test('who watches is told of the keys whose rights may have changed, once each', (t) => {
  let now = 1500
  const grants = grantsAt(() => now)
  const told: unknown[] = []
  grants.watch((subject) => told.push(subject))
  const tells = (act: () => void) => {
    told.length = 0
    act()
    return told
  }
  const one = grant(registry, alice, { admin: true, expiresAt: 3000 })
  t.strictSame(
    tells(() => grants.add(one)),
    [hex(alice)]
  )
  t.strictSame(
    tells(() => grants.add(one)),
    []
  )
  t.strictSame(
    tells(() => grants.add(grant(alice, bob))),
    [hex(bob)]
  )
  t.strictSame(
    tells(() => grants.expire()),
    []
  )
  now = 3000
  const both = [hex(alice), hex(bob)]
  t.strictSame(
    tells(() => grants.expire()),
    both,
    'what it granted ends with it'
  )
  t.strictSame(
    tells(() => grants.expire()),
    []
  )
  t.strictSame(
    tells(() => grants.add(revoke(registry, alice))),
    both
  )
  t.strictSame(
    tells(() => {
      grants.isPrivate = false
    }),
    [undefined],
    'anybody’s'
  )
  t.end()
})

t.test(
  'a grant by the registry’s key overrules the revocations that it names, and no others',
  (t) => {
    const grants = grantsAt(() => 5000)
    grants.add(grant(registry, bob, { admin: true }))
    const last = revoke(bob, alice, 2 ** 52)
    grants.add(last)
    const overrules = [last.signature]
    grants.add(grant(registry, alice, {}, 3000))
    t.notOk(grants.allows(hex(alice), { kind: 'read' }), 'an admin’s revocation stands')
    grants.add(grant(bob, alice, { overrules }, 3000))
    t.notOk(grants.allows(hex(alice), { kind: 'read' }), 'another admin’s grant overrules nothing')
    t.same(grants.revocationsByAdmins(hex(alice)), [last])
    grants.add(grant(registry, alice, { overrules }, 4000))
    t.ok(grants.allows(hex(alice), { kind: 'read' }))
    grants.add(revoke(registry, alice, 4000))
    t.notOk(grants.allows(hex(alice), { kind: 'read' }), 'the registry’s own ends it')
    t.end()
  }
)

t.test('of two statements of one date the same one counts everywhere', (t) => {
  const [one, other] = [grantsAt(() => 5000), grantsAt(() => 5000)]
  const pair = [grant(registry, alice, { serve: ['a'] }), grant(registry, alice, { serve: ['b'] })]
  for (const statement of pair) one.add(statement)
  for (const statement of [...pair].reverse()) other.add(statement)
  t.same(one.statements(), other.statements())
  t.end()
})
