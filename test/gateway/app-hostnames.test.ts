import t from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { AppHostnames, rangeOf } from '../../lib/gateway/app-hostnames.js'
import { readAppDomain } from '../../lib/gateway/domains.js'
import { Membership } from '../../lib/registry/swarm/membership.js'
import {
  type AppFields,
  type AppStatement,
  signApp
} from '../../lib/registry/trust/app-statement.js'

const registry = KeyPair()
const hash = (letter: string) => letter.repeat(64)

function signed(more: Partial<AppFields>, before: AppStatement | null = null, at = 1000) {
  const fields: AppFields = {
    app: 'shop',
    state: 'running',
    version: '1.0.0',
    release: hash('a'),
    instances: 1,
    hostnames: ['shop.test'],
    place: { labels: [], memory: 0, driver: 'process' },
    restarts: 0,
    ...more
  }
  return signApp(registry.publicKey, registry, fields, before, at)
}

t.test('a hostname leads to the app that claims it, for as long as that is to run', async (t) => {
  const { statements } = new Membership(registry.publicKey)
  const hostnames = new AppHostnames()
  t.equal(hostnames.appOf('shop.test'), null, 'nothing is known yet')
  hostnames.follow(statements)
  const first = signed({})
  statements.add(first)
  t.equal(hostnames.appOf('shop.test'), first)
  t.equal(hostnames.appOf('other.test'), null)
  const second = signed({ version: '2.0.0', release: hash('b') }, first)
  statements.add(second)
  t.equal(hostnames.appOf('shop.test'), second)
  t.equal(rangeOf(second), '2.0.0 || 1.0.0', 'old and new while they mix')
  const late = signed({ app: 'thief' }, null, 2000)
  statements.add(late)
  t.equal(hostnames.appOf('shop.test')?.app, 'shop', 'the older claim counts')
  const stopped = signed({ state: 'stopped' }, second)
  statements.add(stopped)
  t.equal(hostnames.appOf('shop.test'), null, 'a stopped app keeps its name from others')
  statements.add(signed({ state: 'removed' }, stopped))
  t.equal(hostnames.appOf('shop.test')?.app, 'thief')
})

t.test('a rule names hosts, and the one app that may have them', async (t) => {
  const apps = new AppHostnames()
  t.match(readAppDomain({ host: '*.Test' }, apps), { pattern: '*.test', only: null })
  t.match(readAppDomain({ host: 'a.test', app: 'shop' }, apps), { only: 'shop' })
  t.throws(() => readAppDomain({ host: '*' }, apps), { code: 'USAGE' })
  t.throws(() => readAppDomain({ host: 'a.test', app: 'a b' }, apps), { code: 'BAD_ROLE' })
})
