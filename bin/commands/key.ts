import { keepProcessKey, nextServiceKey, toHex } from '../../lib/identity.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, DIR_FLAG, JSON_FLAG, REGISTRY_PUBLIC_KEY_FLAG } from '../flags.js'
import { say } from '../talk.js'

/** Shows the keys that need a grant in a private registry, before anything is started. */
export const key: Command = {
  verb: 'key',
  flags: {
    registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
    role: { alias: 'r', describe: 'Also the key of a service: its name and exact version' },
    port: {
      alias: 'p',
      describe: 'Its port, as it will be given to service',
      needed:
        'as it will be given to service, or --target; a service that starts a command, as after --, says its key itself'
    },
    target: { describe: 'Its target, as it will be given to service' },
    name: { describe: 'Its name, if it will be given to service' },
    json: JSON_FLAG,
    dir: {
      ...DIR_FLAG,
      describe: 'Folder whose key it is, if the verb will be run with this --dir'
    },
    ...COMMON_FLAGS
  },
  examples: [
    ['key', 'What proxy, list, watch and web use: one key per user and registry'],
    ['key -r couchdb@3.2.2 -p 5984', 'And the service key of that, without a --seed']
  ],

  async run(settings) {
    const registry = settings.key('registryPublicKey')
    const role = settings.text('role', undefined)
    const dir = settings.path('dir', undefined)
    const keys: Record<string, string> = {}
    if (role !== undefined) {
      const { parseBackend, parseServiceRole } = await import('../../lib/roles.js')
      const { host, port } = parseBackend(
        settings.text('target', undefined) ?? settings.port('port')
      )
      const identity = {
        ...parseServiceRole(role),
        backend: `${host}:${port}`,
        name: settings.text('name', undefined)
      }
      const { next, held } = await nextServiceKey(registry, identity, dir)
      keys.servicePublicKey = toHex(next.publicKey)
      for (const { publicKey } of held) say(`a running service has ${toHex(publicKey)}`)
    }
    keys.processPublicKey = toHex((await keepProcessKey(registry, dir)).publicKey)
    if (settings.on('json')) return console.log(JSON.stringify(keys, null, 2))
    for (const [name, hex] of Object.entries(keys)) console.log(`${name}=${hex}`)
  }
}
