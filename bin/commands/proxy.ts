import { inspect } from 'node:util'
import type { Consumer, ConsumerEntry, Instance } from '../../lib/index.js'
import { DIRECT_REACHES } from '../../lib/options.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  DIRECT_FLAG,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from '../flags.js'
import { METRICS_FLAG, serveMetrics } from '../metrics.js'
import { shownKey, wholeKey } from '../shown-key.js'
import { say, waitAloud } from '../talk.js'

const LOOPBACK = '127.0.0.1'
const DRAIN_TIMEOUT_MS = 30_000
type Metrics = typeof import('../../lib/metrics.js')

const VERSIONS = ['newest', 'all'] as const

/** Brings a service to a local port. */
export const proxy: Command = {
  verb: 'proxy',
  isLasting: true,
  flags: {
    port: {
      alias: 'p',
      describe: 'Local port to listen on, 0 for a free one',
      needed: 'the local port to listen on, or 0 for a free one'
    },
    role: {
      alias: 'r',
      describe: 'Name and semver range',
      needed: 'the name and semver range of a service, as in couchdb@3.x'
    },
    registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
    listen: { describe: 'Local address to listen on', otherwise: LOOPBACK },
    mode: {
      // To load them from the balancer takes longer than the whole of the help.
      describe:
        'How an instance is chosen for each connection: p2c, first, round-robin, hash, static-first, static-roundRobin or static-hash',
      otherwise: 'p2c'
    },
    versions: {
      describe: 'Which versions have their share: newest, with the older behind it, or all',
      otherwise: 'newest'
    },
    drainTimeout: {
      describe: 'How long open connections may go on when it is stopped, in seconds or as in 500ms',
      otherwise: '30'
    },
    direct: DIRECT_FLAG,
    dir: DIR_FLAG,
    metrics: METRICS_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['proxy -p 5985 -r couchdb@3.x --registryPublicKey 5b64…', 'Any couchdb 3, on port 5985'],
    ['proxy -p 0 -r @team/api@^1.2.0', 'On a free port; the key is configured']
  ],

  async run(settings, lifetime) {
    const port = settings.listenPort('port')
    const role = settings.text('role')
    const { parseRoleRange } = await import('../../lib/roles.js')
    parseRoleRange(role)
    const registryPublicKey = settings.key('registryPublicKey')

    const { BALANCE_MODES, Consumer } = await import('../../lib/consumer.js')
    const registry = await shownKey(registryPublicKey)
    const whole = await wholeKey(registryPublicKey)
    const consumer = lifetime.own(
      Consumer([role], {
        registryPublicKey,
        ports: [port],
        listen: settings.text('listen', LOOPBACK),
        loadBalanceOptions: { mode: settings.word('mode', BALANCE_MODES, undefined) },
        versions: settings.word('versions', VERSIONS, undefined),
        direct: settings.word('direct', DIRECT_REACHES, undefined),
        dir: settings.path('dir', undefined),
        verb: 'proxy',
        drainTimeout: settings.delay('drainTimeout', DRAIN_TIMEOUT_MS),
        timeout: Infinity,
        ...networkOptions(settings)
      })
    )
    let waitingFor = `the registry ${registry}`
    consumer.on('connecting', () => {
      console.log(`connecting to registry ${whole}`)
    })
    consumer.on('connected', () => {
      console.log('connected to registry')
      waitingFor = `an instance of ${role}`
    })
    consumer.on('waiting', () => console.log(`waiting for an instance of ${role}`))
    consumer.on('found', (instance: Instance) => {
      console.log(`found service ${shown(instance)}`)
    })
    consumer.on('listening', (entry: ConsumerEntry, { servicePublicKey }: Instance) => {
      console.log(`proxy from  ${entry.port} to p2p service ${servicePublicKey}`)
    })
    consumer.on('draining', (connections: number) => {
      const open = `${connections} ${connections === 1 ? 'connection' : 'connections'} open`
      say(`no new connections, ${open}, again to cut`)
    })
    consumer.on('denied', ({ code }) => {
      if (code === 'NOT_GRANTED') waitingFor = 'a grant'
    })
    for (const event of ['denied', 'refused', 'notice'] as const) {
      consumer.on(event, (error: Error) => say(error.message))
    }
    const metrics = await import('../../lib/metrics.js')
    await serveMetrics(settings, lifetime, () => measures(consumer, metrics))
    await waitAloud(
      consumer.setup(),
      () => `still ${waitingFor === 'a grant' ? 'waiting' : 'searching'} for ${waitingFor}`
    )
    await lifetime.untilStopped()
  }
}

/** Streams of bytes are what every service speaks; their name is empty, and left out. */
function shown(instance: Instance): string {
  const speaks = instance.speaks.filter((purpose) => purpose !== '')
  return inspect({ ...instance, speaks }, { breakLength: Infinity })
}

function* measures(
  consumer: Consumer,
  { measuresOf, measuresOfInstances, measuresOfLogs }: Metrics
) {
  const { logs, ...stats } = consumer.getStats()
  yield* measuresOf('proxy', stats)
  yield* measuresOfLogs(logs)
  yield* measuresOfInstances(consumer.list())
  for (const entry of consumer.entries) {
    yield* measuresOf('proxy', entry.getStats(), { role: String(entry) })
  }
}
