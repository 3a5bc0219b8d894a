import type { Grant } from '../../lib/index.js'
import { ADMIN_FLAGS, KEY_FLAG, openAdmin } from '../administration.js'
import type { Command } from '../command.js'

/** Lets a key into a private registry. */
export const grant: Command = {
  verb: 'grant',
  positional: 'key',
  describe: 'Let a key into a private registry; it adds to what the key was granted before',
  flags: {
    key: KEY_FLAG,
    serve: {
      kind: 'list',
      describe: "Role it may serve, 'couchdb@3.x', '@team/*@^2' or '*', may be repeated",
      commandLineOnly: true
    },
    consume: {
      kind: 'list',
      describe: 'Role it may connect to, may be repeated',
      commandLineOnly: true
    },
    call: {
      kind: 'list',
      describe: "Command it may call, 'agent@1.x#fetch' or 'agent#*', may be repeated",
      commandLineOnly: true
    },
    replace: {
      kind: 'switch',
      describe: 'Replace what it was granted before, rather than add to it',
      commandLineOnly: true
    },
    admin: {
      kind: 'switch',
      describe: 'It may grant and revoke in its turn',
      commandLineOnly: true
    },
    expires: {
      describe: 'When that ends: 30d, 12h, 45m, or a date',
      otherwise: 'never',
      commandLineOnly: true
    },
    ...ADMIN_FLAGS
  },
  examples: [
    ["grant abe2… --serve 'couchdb@3.x'", 'A service, by its service key'],
    ["grant 0300… --consume '@team/*@^2' --expires 30d", 'A proxy, by its process key'],
    ['grant 0300…', 'A process that may list, and nothing else'],
    ["grant 0300… --call 'agent@1.x#fetch'", 'A process that may have one command executed'],
    ['grant 0300… --admin', 'An admin']
  ],

  async run(settings, lifetime) {
    const key = settings.key('key')
    const terms = {
      serve: settings.list('serve'),
      consume: settings.list('consume'),
      call: settings.list('call'),
      admin: settings.on('admin'),
      expiresAt: settings.expiry('expires', 0)
    }
    const { parseCallPattern, parseRolePattern } = await import('../../lib/roles.js')
    for (const pattern of [...terms.serve, ...terms.consume]) parseRolePattern(pattern)
    for (const pattern of terms.call) parseCallPattern(pattern)
    const admin = await openAdmin(settings, lifetime)
    const granted = settings.on('replace')
      ? await admin.grant(key, terms)
      : await admin.grantMore(key, terms)
    console.log(settings.on('json') ? JSON.stringify(granted, null, 2) : toLine(granted))
  }
}

function toLine({ subject, serve, consume, call = [], admin, expiresAt }: Grant): string {
  const rights = [
    'list',
    ...serve.map((pattern) => `serve ${pattern}`),
    ...consume.map((pattern) => `consume ${pattern}`),
    ...call.map((pattern) => `call ${pattern}`),
    ...(admin ? ['administer'] : [])
  ]
  const end = expiresAt === 0 ? '' : ` until ${new Date(expiresAt).toISOString()}`
  return `granted ${subject} to ${rights.join(', ')}${end}`
}
