import type { KeyPair } from '../../lib/identity.js'
import type { Measures } from '../../lib/metrics.js'
import type { AccessEntry, Web } from '../../lib/web.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from '../flags.js'
import type { Lifetime } from '../lifetime.js'
import { METRICS_FLAG, serveMetrics } from '../metrics.js'
import { dataStats, printData } from '../output.js'
import type { Settings } from '../settings.js'
import { shownKey, wholeKey } from '../shown-key.js'
import { say, waitAloud } from '../talk.js'
import { logFormat, WEB_FLAGS, webOptions, webRules } from '../web-flags.js'

/** Serves the registry's services over HTTP, and the dashboard. */
export const web: Command = {
  verb: 'web',
  isLasting: true,
  flags: {
    port: {
      alias: 'p',
      describe: 'Port to listen on, 0 for a free one',
      needed: 'the port to listen on, or 0 for a free one'
    },
    registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
    ...WEB_FLAGS,
    metrics: METRICS_FLAG,
    dir: DIR_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['web -p 8777', 'http://localhost:8777/role/couchdb@3.x/, and a dashboard at /'],
    [
      'web -p 443 --listen 0.0.0.0 --public "site@1.x" --domain "example.com=site@1.x"',
      'One role, for everybody'
    ],
    ['web -p 8777 --auth access.txt --log json', 'For those in a file, with an access log']
  ],

  async run(settings, lifetime) {
    const port = settings.listenPort('port')
    const registryPublicKey = settings.key('registryPublicKey')
    await startWeb(settings, lifetime, {
      registryPublicKey,
      port,
      dir: settings.path('dir', undefined)
    })
    await lifetime.untilStopped()
  }
}

interface WebPlace {
  registryPublicKey: Buffer
  /** The registry's own, if that runs here: it needs no grant. */
  keyPair?: KeyPair
  port: number
  dir: string | undefined
  /** What to show on the metrics port beside the gateway's own numbers. */
  measures?: Measures
}

/** Starts a gateway and resolves when it listens. SIGHUP has it read its rules again. */
export async function startWeb(
  settings: Settings,
  lifetime: Lifetime,
  { registryPublicKey, keyPair, port, dir, measures = () => [] }: WebPlace
): Promise<Web> {
  const format = logFormat(settings)
  const registry = await shownKey(registryPublicKey)
  const whole = await wholeKey(registryPublicKey)
  const options = { ...webOptions(settings), ...networkOptions(settings) }
  const { toJson, toLine, Web } = await import('../../lib/web.js')
  const { measuresOf } = await import('../../lib/metrics.js')
  const web = lifetime.own(
    Web({ ...options, registryPublicKey, keyPair, port, dir, timeout: Infinity })
  )
  // It may look for its registry for hours, and is not to end when it is told to read its rules meanwhile.
  lifetime.reread = () => {
    try {
      web.update(webRules(settings.reread()))
      say('read the configuration again')
    } catch (error) {
      say(`the configuration stays as it was: ${(error as Error).message}`)
    }
  }
  web.on('connecting', () => console.log(`connecting to registry ${whole}`))
  web.on('connected', () => console.log('connected to registry'))
  web.on('failed', (error: Error) => say(error.message))
  web.on('draining', (requests: number) => {
    const open = `${requests} ${requests === 1 ? 'request' : 'requests'} open`
    say(`no new requests, ${open}, again to cut`)
  })
  for (const event of ['denied', 'notice'] as const)
    web.on(event, (error: Error) => say(error.message))
  if (format !== null) {
    const print = format === 'json' ? toJson : toLine
    web.on('access', (entry: AccessEntry) => printData(print(entry)))
  }
  await serveMetrics(settings, lifetime, () => [
    ...measures(),
    ...web.measures(),
    ...measuresOf('web', { log: dataStats })
  ])
  await waitAloud(web.setup(), () => `still searching for the registry ${registry}`)
  console.log(`web server listening on port ${web.port}`)
  say(`see ${web.url}`)
  return web
}
