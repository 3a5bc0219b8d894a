import { inspect } from 'node:util'
import { KeyPair, Service, type ServiceRecord } from '../../lib/index.js'
import { toHex } from '../../lib/keys.js'
import { type Backend, connectBackend, parseBackend } from '../../lib/link/backend.js'
import { DIRECT_REACHES } from '../../lib/link/direct-address.js'
import { measuresOf } from '../../lib/metrics.js'
import { parseServiceRole } from '../../lib/role.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from '../flags.js'
import { METRICS_FLAG, serveMetrics } from '../metrics.js'
import { say, waitAloud } from '../talk.js'

/** Registers what listens on a local port, and lets its consumers in. */
export const service: Command = {
  verb: 'service',
  describe: 'Register a local port as a service',
  flags: {
    port: {
      alias: 'p',
      describe: 'Port of the backend on this machine',
      needed: 'the port of the backend on this machine, or --target host:port elsewhere'
    },
    target: { describe: 'The backend elsewhere, host:port' },
    role: {
      alias: 'r',
      describe: 'Name and exact version',
      needed: 'the name and exact version of the service, as in couchdb@3.2.2'
    },
    registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
    seed: {
      describe: "The service's own seed or @file",
      otherwise: 'one that is kept for this role and backend'
    },
    allow: {
      kind: 'list',
      describe: 'Key of a consumer that may connect, may be repeated',
      otherwise: 'all'
    },
    tag: { kind: 'list', describe: 'A word to list it with, may be repeated' },
    direct: {
      describe: 'Which addresses to listen on by TCP, beside the DHT: off, lan or any',
      otherwise: 'lan, or loopback if the DHT node is there'
    },
    directPort: { describe: 'TCP port for that', otherwise: 'a free one' },
    dir: DIR_FLAG,
    metrics: METRICS_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['service -p 5984 -r couchdb@3.2.2 --registryPublicKey 5b64…', 'A database on this machine'],
    ['service --target 10.0.0.7:80 -r @team/api@1.0.0', 'A machine nearby; the key is configured']
  ],

  async run(settings, lifetime) {
    const target = settings.text('target', undefined) ?? `${settings.port('port')}`
    const backend = parseBackend(target)
    const role = settings.text('role')
    parseServiceRole(role)
    const registryPublicKey = settings.key('registryPublicKey')
    const seed = settings.key('seed', undefined)
    const allow = settings.list('allow')

    const service = lifetime.own(
      Service({
        registryPublicKey,
        role,
        target,
        keyPair: seed && KeyPair(seed),
        allow: allow.length > 0 ? allow : undefined,
        tags: settings.list('tag'),
        direct: settings.word('direct', DIRECT_REACHES, undefined),
        directPort: settings.port('directPort', undefined),
        dir: settings.text('dir', undefined),
        timeout: Infinity,
        ...networkOptions(settings)
      })
    )
    let registered = false
    service.on('listening', () => console.log(`started p2p service on ${service.servicePublicKey}`))
    service.on('connecting', () => {
      console.log(`connecting to registry ${toHex(registryPublicKey)}`)
    })
    service.on('registered', (record: ServiceRecord) => {
      if (!registered) console.log(`registered service ${shown(record)}`)
      registered = true
    })
    service.on('lost', () => {
      registered = false
      say('the registry is out of reach, still trying')
    })
    for (const event of ['denied', 'refused', 'notice']) {
      service.on(event, (error: Error) => say(error.message))
    }
    await warnOfAbsence(backend)
    await waitAloud(
      service.setup(),
      () => `still searching for a registrar of ${toHex(registryPublicKey)}`
    )
    await serveMetrics(settings, lifetime, () => measuresOf('service', service.getStats()))
    await lifetime.untilStopped()
  }
}

/** A backend may come later; that nothing is there yet is worth a word. */
async function warnOfAbsence(backend: Backend) {
  try {
    const socket = await connectBackend(backend)
    socket.destroy()
  } catch (error) {
    say((error as Error).message)
  }
}

function shown({ role, version, key, tags, status }: ServiceRecord): string {
  const instance = { role, version, servicePublicKey: key, tags, status }
  return inspect(instance, { breakLength: Infinity })
}
