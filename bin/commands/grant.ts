import { SeaportError } from '../../lib/identity.js'
import type { Deployment, Grant } from '../../lib/index.js'
import { ADMIN_FLAGS, KEY_FLAG, OPEN_REGISTRY, openAdmin } from '../administration.js'
import type { Command } from '../command.js'
import type { Settings } from '../settings.js'
import { say } from '../talk.js'

/**
 * Lets a key into a private registry, and to apps in any. `--host` means two things here: with a value it is the address
 * that every verb takes, and without one the right to run apps.
 */
export const grant: Command = {
  verb: 'grant',
  positional: 'key',
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
    deploy: {
      kind: 'list',
      describe: "Apps it may deploy, 'shop,@team/*', in an open registry, too; may be repeated",
      commandLineOnly: true
    },
    on: {
      kind: 'list',
      describe: 'Label that a host has on which it may deploy them, region=eu, may be repeated',
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
    ...ADMIN_FLAGS,
    host: {
      kind: 'list',
      describe:
        'Without a value: it may run apps, in an open registry, too. With one: ' +
        'address the DHT node binds and advertises'
    }
  },
  examples: [
    ["grant abe2… --serve 'couchdb@3.x'", 'A service, by its service key'],
    ["grant 0300… --consume '@team/*@^2' --expires 30d", 'A proxy, by its process key'],
    ['grant 0300…', 'A process that may list, and nothing else'],
    ["grant 0300… --call 'agent@1.x#fetch'", 'A process that may have one command executed'],
    ['grant 0300… --host', 'A host, which runs apps'],
    ["grant 0300… --deploy 'shop,@team/*' --on region=eu", 'A deployer of these apps, in the EU'],
    ['grant 0300… --admin', 'An admin']
  ],

  async run(settings, lifetime) {
    const key = settings.key('key')
    const terms = {
      serve: settings.list('serve'),
      consume: settings.list('consume'),
      call: settings.list('call'),
      deploy: deploymentsOf(settings),
      ...(settings.list('host').includes('') && { host: true as const }),
      admin: settings.on('admin'),
      expiresAt: settings.expiry('expires', 0)
    }
    const { parseCallPattern, parseRolePattern } = await import('../../lib/roles.js')
    for (const pattern of [...terms.serve, ...terms.consume]) parseRolePattern(pattern)
    for (const pattern of terms.call) parseCallPattern(pattern)
    const admin = await openAdmin(settings, lifetime, { host: addressOf(settings) })
    const granted = settings.on('replace')
      ? await admin.grant(key, terms)
      : await admin.grantMore(key, terms)
    const isForAll = [...terms.serve, ...terms.consume].length > 0
    if (isForAll && !admin.list().private) say(OPEN_REGISTRY)
    console.log(settings.on('json') ? JSON.stringify(granted, null, 2) : toLine(granted))
  }
}

/** @throws USAGE */
function deploymentsOf(settings: Settings): Deployment[] {
  const apps = settings.list('deploy').flatMap((text) => text.split(','))
  const on = settings.list('on').flatMap((text) => text.split(','))
  if (on.length > 0 && apps.length === 0) {
    throw SeaportError.USAGE(
      "--on says where apps of --deploy may run: name some, as '--deploy shop'"
    )
  }
  return apps.map((one) => ({ apps: one.trim(), on: on.map((label) => label.trim()) }))
}

function addressOf(settings: Settings): string | undefined {
  const addresses = settings.list('host').filter((address) => address !== '')
  if (addresses.length < 2) return addresses[0]
  throw SeaportError.USAGE('--host can have one address only')
}

function toLine(granted: Grant): string {
  const { subject, serve, consume, call = [], host, deploy = [], admin, expiresAt } = granted
  const rights = [
    'list',
    ...serve.map((pattern) => `serve ${pattern}`),
    ...consume.map((pattern) => `consume ${pattern}`),
    ...call.map((pattern) => `call ${pattern}`),
    ...(host ? ['host apps'] : []),
    ...deploy.map(({ apps, on }) => `deploy ${[apps, ...on].join(' on ')}`),
    ...(admin ? ['administer'] : [])
  ]
  const end = expiresAt === 0 ? '' : ` until ${new Date(expiresAt).toISOString()}`
  return `granted ${subject} to ${rights.join(', ')}${end}`
}
