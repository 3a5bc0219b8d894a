import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import type { Hosted } from '../../lib/dashboard/hosted.js'
import { LiveFeed } from '../../lib/dashboard/live-feed.js'
import type { Principal } from '../../lib/gateway/access.js'
import { InstanceViews } from '../../lib/gateway/instance-views.js'
import { Traffic } from '../../lib/gateway/traffic.js'
import { Directory } from '../../lib/registry/replica/directory.js'
import { record } from '../registry/records.js'

const INTERVAL_MS = 10
const NOTHING: Hosted = { apps: [], hosts: [] }
const EVERYBODY = {
  name: 'anonymous',
  mayReach: () => true,
  grounds: '',
  mayReachRole: () => true,
  mayReachAll: true
} as unknown as Principal

t.test('the feed says which log vouches for an instance, and when that changes', async (t) => {
  const directory = new Directory()
  const instance = record({}, KeyPair())
  directory.setLive('one', true)
  directory.apply('one', [[instance.key, instance]])
  const next = eventsOf(t, directory)
  t.same((await next('snapshot')).holders, { one: [instance.key] })
  t.same((await next('tick')).holders, {}, 'not again')

  directory.setLive('two', true)
  directory.apply('two', [[instance.key, instance]])
  directory.drop('one')
  for (;;) {
    const { holders } = await next('tick')
    if (Object.keys(holders).length === 0) continue
    t.same(holders, { two: [instance.key] })
    break
  }
})

t.test(
  'the feed tells of apps and hosts at first, and again when something of it has changed',
  async (t) => {
    const host = { key: 'ab'.repeat(32), name: 'attic', state: 'ready' as const, labels: [] }
    let hosted: Hosted = { apps: [], hosts: [host] }
    const next = eventsOf(t, new Directory(), () => hosted)
    t.same((await next('snapshot')).hosted, hosted)
    t.notOk((await next('tick')).hosted, 'not again')
    hosted = { apps: [], hosts: [{ ...host, state: 'draining' }] }
    for (;;) {
      const { hosted: told } = await next('tick')
      if (!told) continue
      t.same(told, hosted)
      break
    }
  }
)

t.test('the feed ends when the rights of who watches have changed', async (t) => {
  const { feed, response } = feedOf(t, new Directory())
  feed.recheck({ isCurrent: (principal) => principal === EVERYBODY })
  t.equal(response.writableEnded, false)
  feed.recheck({ isCurrent: () => false })
  t.equal(response.writableEnded, true)
})

/** What a watcher is told, one event after the other. */
function eventsOf(t: Test, directory: Directory, hosted?: () => Hosted) {
  const events = parse(feedOf(t, directory, hosted).response)
  return async (wanted: string) => {
    for (;;) {
      const { value } = await events.next()
      if (value?.event === wanted) return value.data
    }
  }
}

/** A feed with a watcher. */
function feedOf(t: Test, directory: Directory, hosted = (): Hosted => NOTHING) {
  const feed = new LiveFeed({
    registryPublicKey: '5b'.repeat(32),
    directory,
    views: new InstanceViews({ directory }),
    traffic: new Traffic(),
    logs: () => [],
    hosted,
    peers: () => 0,
    pathOf: () => null,
    interval: INTERVAL_MS
  })
  const response = Object.assign(new PassThrough({ encoding: 'utf8' }), { writeHead: () => {} })
  t.teardown(() => feed.close())
  feed.open()
  feed.attach(response as never, EVERYBODY, '127.0.0.1')
  return { feed, response }
}

async function* parse(stream: AsyncIterable<string>) {
  let text = ''
  for await (const chunk of stream) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)/.exec(text.slice(0, end)) ?? []
      text = text.slice(end + 2)
      if (event && data) yield { event, data: JSON.parse(data) }
    }
  }
}
