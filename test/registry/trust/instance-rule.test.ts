import t from 'tap'
import { KeyPair, type KeyPair as KeyPairType, toHex } from '../../../lib/core/keys.js'
import { Directory } from '../../../lib/registry/replica/directory.js'
import { Membership } from '../../../lib/registry/swarm/membership.js'
import { signApp } from '../../../lib/registry/trust/app-statement.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import { signInstance } from '../../../lib/registry/trust/instance-proof.js'
import { RECORD, signRecord } from '../../../lib/registry/trust/record.js'

const registry = KeyPair()
const { publicKey } = registry
const [host, instance, stranger] = [KeyPair(), KeyPair(), KeyPair()]
const release = 'a'.repeat(64)
const terms = { serve: [], consume: [], admin: false, expiresAt: 0 }

function record(keyPair: KeyPairType, version: string, by?: KeyPairType, of = keyPair) {
  const fields = {
    registry: toHex(publicKey),
    key: toHex(of.publicKey),
    role: 'shop',
    version
  }
  return signRecord(publicKey, keyPair, {
    role: 'shop',
    version,
    tags: [],
    status: 'passing',
    direct: [],
    holder: '0'.repeat(64),
    seq: 1,
    ...(by && { app: signInstance(by, fields, { release, slot: 0, issuedAt: 1 }) })
  })
}

function shop(isPrivate = false) {
  const membership = new Membership(publicKey)
  membership.grants.isPrivate = isPrivate
  const directory = new Directory(membership.instances)
  directory.setLive('log', true)
  const grant = signGrant(publicKey, registry, host.publicKey, { ...terms, host: true }, 1)
  membership.statements.add(grant)
  return { membership, directory }
}

const app = signApp(
  publicKey,
  registry,
  {
    app: 'shop',
    state: 'running',
    version: '1.0.0',
    release,
    instances: 1,
    hostnames: [],
    place: { labels: [], memory: 0, driver: 'process' },
    restarts: 0
  },
  null
)

t.test('once a role is an app, strangers of its name get nothing from any dialer', async (t) => {
  const { membership, directory } = shop()
  const [theirs, real] = [record(stranger, '99.0.0'), record(instance, '1.0.0', host)]
  const told: string[] = []
  directory.watch((change, { version }) => told.push(`${change} ${version}`))
  directory.apply('log', [
    [theirs.key, theirs],
    [real.key, real]
  ])
  t.equal(directory.resolve('shop', '*')[0]?.version, '99.0.0', 'a role of its own is anybody’s')
  membership.statements.add(app)
  t.same(
    directory.resolve('shop', '*').map(({ version }) => version),
    ['1.0.0']
  )
  t.equal(directory.get(theirs.key), null)
  t.equal(directory.statusOf(theirs.key), null)
  t.same(told, ['up 99.0.0', 'up 1.0.0', 'down 99.0.0'])
  membership.statements.add(signRevocation(publicKey, registry, host.publicKey, 2))
  t.equal(directory.get(real.key), null, 'what a host ran that was put out counts no more')
})

t.test('a host’s word counts for one key, one version and one release', async (t) => {
  const { membership, directory } = shop()
  membership.statements.add(app)
  const bad = [
    record(stranger, '1.0.0', stranger),
    record(KeyPair(), '1.0.0', host, instance),
    record(KeyPair(), '2.0.0', host)
  ]
  directory.apply(
    'log',
    bad.map((one) => [one.key, one])
  )
  t.equal(directory.size, 0)
})

t.test('in a private registry the host’s right is enough for what it runs', async (t) => {
  const { grants } = shop(true).membership
  t.ok(RECORD.mayIssue(record(instance, '1.0.0', host), grants))
  t.notOk(RECORD.mayIssue(record(instance, '1.0.0', stranger), grants))
  t.notOk(RECORD.mayIssue(record(instance, '1.0.0'), grants))
  t.notOk(RECORD.mayIssue(record(stranger, '1.0.0', host, instance), grants))
})
