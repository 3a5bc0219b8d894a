import { SeaportError, whyUnread } from '../lib/identity.js'
import type { WebOptions, WebRules } from '../lib/index.js'
import { DIRECT_REACHES } from '../lib/options.js'
import type { Flag } from './declaration.js'
import { DIRECT_FLAG } from './flags.js'
import { readSecret } from './secret-file.js'
import type { Settings } from './settings.js'

interface Example {
  flag: string
  text: string
}

const DOMAIN: Example = { flag: 'domain', text: 'api.example.com=api@^2' }
const HOSTNAME: Example = {
  flag: 'allowHostname',
  text: '*.example.com=<public key of a service>'
}
const CORS: Example = { flag: 'cors', text: 'api@1.x=https://app.example.com' }
const DEADLINE: Example = { flag: 'timeout', text: 'api@1.x=5' }

/** Flags of what serves HTTP: `web`, and `registry` with `--web`. */
export const WEB_FLAGS = {
  listen: {
    describe: 'Address the web server listens on; one that others reach needs --auth or --public',
    otherwise: '127.0.0.1'
  },
  direct: DIRECT_FLAG,
  domain: {
    kind: 'list',
    describe: 'Hosts of a role, as in api.example.com=api@^2; *.example.com too'
  },
  allowHostname: {
    kind: 'list',
    describe: 'Who may claim hosts by a tag hostname=<host>: *.example.com=<service key>[+…]'
  },
  apps: {
    kind: 'list',
    describe: 'Hosts of apps that claim them: *.example.com, or =shop for one app alone'
  },
  allowedHost: {
    kind: 'list',
    describe:
      'Names it may be called by without --auth or --public, beside those of this machine; *.example.com, or * for any'
  },
  tlsCert: {
    describe: 'Serve HTTPS with this certificate (PEM), read again when it changes',
    isFile: true
  },
  tlsKey: { describe: 'Its private key (PEM)', isFile: true },
  auth: { describe: "File of who may reach what, see 'hyperseaport access --help'", isFile: true },
  public: {
    kind: 'list',
    describe: 'What needs no credentials: api@1.x, @team/*@2.x, or * for all'
  },
  cors: {
    kind: 'list',
    describe: 'Pages that may call a role: api@1.x=https://app.example.com, or =*'
  },
  h2: {
    kind: 'list',
    describe: 'Roles to ask over HTTP/2 in clear text: api@1.x; beside services with --h2, and gRPC'
  },
  timeout: {
    kind: 'list',
    describe: 'Seconds an answer may take to begin; for a role: api@1.x=5',
    otherwise: '60'
  },
  maxBody: { describe: 'Largest body of a request, in bytes or as in 10m', otherwise: 'any' },
  maxHeader: {
    describe: 'Largest header section of a request, in bytes or as in 64k',
    otherwise: '32k'
  },
  maxTime: { describe: 'Seconds a request may take to come in', otherwise: '3600' },
  drainTimeout: {
    describe: 'How long open requests may go on when it is stopped, in seconds or as in 500ms',
    otherwise: '30'
  },
  trustProxy: {
    kind: 'list',
    describe:
      'Addresses of proxies in front, as in 10.0.0.7 or 10.0.0.0/8, whose X-Forwarded-* are kept',
    otherwise: 'those on loopback'
  },
  sessionsPerAddress: {
    describe: 'How many pages of one client address may be on channels',
    otherwise: '1000'
  },
  noDashboard: { kind: 'switch', describe: 'Serve no dashboard at /' },
  noFastPath: {
    kind: 'switch',
    describe:
      'Have node:http read every request, the plain ones too; answers are the same, and slower'
  },
  log: { describe: 'Print each request: json or text', otherwise: 'only failures, on stderr' }
} satisfies Record<string, Flag>

/** What SIGHUP reads again. */
export function webRules(settings: Settings): WebRules {
  const auth = settings.path('auth', undefined)
  return {
    domains: settings.list('domain').map((text) => {
      const [host, role] = pair(text, text.indexOf('='), DOMAIN)
      return { host, role }
    }),
    hostnames: settings.list('allowHostname').map((text) => {
      const [host, keys] = pair(text, text.indexOf('='), HOSTNAME)
      return { host, services: keys.split('+') }
    }),
    apps: settings.list('apps').map((text) => {
      const [host = '', app] = text.split('=').map((part) => part.trim())
      return { host, app }
    }),
    allowedHosts: settings.list('allowedHost'),
    access: auth === undefined ? undefined : readAccess(auth),
    open: settings.list('public'),
    cors: settings.list('cors').map((text) => {
      const [role, origin] = pair(text, text.lastIndexOf('='), CORS)
      return { role, origin }
    }),
    http2: settings.list('h2'),
    deadlines: settings
      .list('timeout')
      .filter((text) => text.includes('='))
      .map((text) => {
        const [role, time] = pair(text, text.lastIndexOf('='), DEADLINE)
        return { role, ms: seconds('timeout', time) }
      })
  }
}

/** The rest. */
export function webOptions(settings: Settings): Omit<WebOptions, 'registryPublicKey'> {
  return {
    listen: settings.text('listen', undefined),
    direct: settings.word('direct', DIRECT_REACHES, undefined),
    tls: tlsFiles(settings),
    deadline: optional(
      settings.list('timeout').find((text) => !text.includes('=')),
      (text) => seconds('timeout', text)
    ),
    maxBodyBytes: settings.size('maxBody', undefined),
    maxHeaderBytes: settings.size('maxHeader', undefined),
    requestTimeout: optional(settings.text('maxTime', undefined), (text) =>
      seconds('maxTime', text)
    ),
    drainTimeout: settings.delay('drainTimeout', undefined),
    fastPath: !settings.on('noFastPath'),
    trustedProxies: settings.list('trustProxy'),
    channels: optional(settings.count('sessionsPerAddress', undefined), (sessionsPerAddress) => ({
      sessionsPerAddress
    })),
    dashboard: !settings.on('noDashboard'),
    ...webRules(settings)
  }
}

/** Finds usage errors before anything is started. */
export function checkWebFlags(settings: Settings) {
  webOptions(settings)
  logFormat(settings)
}

/** How to print requests. */
export function logFormat(settings: Settings): 'json' | 'text' | null {
  const format = settings.text('log', null)
  if (format === null || format === 'json' || format === 'text') return format
  throw SeaportError.USAGE(`--log must be json or text, not ${JSON.stringify(format)}`)
}

function tlsFiles(settings: Settings) {
  const certFile = settings.path('tlsCert', undefined)
  const keyFile = settings.path('tlsKey', undefined)
  if (certFile && keyFile) return { certFile, keyFile }
  if (!certFile && !keyFile) return undefined
  throw SeaportError.USAGE('--tlsCert and --tlsKey are needed together')
}

function readAccess(path: string): string {
  try {
    return readSecret(path)
  } catch (cause) {
    const why = whyUnread(cause)
    throw SeaportError.BAD_CONFIG(`the access file ${path} cannot be read (${why})`, cause)
  }
}

/** The two sides of a flag such as `api.example.com=api@^2`. */
function pair(text: string, at: number, example: Example): [before: string, after: string] {
  if (at === -1) {
    throw SeaportError.USAGE(
      `--${example.flag} is given as in ${example.text}, not ${JSON.stringify(text)}`
    )
  }
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}

function optional<V, T>(value: V | undefined, read: (value: V) => T): T | undefined {
  return value === undefined ? undefined : read(value)
}

/** A time in ms. */
function seconds(name: string, text: string): number {
  if (!(Number(text) > 0)) {
    throw SeaportError.USAGE(`--${name} must be a number of seconds, not ${JSON.stringify(text)}`)
  }
  return Number(text) * 1000
}
