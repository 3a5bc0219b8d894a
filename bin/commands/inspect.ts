import type { Instance, PathView, PortlessEntry, SeaportError } from '../../lib/index.js'
import { printable, printableJson } from '../../lib/printing.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import { table } from '../table.js'
import { say } from '../talk.js'
import { ROLE_FLAG, TALKING_FLAGS, talkTo } from '../talking.js'

const TIMEOUT_MS = 5000
const COLUMNS = [
  'ROLE',
  'VERSION',
  'STATUS',
  'INSTANCE',
  'PATH',
  'COMMANDS',
  'EVENTS',
  'STATE',
  'CALLS'
]
const CONVERSATION = 'hyperseaport/conversation/1'
/** Instances that are asked; a longer list is for reading. */
const MAX_ASKED = 256

interface Described {
  commands: { name: string; idempotent: boolean; input?: unknown; output?: unknown }[]
  events: string[]
  state?: { entries: number; term: number; rev: number } | null
}

interface Counted {
  commands: Record<string, { calls: number; failed: number }>
}

/** What was found out of an instance. */
interface Inspected {
  instance: Instance
  path: PathView | null
  described: Described | null
  stats: Counted | null
  error: SeaportError | null
}

/** Shows what instances can be told to do, what they tell, and how they are. */
export const inspect: Command = {
  verb: 'inspect',
  positional: 'role',
  flags: {
    role: { ...ROLE_FLAG, otherwise: 'all' },
    json: JSON_FLAG,
    ...TALKING_FLAGS
  },
  examples: [
    ['inspect', 'Every instance'],
    ['inspect agent@1.x --json', 'With schemas and counters, for a program to read']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role', undefined)
    if (role !== undefined) (await import('../../lib/roles.js')).parseRoleRange(role)
    const json = settings.on('json')
    const { consumer } = await talkTo([], settings, lifetime, { verb: 'inspect' })
    const instances = consumer.list(role).slice(0, MAX_ASKED)
    // An entry for each version: ranges leave prereleases out.
    const roles = [...new Set(instances.map((one) => `${one.role}@${one.version}`))]
    const { entries } = await talkTo(roles, settings, lifetime, { verb: 'inspect' })
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const inspected = await Promise.all(
      instances.map(async (instance) => {
        const entry = entries[roles.indexOf(`${instance.role}@${instance.version}`)]
        const [path, rest] = await Promise.all([
          consumer.reach(instance, signal).catch(() => null),
          ask(entry as PortlessEntry, instance)
        ])
        return { instance, path, ...rest }
      })
    )
    if (json) return console.log(printableJson(inspected.map(toJson), 2))
    if (inspected.length > 0) console.log(table([COLUMNS, ...inspected.map(toRow)]))
    else say(role === undefined ? 'nothing is registered' : `nobody serves ${role}`)
  }
}

/** What an instance says of itself, if it speaks. */
async function ask(
  entry: PortlessEntry,
  { servicePublicKey: instance, speaks }: Instance
): Promise<Pick<Inspected, 'described' | 'stats' | 'error'>> {
  if (!speaks?.includes(CONVERSATION)) return { described: null, stats: null, error: null }
  const options = { instance, timeout: TIMEOUT_MS, idempotent: true }
  try {
    const described: Described = await entry.send('$describe', undefined, options)
    return { described, stats: await entry.send('$stats', undefined, options), error: null }
  } catch (error) {
    return { described: null, stats: null, error: error as SeaportError }
  }
}

function toJson({ instance, path, described, stats, error }: Inspected) {
  return {
    ...instance,
    path,
    commands: described?.commands ?? [],
    events: described?.events ?? [],
    state: described?.state ?? null,
    stats,
    ...(error && { error: { code: error.code, text: error.text } })
  }
}

function toRow({ instance, path, described, stats, error }: Inspected): string[] {
  const { role, version, status, live, servicePublicKey } = instance
  const calls = Object.values(stats?.commands ?? {}).reduce((sum, { calls }) => sum + calls, 0)
  const names = described?.commands.map(({ name }) => name)
  return [
    role,
    version,
    live ? status : `${status} (last known)`,
    servicePublicKey,
    path === null ? 'none' : `${path.path} ${path.rtt?.toFixed(1) ?? '?'} ms`,
    printable(names?.join(' ') || (error?.code ?? '-')),
    printable(described?.events.join(' ') || '-'),
    described?.state ? `${Number(described.state.entries)}` : '-',
    stats ? `${calls}` : '-'
  ]
}
