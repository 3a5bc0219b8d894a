import t from 'tap'
import { isImpliedByConsume, parseCallPattern } from '../../lib/core/call-pattern.js'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { checkGrantStatement, signGrant } from '../../lib/registry/trust/grant.js'
import { Grants } from '../../lib/registry/trust/grants.js'

const registry = KeyPair()
const key = KeyPair()

function grantsOf(terms: { consume?: string[]; call?: string[] }): Grants {
  const grants = new Grants(registry.publicKey)
  grants.isPrivate = true
  const grant = signGrant(registry.publicKey, registry, key.publicKey, {
    serve: [],
    consume: [],
    admin: false,
    expiresAt: 0,
    ...terms
  })
  const read = checkGrantStatement(JSON.parse(JSON.stringify(grant)), registry.publicKey)
  grants.add(read)
  return grants
}

function mayCall(grants: Grants, command: string, role = 'agent', version = '1.2.3'): boolean {
  return grants.allows(toHex(key.publicKey), { kind: 'call', role, version, command })
}

t.test('a pattern covers the commands that it names', async (t) => {
  const rows: [pattern: string, command: string, covered: boolean][] = [
    ['agent@1.x#fetch', 'fetch', true],
    ['agent@1.x#fetch', 'stop', false],
    ['agent@1.x#fetch', '*', true],
    ['agent@2.x#fetch', '*', false],
    ['agent#*', 'anything', true],
    ['agent#*', '$events', false],
    ['agent#$events', '$events', true],
    ['*#$events', '$events', true],
    ['other#*', 'fetch', false]
  ]
  for (const [pattern, command, covered] of rows) {
    t.equal(parseCallPattern(pattern).has('agent', '1.2.3', command), covered, pattern)
    t.equal(mayCall(grantsOf({ call: [pattern] }), command), covered, `granted ${pattern}`)
  }
  for (const bad of ['agent', 'agent#', '#fetch', 'agent#a b', 'agent@no range#fetch']) {
    t.throws(() => parseCallPattern(bad), { code: 'BAD_ROLE' }, bad)
  }
})

t.test('who may consume may call all but what nothing implies', async (t) => {
  const grants = grantsOf({ consume: ['agent@1.x'] })
  for (const command of ['fetch', '$events', '$describe']) t.ok(mayCall(grants, command))
  t.notOk(mayCall(grants, 'fetch', 'agent', '2.0.0'))
  for (const command of ['$clients', '$host:stop']) {
    t.notOk(isImpliedByConsume(command))
    t.notOk(mayCall(grants, command))
    t.ok(mayCall(grantsOf({ call: [`agent#${command}`] }), command))
  }
})

t.test('who may call may not consume', async (t) => {
  const grants = grantsOf({ call: ['agent#fetch'] })
  const right = { kind: 'consume', role: 'agent', version: '1.2.3' } as const
  t.notOk(grants.allows(toHex(key.publicKey), right))
})
