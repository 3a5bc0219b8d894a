import t from 'tap'
import { KeyPair, toHex } from '../../../lib/core/keys.js'
import {
  APP,
  type AppFields,
  type AppStatement,
  driverOf,
  ownersOf,
  signApp,
  wantedOf
} from '../../../lib/registry/trust/app-statement.js'
import { DRAIN, signDrain } from '../../../lib/registry/trust/drain.js'
import { FORGOTTEN, signForgotten } from '../../../lib/registry/trust/forgotten.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import { Grants } from '../../../lib/registry/trust/grants.js'
import { MAX_APPS } from '../../../lib/registry/trust/max-apps.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { Statements } from '../../../lib/registry/trust/statements.js'

const registry = KeyPair()
const { publicKey } = registry
const [deployer, other, host] = [KeyPair(), KeyPair(), KeyPair()]
const TERMS = { serve: [], consume: [], admin: false, expiresAt: 0 }
const RELEASE = 'ab'.repeat(32)

/** What a registrar of an open registry knows, in which the two may deploy the app `shop`. */
function board(): { statements: Statements; grants: Grants } {
  const grants = new Grants(publicKey)
  grants.isPrivate = false
  const deploy = [{ apps: 'shop', on: [] }]
  for (const key of [deployer, other]) {
    grants.add(signGrant(publicKey, registry, key.publicKey, { ...TERMS, deploy }))
  }
  return { grants, statements: new Statements(new StatementKinds(), grants) }
}

function shop(fields: Partial<AppFields> = {}): AppFields {
  return {
    app: 'shop',
    state: 'running',
    version: '1.0.0',
    release: RELEASE,
    instances: 2,
    hostnames: ['shop.test'],
    place: { labels: ['region=eu'], memory: 0, driver: 'process' },
    restarts: 0,
    ...fields
  }
}

t.test(
  'who was granted an app changes it step by step, and who was overtaken is told by whom',
  async (t) => {
    const { statements } = board()
    const first = signApp(publicKey, deployer, shop(), null)
    statements.admit(first)
    const second = signApp(publicKey, other, shop({ instances: 3 }), first)
    const overtaken = signApp(publicKey, deployer, shop({ instances: 4 }), first)
    statements.admit(second)
    t.throws(() => statements.admit(overtaken), {
      code: 'CONFLICT',
      message: new RegExp(`by ${toHex(other.publicKey)} at `)
    })
    t.match(statements.list(APP), [{ seq: 2, instances: 3, hostnames: first.hostnames }])
    const skipping = { ...shop(), seq: 9 } as unknown as AppFields
    t.throws(() => statements.admit(signApp(publicKey, deployer, skipping, first)), {
      code: 'CONFLICT'
    })
  }
)

t.test('what runs a release is kept with it, if it is not a process of its own', async (t) => {
  const driver = 'bubblewrap'
  const place = { labels: [], memory: 0, driver }
  const first = signApp(publicKey, deployer, shop({ place }), null)
  const release = 'cd'.repeat(32)
  const second = signApp(publicKey, deployer, shop({ version: '2.0.0', release }), first)
  t.same(second.kept, [{ version: '1.0.0', release: RELEASE, driver }])
  t.equal(driverOf(wantedOf(first)), driver)
  t.equal(driverOf(wantedOf(second)), 'process')
  const third = signApp(
    publicKey,
    deployer,
    shop({ version: '3.0.0', release: 'ef'.repeat(32) }),
    second
  )
  t.match(third.kept, [
    { version: '2.0.0', driver: undefined },
    { version: '1.0.0', driver }
  ])
})

t.test('nobody deploys an app that was not granted to him, in an open registry, too', async (t) => {
  const { statements, grants } = board()
  const refused = (keyPair: KeyPair, fields = shop()) =>
    t.throws(() => statements.admit(signApp(publicKey, keyPair, fields, null)), {
      code: 'NOT_GRANTED'
    })
  refused(KeyPair())
  refused(deployer, shop({ app: 'bank' }))
  const hostOnly = signGrant(publicKey, registry, host.publicKey, { ...TERMS, host: true })
  grants.add(hostOnly)
  refused(host)
  t.ok(grants.allows(toHex(host.publicKey), { kind: 'host' }))
  t.notOk(grants.allows(toHex(deployer.publicKey), { kind: 'host' }))
  statements.admit(signApp(publicKey, registry, shop({ app: 'bank', hostnames: [] }), null))
  grants.add(signRevocation(publicKey, registry, deployer.publicKey, Date.now() + 1))
  refused(deployer)
})

t.test('a grant may be bound to hosts with a label', async (t) => {
  const { grants } = board()
  const key = KeyPair().publicKey
  const deploy = [{ apps: '@team/*', on: ['region=eu'] }]
  grants.add(signGrant(publicKey, registry, key, { ...TERMS, deploy }))
  const may = (app: string, labels?: string[]) =>
    grants.allows(toHex(key), { kind: 'deploy', app, ...(labels && { labels: new Set(labels) }) })
  t.ok(may('@team/api'))
  t.ok(may('@team/api', ['region=eu', 'disk=ssd']))
  t.notOk(may('@team/api', ['region=us']))
  t.notOk(may('api'))
  const terms = (apps: string, on: string[] = []) => ({ ...TERMS, deploy: [{ apps, on }] })
  const sign = (apps: string, on?: string[]) => signGrant(publicKey, registry, key, terms(apps, on))
  t.throws(() => sign('shop@1.x'), { code: 'BAD_ROLE', message: /every version/ })
  t.throws(() => sign('shop', ['eu']), { code: 'USAGE', message: /region=eu/ })
})

t.test('a hostname is one app’s; the older claim counts where two were written', async (t) => {
  const { statements } = board()
  const first = signApp(publicKey, deployer, shop(), null)
  statements.admit(first)
  const rival = (fields: Partial<AppFields> = {}, issuedAt?: number) =>
    signApp(publicKey, registry, shop({ app: 'rival', ...fields }), null, issuedAt)
  t.throws(() => statements.admit(rival()), { code: 'HOSTNAME_TAKEN', message: /the app shop's/ })
  statements.admit(signApp(publicKey, deployer, shop({ state: 'removed' }), first))
  statements.admit(rival())

  const side = rival({}, 1000)
  const both = [signApp(publicKey, deployer, shop(), null, 2000), side]
  for (const apps of [both, [...both].reverse()]) t.equal(ownersOf(apps).get('shop.test'), 'rival')
  const gone = signApp(publicKey, registry, shop({ app: 'rival', state: 'stopped' }), side)
  t.equal(
    ownersOf([both[0] as AppStatement, gone]).get('shop.test'),
    'rival',
    'it keeps it stopped'
  )
})

t.test('nobody dates a claim back, where his app is known', async (t) => {
  const { statements } = board()
  const hour = 60 * 60 * 1000
  const first = signApp(publicKey, deployer, shop({ hostnames: [] }), null)
  statements.admit(first)
  const late = signApp(publicKey, deployer, shop(), first, Date.now() - 2 * hour)
  t.throws(() => statements.admit(late), { code: 'BAD_DATE', message: /set the clock/ })
  statements.admit(signApp(publicKey, deployer, shop(), first))
})

t.test(
  'of two statements of one number who may still deploy comes first, everywhere alike',
  async (t) => {
    const first = signApp(publicKey, deployer, shop(), null)
    const sides = [
      signApp(publicKey, deployer, shop({ instances: 3 }), first),
      signApp(publicKey, other, shop({ instances: 4 }), first)
    ]
    const countsOf = (order: AppStatement[], revoked: KeyPair | null) => {
      const { statements, grants } = board()
      if (revoked)
        grants.add(signRevocation(publicKey, registry, revoked.publicKey, Date.now() + 1))
      for (const statement of order) statements.add(statement)
      return statements.get(APP, 'shop')?.instances
    }
    for (const [revoked, counts] of [
      [deployer, 4],
      [other, 3]
    ] as const) {
      t.equal(countsOf(sides, revoked), counts)
      t.equal(countsOf([...sides].reverse(), revoked), counts)
    }
    t.equal(countsOf(sides, null), countsOf([...sides].reverse(), null))
  }
)

t.test('a registry has so many apps, and removed ones do not count', async (t) => {
  const { statements } = board()
  const apps = Array.from({ length: MAX_APPS }, (_, i) =>
    signApp(publicKey, registry, shop({ app: `app-${i}`, hostnames: [] }), null)
  )
  for (const app of apps) statements.add(app)
  const more = signApp(publicKey, registry, shop({ hostnames: [] }), null)
  t.throws(() => statements.admit(more), { code: 'LIMIT_REACHED', message: /app remove/ })
  t.throws(() => statements.admit(more, 7), { code: 'LIMIT_REACHED', message: /are 7 apps/ })
  const [first] = apps as [AppStatement]
  const removed = shop({ app: 'app-0', hostnames: [], state: 'removed' })
  statements.admit(signApp(publicKey, registry, removed, first))
  statements.admit(more)
})

t.test('a statement with a bad field is refused', async (t) => {
  const kinds = new StatementKinds()
  const good = signApp(publicKey, deployer, shop(), null)
  const parse = (fields: object) => kinds.parse(JSON.stringify({ ...good, ...fields }), publicKey)
  t.same(parse({}), good)
  for (const fields of [
    { app: 'A shop' },
    { seq: 0 },
    { after: RELEASE },
    { seq: 2, after: '' },
    { state: 'paused' },
    { version: '1.x' },
    { release: 'ab' },
    { instances: -1 },
    { instances: 1001 },
    { instances: 'some' },
    { hostnames: { '*.test': 1 } },
    { hostnames: ['shop.test'] },
    { place: { labels: ['eu'], memory: 0, driver: 'process' } },
    { place: { labels: [], memory: -1, driver: 'process' } },
    { place: { labels: [], memory: 0, driver: '../x' } },
    { kept: [{ version: '1.0.0', release: RELEASE, driver: '../x' }] },
    { place: { labels: [], memory: 0, driver: 'process', single: true }, instances: 2 },
    { place: { labels: [], memory: 0, driver: 'process', single: true }, instances: 'all' },
    { restarts: 0.5 }
  ]) {
    t.throws(() => parse(fields), { code: 'BAD_MESSAGE' }, JSON.stringify(fields))
  }
  t.throws(() => parse({ instances: 5 }), { code: 'BAD_SIGNATURE' })
})

t.test('a host is drained by itself or by an admin, and the later word counts', async (t) => {
  const { statements, grants } = board()
  const drain = (issuer: KeyPair, isDraining = true, issuedAt = Date.now()) =>
    signDrain(publicKey, issuer, { host: host.publicKey, isDraining, issuedAt })
  t.throws(() => statements.admit(drain(host)), { code: 'NOT_GRANTED' }, 'it is no host')
  grants.add(signGrant(publicKey, registry, host.publicKey, { ...TERMS, host: true }))
  statements.admit(drain(host, true, 1000))
  t.throws(() => statements.admit(drain(deployer)), { code: 'NOT_GRANTED' })
  statements.admit(drain(registry, false, 2000))
  statements.add(drain(host, true, 1500))
  t.match(statements.list(DRAIN), [{ isDraining: false }])
})

t.test('only an admin says that a registrar is gone for good', async (t) => {
  const { statements } = board()
  const key = toHex(KeyPair().publicKey)
  const forget = (issuer: KeyPair, registrar = key) => signForgotten(publicKey, issuer, registrar)
  t.throws(() => statements.admit(forget(host)), { code: 'NOT_GRANTED' })
  statements.admit(forget(registry))
  t.match(statements.get(FORGOTTEN, key), { registrar: key, issuer: toHex(publicKey) })
  for (const fields of [{ registrar: 'ab' }, { issuer: 5 }, { issuedAt: -1 }]) {
    const json = JSON.stringify({ ...forget(registry), ...fields })
    t.throws(() => new StatementKinds().parse(json, publicKey), { code: 'BAD_MESSAGE' })
  }
})
