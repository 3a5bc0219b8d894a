import { inspect } from 'node:util'
import { KeyPair, SeaportError } from '../../lib/identity.js'
import type { Exit, ServiceRecord } from '../../lib/index.js'
import { DIRECT_REACHES, PROXY_PROTOCOLS } from '../../lib/options.js'
import type { Command } from '../command.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  FORWARD_FLAG,
  forwardOption,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from '../flags.js'
import { METRICS_FLAG, serveMetrics } from '../metrics.js'
import type { Settings } from '../settings.js'
import { shownKey, wholeKey } from '../shown-key.js'
import { say, sayIfFirst, waitAloud } from '../talk.js'

/** Signals that mean nothing to us, and something to a command. Those that end us end it, too. */
const PASSED_ON: NodeJS.Signals[] = ['SIGUSR1', 'SIGUSR2']

/** It is there for who has no link to the newcomer yet, before it leaves by itself. */
const STAY_MS = 1000

/** Registers what listens on a local port, and lets its consumers in. */
export const service: Command = {
  verb: 'service',
  isLasting: true,
  flags: {
    port: {
      alias: 'p',
      describe:
        'Port of the backend on this machine; with a command 0, the default, for a free one',
      needed: 'the port of the backend on this machine, or --target host:port elsewhere',
      unless: ['target', 'command', 'stdio']
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
      otherwise: 'one that is kept for this role, backend and name'
    },
    name: {
      describe: 'Which of several instances on this machine it is; each name has a key of its own',
      otherwise: '1, or the first number that no running process has'
    },
    allow: {
      kind: 'list',
      describe: 'Key of a consumer that may connect, may be repeated',
      otherwise: 'all'
    },
    check: {
      describe: 'How to see whether the backend is well: tcp, http:/path or none',
      otherwise: 'tcp'
    },
    checkHost: { describe: 'Host that http:/path asks for', otherwise: 'localhost' },
    checkInterval: {
      describe: 'Time between two checks, in seconds or as in 500ms',
      otherwise: '5'
    },
    checkFailures: { describe: 'Failed checks in a row that make it failing', otherwise: '2' },
    checkPasses: { describe: 'Passed checks in a row that make it passing again', otherwise: '2' },
    tag: { kind: 'list', describe: 'A word to list it with, may be repeated' },
    h2: {
      kind: 'switch',
      describe: 'Tell gateways that it speaks HTTP/2 in clear text (the tag protocol=h2)'
    },
    direct: {
      describe: 'Which addresses to listen on by TCP, beside the DHT: off, lan or any',
      otherwise: 'lan, or loopback if the DHT node is there'
    },
    command: {
      kind: 'rest',
      describe: 'A program and its arguments, which finds its port in PORT',
      commandLineOnly: true
    },
    stdio: {
      kind: 'switch',
      describe:
        'The program executes commands: it speaks JSON-RPC by its stdin and stdout, a line each',
      commandLineOnly: true
    },
    drainTimeout: {
      describe: 'How long open streams may go on when it is stopped, in seconds or as in 500ms',
      otherwise: '30'
    },
    directPort: { describe: 'TCP port for that', otherwise: 'a free one' },
    proxyProtocol: {
      describe:
        'Tell the backend who comes, by a header that it has to expect: v2, of the PROXY protocol',
      otherwise: 'it sees 127.0.0.1'
    },
    takeOver: {
      kind: 'switch',
      describe: 'Take over from the instance that runs: its state and its place; then it leaves'
    },
    takeOverFrom: { describe: 'The same from this instance alone, by its key' },
    writer: {
      kind: 'list',
      describe: 'Process key that may write the state, may be repeated; key prints it',
      otherwise: 'none but the service itself'
    },
    successor: {
      kind: 'list',
      describe:
        'Key that may take over the state: of a service or a process, may be repeated; or serve',
      otherwise: 'services of the same process key'
    },
    forward: FORWARD_FLAG,
    dir: DIR_FLAG,
    metrics: METRICS_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['service -p 5984 -r couchdb@3.2.2 --registryPublicKey 5b64…', 'A database on this machine'],
    ['service --target 10.0.0.7:80 -r @team/api@1.0.0', 'A machine nearby; the key is configured'],
    [
      'service -p 8080 -r api@1.0.0 --check http:/health',
      'Listed as failing while that does not answer'
    ],
    ['service -r api@1.0.0 -- node server.js', 'Start it with PORT set, and again when it ends'],
    ['service -r agent@1.0.0 --stdio -- python3 agent.py', 'It executes what others call']
  ],

  async run(settings, lifetime) {
    const command = settings.list('command')
    const origin = await originOf(settings, command)
    const role = settings.text('role')
    const { parseServiceRole } = await import('../../lib/roles.js')
    parseServiceRole(role)
    const registryPublicKey = settings.key('registryPublicKey')
    const seed = settings.key('seed', undefined)
    const allow = settings.list('allow')
    const proxyProtocol = settings.word('proxyProtocol', PROXY_PROTOCOLS, undefined)

    const { Service } = await import('../../lib/service.js')
    const registry = await shownKey(registryPublicKey)
    const whole = await wholeKey(registryPublicKey)
    const service = lifetime.own(
      Service({
        registryPublicKey,
        role,
        ...origin,
        keyPair: seed && KeyPair(seed),
        name: settings.text('name', undefined),
        allow: allow.length > 0 ? allow : undefined,
        tags: [...settings.list('tag'), ...(settings.on('h2') ? ['protocol=h2'] : [])],
        check: settings.text('check', undefined),
        checkHost: settings.text('checkHost', undefined),
        checkInterval: settings.duration('checkInterval', undefined),
        checkFailures: settings.count('checkFailures', undefined),
        checkPasses: settings.count('checkPasses', undefined),
        direct: settings.word('direct', DIRECT_REACHES, undefined),
        drainTimeout: settings.delay('drainTimeout', undefined),
        directPort: settings.port('directPort', undefined),
        proxyProtocol,
        takeOver: settings.key('takeOverFrom', undefined) ?? settings.on('takeOver'),
        writers: settings.list('writer'),
        successors: successorsOf(settings.list('successor')),
        forward: forwardOption(settings),
        dir: settings.path('dir', undefined),
        timeout: Infinity,
        ...networkOptions(settings)
      })
    )
    const seenAs = seenBy(origin, proxyProtocol)
    let registered = false
    const registrar = `a registrar of ${registry}`
    let waitingFor = 'command' in origin ? `${command.join(' ')} to listen on its PORT` : registrar
    service.on('listening', () => console.log(`started p2p service on ${service.servicePublicKey}`))
    service.on('connecting', () => {
      console.log(`connecting to registry ${whole}`)
    })
    service.on('registered', (record: ServiceRecord) => {
      if (!registered) console.log(`registered service ${shown(record)}`)
      registered = true
      say(`reached ${waysTo(record)}${seenAs === '' ? '' : `; ${seenAs}`}`)
    })
    service.on('lost', () => {
      registered = false
      say('the registry is out of reach, still trying')
    })
    service.on('health', (_health: string, reason: SeaportError | null) => {
      say(reason?.message ?? 'the backend is well again')
    })
    service.on('up', () => {
      waitingFor = registrar
    })
    service.on('exit', (exit: Exit) => {
      registered = false
      say(`${command.join(' ')} ${howItEnded(exit)}`)
    })
    const moved = new Promise<void>((resolve) => {
      service.on('moved', (key: string) => {
        say(`${key} has taken over, this one leaves`)
        setTimeout(resolve, STAY_MS)
      })
    })
    service.on('draining', (streams: number) => {
      say(`withdrawn, ${streams} ${streams === 1 ? 'stream' : 'streams'} open, again to cut`)
    })
    service.on('denied', ({ code }) => {
      waitingFor = code === 'NOT_GRANTED' ? 'a grant' : registrar
    })
    for (const event of ['denied', 'refused', 'notice'] as const) {
      service.on(event, (error: Error) => say(error.message))
    }
    if (command.length > 0) sayIfFirst('the command leaves')
    for (const signal of 'command' in origin ? PASSED_ON : []) {
      process.on(signal, () => service.sendSignal(signal))
    }
    await serveMetrics(settings, lifetime, () => service.measures())
    await waitAloud(
      service.setup(),
      () => `still ${waitingFor === registrar ? 'searching' : 'waiting'} for ${waitingFor}`
    )
    await Promise.race([lifetime.untilStopped(), moved])
  }
}

/** Whom the flags name: keys, or all who may serve. */
function successorsOf(given: string[]): string[] | 'serve' {
  return given.length === 1 && given[0] === 'serve' ? 'serve' : given
}

async function originOf(settings: Settings, command: string[]) {
  if (!settings.on('stdio')) {
    return command.length > 0 ? commandOf(settings, command) : await backendOf(settings)
  }
  if (command.length > 0) return { stdio: command }
  throw SeaportError.USAGE('which program? Give it after --, as in --stdio -- python3 agent.py')
}

async function backendOf(settings: Settings) {
  const { parseBackend } = await import('../../lib/roles.js')
  const target = settings.text('target', undefined) ?? `${settings.port('port')}`
  parseBackend(target)
  return { target }
}

/** Its output is passed through as it is: a log collector would stumble over anything in front of it. */
function commandOf(settings: Settings, command: string[]) {
  if (settings.text('target', undefined) !== undefined) {
    throw SeaportError.USAGE('a command runs on this machine: give it a --port, not a --target')
  }
  return { command, port: settings.listenPort('port', 0), output: 'inherit' as const }
}

/** How consumers come. */
function waysTo({ direct }: ServiceRecord): string {
  return direct.length === 0 ? 'over the DHT' : `over the DHT, and by TCP at ${direct.join(', ')}`
}

/** What the backend knows of them. */
function seenBy(origin: object, proxyProtocol: string | undefined): string {
  if ('stdio' in origin) return ''
  return proxyProtocol === undefined
    ? 'the backend sees every consumer as a local client, 127.0.0.1'
    : `the backend is told who comes, by the PROXY protocol ${proxyProtocol}`
}

function howItEnded({ code, signal, restartIn }: Exit): string {
  const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`
  return `${how}, it starts again in ${restartIn / 1000} s`
}

function shown({ role, version, key, tags, status }: ServiceRecord): string {
  const instance = { role, version, servicePublicKey: key, tags, status }
  return inspect(instance, { breakLength: Infinity })
}
