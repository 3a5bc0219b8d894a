import { Consumer, type Instance } from '../../lib/index.js'
import { toHex } from '../../lib/keys.js'
import { parseRoleRange } from '../../lib/role.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  JSON_FLAG,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from '../flags.js'
import { table } from '../table.js'
import { say, waitAloud } from '../talk.js'

const TIMEOUT_MS = 10_000
/** After one peer denied us: another may know of a newer grant. */
const DENIAL_TIMEOUT_MS = 1500
const COLUMNS = ['ROLE', 'VERSION', 'STATUS', 'INSTANCE', 'TAGS']

/** Shows what is registered now. */
export const list: Command = {
  verb: 'list',
  positional: 'role',
  describe: 'List the instances that are registered',
  flags: {
    role: { alias: 'r', describe: 'Name and semver range', otherwise: 'all' },
    registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
    json: JSON_FLAG,
    dir: DIR_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['list', 'Every instance'],
    ['list couchdb@3.x --json', 'Those of one role, for a program to read']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role', undefined)
    if (role !== undefined) parseRoleRange(role)
    const registryPublicKey = settings.key('registryPublicKey')
    const json = settings.on('json')
    const verbose = settings.on('verbose')

    const consumer = lifetime.own(
      Consumer([], {
        registryPublicKey,
        dir: settings.text('dir', undefined),
        verb: 'list',
        serve: false,
        timeout: TIMEOUT_MS,
        denialTimeout: DENIAL_TIMEOUT_MS,
        ...networkOptions(settings)
      })
    )
    consumer.on('notice', (notice: Error) => {
      if (verbose) say(notice.message)
    })
    await waitAloud(
      consumer.setup(),
      () => `still searching for the registry ${toHex(registryPublicKey)}`
    )
    const instances = consumer.list(role)
    if (json) console.log(JSON.stringify(instances, null, 2))
    else if (instances.length > 0) console.log(table([COLUMNS, ...instances.map(toRow)]))
    else say(role === undefined ? 'nothing is registered' : `nobody serves ${role}`)
  }
}

function toRow({ role, version, status, live, servicePublicKey, tags }: Instance): string[] {
  const seen = live ? status : `${status} (last known)`
  return [role, version, seen, servicePublicKey, tags.join(' ')]
}
