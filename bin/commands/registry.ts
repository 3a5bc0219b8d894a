import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KeyPair } from '../../lib/identity.js'
import type { Limits, Registry, ServiceRecord } from '../../lib/index.js'
import { DEFAULT_LIMITS } from '../../lib/options.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  FORWARD_FLAG,
  forwardOption,
  NETWORK_FLAGS,
  networkOptions
} from '../flags.js'
import { checkMetricsFlag, METRICS_FLAG, serveMetrics } from '../metrics.js'
import type { Settings } from '../settings.js'
import { Reporter, say, waitAloud } from '../talk.js'
import { checkWebFlags, WEB_FLAGS } from '../web-flags.js'
import { startWeb } from './web.js'

/** How long the lines of a registry that is open wait until it can be reached as well, in ms. */
const REACHABLE_SOON_MS = 500
/** How much of its rate a key may send at once. */
const BURST_SECONDS = 2

/** Runs a registrar. */
export const registry: Command = {
  verb: 'registry',
  isLasting: true,
  flags: {
    registrySeed: {
      describe: 'The registry, its seed or @file',
      needed: "make one with 'hyperseaport seed --out ~/.config/hyperseaport'"
    },
    registryDir: { describe: 'Folder to keep the records in, as --dir' },
    forward: FORWARD_FLAG,
    dir: DIR_FLAG,
    private: {
      kind: 'switch',
      describe:
        "Admit only keys with a grant, see 'hyperseaport grant --help'; false opens a private registry"
    },
    staleGrace: {
      describe: 'How long services are listed as stale whose leases vanished with most others',
      otherwise: '60s'
    },
    maxRate: { describe: 'Messages a second that one key may send', otherwise: '5000' },
    maxServices: { describe: 'Services that one participant may register', otherwise: '10000' },
    maxApps: { describe: 'Apps that may be deployed, removed ones apart', otherwise: '1000' },
    maxConnections: { describe: 'Connections taken from one address', otherwise: '1024' },
    maxReplicas: { describe: 'Connections on which the log is copied', otherwise: '2048' },
    relay: {
      describe:
        'Bytes a second to pass on for members that cannot meet otherwise, as in 10m, if this machine can be called from outside; or off',
      otherwise: '10m'
    },
    web: { describe: 'Also serve HTTP, as the verb web does, on this port; 0 for a free one' },
    ...WEB_FLAGS,
    metrics: METRICS_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['registry', 'With the seed in the config file'],
    ['registry --web 8777', 'And the web gateway, with its dashboard at http://localhost:8777/'],
    ['registry --private', 'Admit only those who were granted something'],
    ['registry --registrySeed @seed.txt', 'With a seed in another file']
  ],

  async run(settings, lifetime) {
    const seed = settings.key('registrySeed')
    const keyPair = KeyPair(seed)
    const { publicKey } = keyPair
    const { defaultDir, Registry } = await import('../../lib/registry.js')
    const dir =
      settings.path('registryDir', undefined) ??
      settings.path('dir', undefined) ??
      defaultDir(publicKey, 'registry')

    const web = settings.listenPort('web', null)
    checkWebFlags(settings)
    checkMetricsFlag(settings)

    const metrics = await import('../../lib/metrics.js')
    const registry = lifetime.own(
      Registry({
        seed,
        dir,
        private: settings.on('private', undefined),
        staleGrace: settings.duration('staleGrace', undefined),
        limits: limitsOf(settings),
        relay: relayOf(settings),
        forward: forwardOption(settings),
        ...networkOptions(settings)
      })
    )
    registry.on('notice', (notice: Error) => say(notice.message))
    for (const event of ['registered', 'withdrawn', 'gone', 'stale'] as const) {
      const reporter = new Reporter(event)
      registry.on(event, (record: ServiceRecord) => reporter.say(nameOf(record)))
    }
    say(`storing in ${dir}`)
    const opened = new Promise<void>((resolve) => registry.once('opened', resolve))
    const reachable = waitAloud(registry.setup(), () => 'still announcing the registry on the DHT')
    // The key, numbers and pages need nobody else: they do not wait until the registry can be reached.
    await Promise.race([reachable, opened.then(() => sleep(REACHABLE_SOON_MS))])
    console.log(`registryPublicKey=${registry.registryPublicKey}`)
    if (web !== null) {
      // One port has the numbers of both.
      await startWeb(settings, lifetime, {
        registryPublicKey: publicKey,
        keyPair,
        port: web,
        dir: join(dir, 'web'),
        measures: () => measures(registry, metrics)
      })
    } else await serveMetrics(settings, lifetime, () => measures(registry, metrics))
    await reachable
    await lifetime.untilStopped()
  }
}

type Metrics = typeof import('../../lib/metrics.js')

function* measures(
  registry: Registry,
  { measuresOf, measuresOfInstances, measuresOfLogs }: Metrics
) {
  const { logs, ...stats } = registry.getStats()
  yield* measuresOf('registry', stats)
  yield* measuresOfLogs(logs)
  yield* measuresOfInstances(registry.list())
}

function limitsOf(settings: Settings): Partial<Limits> {
  const { messageRate, leasesPerKey, apps, connectionsPerAddress, replications } = DEFAULT_LIMITS
  const rate = settings.count('maxRate', messageRate)
  return {
    messageRate: rate,
    messageBurst: rate * BURST_SECONDS,
    leasesPerKey: settings.count('maxServices', leasesPerKey),
    apps: settings.count('maxApps', apps),
    connectionsPerAddress: settings.count('maxConnections', connectionsPerAddress),
    replications: settings.count('maxReplicas', replications)
  }
}

function relayOf(settings: Settings): number | undefined {
  return settings.text('relay', undefined) === 'off' ? 0 : settings.size('relay', undefined)
}

function nameOf({ role, version, key }: ServiceRecord): string {
  return `${role}@${version} ${key}`
}
