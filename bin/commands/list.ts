import { SeaportError } from '../../lib/identity.js'
import type { Consumer, Instance, PathView } from '../../lib/index.js'
import { printableJson } from '../../lib/printing.js'
import { READER_FLAGS, readerOf } from '../administration.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, DIR_FLAG, JSON_FLAG, NETWORK_FLAGS, networkOptions } from '../flags.js'
import { freshness } from '../freshness.js'
import { shownKey } from '../shown-key.js'
import { table } from '../table.js'
import { say, waitAloud } from '../talk.js'

const TIMEOUT_MS = 10_000
/** After one peer denied us: another may know of a newer grant. */
const DENIAL_TIMEOUT_MS = 1500
/** How long `--verbose` takes to find out how an instance is reached. */
const REACH_TIMEOUT_MS = 5000
/** Instances that it tries to reach; a long list is for reading. */
const MAX_REACHED = 64
const COLUMNS = ['ROLE', 'VERSION', 'STATUS', 'INSTANCE', 'TAGS']
const STATUSES = ['passing', 'failing', 'draining', 'stale']
const VERBOSE_COLUMNS = [...COLUMNS, 'PATH', 'DIRECT']

/** How two instances follow each other. Where they are equal, they stay as they were. */
const ORDERS: Record<string, (a: Instance, b: Instance) => number> = {
  role: (a, b) => compare(a.role, b.role),
  status: (a, b) => compare(a.status, b.status),
  instance: (a, b) => compare(a.servicePublicKey, b.servicePublicKey),
  // The sequence number is when the owner signed it.
  newest: (a, b) => b.seq - a.seq
}

/** Shows what is registered now. */
export const list: Command = {
  verb: 'list',
  positional: 'role',
  flags: {
    role: { alias: 'r', describe: 'Name and semver range', otherwise: 'all' },
    status: {
      kind: 'list',
      describe:
        'Only those that are so, as in failing,draining; there are passing, failing, draining, stale',
      commandLineOnly: true
    },
    sort: {
      describe: `What to sort by: ${Object.keys(ORDERS).join(', ')}`,
      otherwise: 'role and version; of one role, as they would be tried',
      commandLineOnly: true
    },
    ...READER_FLAGS,
    json: JSON_FLAG,
    dir: DIR_FLAG,
    ...NETWORK_FLAGS,
    ...COMMON_FLAGS
  },
  examples: [
    ['list', 'Every instance'],
    ['list couchdb@3.x --json', 'Those of one role, for a program to read'],
    ['list --status failing', 'Those that fail, and why'],
    ['list --verbose', 'On which path each is reached, too, and how fresh all this is']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role', undefined)
    if (role !== undefined) (await import('../../lib/roles.js')).parseRoleRange(role)
    const statuses = settings.list('status').flatMap((text) => text.split(','))
    for (const status of statuses) checkStatus(status)
    const sort = settings.word('sort', Object.keys(ORDERS), undefined)
    const { registryPublicKey, keyPair } = readerOf(settings)
    const json = settings.on('json')
    const verbose = settings.on('verbose')

    const { Consumer } = await import('../../lib/consumer.js')
    const registry = await shownKey(registryPublicKey)
    const consumer = lifetime.own(
      Consumer([], {
        registryPublicKey,
        keyPair,
        dir: settings.path('dir', undefined),
        verb: 'list',
        serve: false,
        timeout: TIMEOUT_MS,
        denialTimeout: DENIAL_TIMEOUT_MS,
        ...networkOptions(settings)
      })
    )
    let unreachable: SeaportError | null = null
    consumer.on('notice', (notice: SeaportError) => {
      if (notice.code === 'DHT_UNREACHABLE') unreachable = notice
      if (verbose) say(notice.message)
    })
    let isDenied = false
    consumer.on('denied', () => {
      isDenied = true
    })
    await waitAloud(consumer.setup(), () =>
      isDenied
        ? `the registry ${registry} does not let us in, asking others there`
        : `still searching for the registry ${registry}`
    )
    if (verbose) for (const line of await freshness(consumer)) say(line)
    const wanted = consumer
      .list(role)
      .filter(({ status }) => statuses.length === 0 || statuses.includes(status))
    const order = sort === undefined ? undefined : ORDERS[sort]
    if (order) wanted.sort(order)
    const instances = verbose ? await reached(consumer, wanted) : wanted
    const columns = verbose ? VERBOSE_COLUMNS : COLUMNS
    if (json) console.log(printableJson(instances, 2))
    else if (instances.length > 0) console.log(table([columns, ...instances.map(toRow)]))
    else say(nothingFound(role, statuses))
    if (!json) for (const instance of instances.filter(isFailing)) say(whyItFails(instance))
    if (consumer.getStats().peers === 0) sayIfCopy(unreachable, verbose)
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function checkStatus(status: string) {
  if (STATUSES.includes(status)) return
  throw SeaportError.USAGE(
    `--status must be one of ${STATUSES.join(', ')}, not ${JSON.stringify(status)}`
  )
}

function nothingFound(role: string | undefined, statuses: string[]): string {
  if (statuses.length > 0)
    return `nothing${role === undefined ? '' : ` of ${role}`} is ${statuses.join(' or ')}`
  return role === undefined ? 'nothing is registered' : `nobody serves ${role}`
}

/** Nobody was asked, so what was printed is what was known when somebody answered last. */
function sayIfCopy(unreachable: SeaportError | null, isSaid: boolean) {
  if (!unreachable) return
  if (!isSaid) say(unreachable.message)
  say('this is the copy on this disk, as it was when others were reached last')
}

function isFailing({ reason }: Instance): boolean {
  return reason !== undefined
}

function whyItFails({ role, version, servicePublicKey, reason }: Instance): string {
  return `${role}@${version} ${servicePublicKey.slice(0, 8)}… is failing: ${reason}`
}

/** An instance, and how it is reached from here if that was tried; null if it is not. */
type Listed = Instance & { path?: PathView | null | undefined }

/** Links with the first of the instances, to see which path that takes. */
async function reached(consumer: Consumer, instances: readonly Instance[]): Promise<Listed[]> {
  const signal = AbortSignal.timeout(REACH_TIMEOUT_MS)
  const paths = await Promise.all(
    instances
      .slice(0, MAX_REACHED)
      .map((instance) => consumer.reach(instance, signal).catch(() => null))
  )
  return instances.map((instance, i) => ({ ...instance, path: paths[i] }))
}

function toRow({
  role,
  version,
  status,
  live,
  servicePublicKey,
  tags,
  direct,
  path
}: Listed): string[] {
  const seen = live ? status : `${status} (last known)`
  const row = [role, version, seen, servicePublicKey, tags.join(' ')]
  return path === undefined ? row : [...row, toText(path), direct.join(' ')]
}

function toText(path: PathView | null): string {
  if (path === null) return 'none'
  return path.rtt === null ? path.path : `${path.path} ${path.rtt.toFixed(1)} ms`
}
