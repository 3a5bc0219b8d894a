import t, { type Test } from 'tap'
import { parseAppFile } from '../../lib/hosting/app-file.js'
import type { KnownHost } from '../../lib/hosting/fleet.js'
import { decodeRelease, releaseOf } from '../../lib/hosting/release.js'
import { spreadRelease } from '../../lib/hosting/spread-release.js'
import { slowness } from '../watchdog.js'
import { aBundle, quay } from './chunks/quay.js'
import { aHost } from './fleet.js'

const CHUNKS = 6

t.test(
  'a push goes on for as long as it makes progress, and ends when it makes none',
  async (t) => {
    const { spread, pusher, host, release } = await aPush(t)
    const { read } = pusher.store
    const patience = 800 * slowness()
    pusher.store.read = async (hash) => {
      await new Promise((resolve) => setTimeout(resolve, patience / 4))
      return read.call(pusher.store, hash)
    }
    const since = performance.now()
    t.match(await spread(patience), { hosts: [{ host: host.key }] })
    t.ok(performance.now() - since > patience, 'all of it took longer than it may be silent')
    t.ok(await host.store.has(release.bundle))
  }
)

t.test('a push to a host that asks for nothing ends, and says so', async (t) => {
  const { spread, host } = await aPush(t)
  host.exchange.fetchDocument = () => new Promise(() => {})
  await t.rejects(spread(300), { code: 'DEADLINE', message: /no progress/ })
})

/** A deployer with a release, and a host that fetches when it is told to. */
async function aPush(t: Test) {
  const { berth } = quay(t)
  const [pusher, host] = [await berth(), await berth()]
  const { list } = await aBundle(pusher.store, Array(CHUNKS).fill(1000))
  const file = parseAppFile(JSON.stringify({ name: 'hello', version: '1.0.0', command: ['node'] }))
  const release = releaseOf(file, { list, platforms: null })
  const sources = { pusher: pusher.key }
  const known = { ...aHost({ host: host.key }), name: 'one' } as KnownHost
  const spread = (patience: number) =>
    spreadRelease(
      {
        store: pusher.store,
        key: pusher.key,
        connect: (key) => pusher.connect(key.toString('hex')),
        authorize: () => true,
        hosts: [known],
        patience,
        send: async (_host, hash, signal) => {
          const failed = new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason))
          )
          const fetched = async () => {
            const document = await host.exchange.fetchDocument(hash, { sources })
            return host.exchange.fetch(decodeRelease(document).bundle, { sources })
          }
          return Promise.race([fetched(), failed])
        }
      },
      release,
      () => {}
    )
  return { spread, pusher, host, release }
}
