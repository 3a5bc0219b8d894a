import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseDuration } from '../core/duration.js'
import { SeaportError } from '../core/errors.js'
import { isExactVersion, parseServiceRole } from '../core/role.js'
import { parseSize } from '../core/size.js'
import { nearest } from '../messaging/nearest.js'
import { APP_SCHEMA } from './app-schema.js'
import { fault } from './json-schema.js'
import { usedRoles } from './used-roles.js'

/** An app as its folder describes it, with every default filled in. Times are in ms, sizes in bytes. */
export interface AppFile {
  name: string
  version: string
  /** The program and its arguments. */
  command: string[]
  /** The port that it listens on: 0 for a free one, null for none. */
  port: number | null
  /** `tcp`, `http:/path` or `none`. */
  check: string
  env: Record<string, string>
  instances: number | 'all'
  hostnames: string[]
  place: {
    /** Sorted labels as in `region=eu`. */
    labels: string[]
    /** The memory that an instance reserves; 0 if none. */
    memory: number
    /** The cores that an instance may use; null for all. */
    cpu: number | null
    single: boolean
  }
  build: string[] | null
  setup: string[] | null
  before: string[] | null
  update: { surge: number; steady: number; deadline: number }
  logs: { size: number; files: number; keep: number }
  /** The roles that it uses, with ranges. */
  uses: string[]
  sandbox: boolean
}

/** The app file as it is written. */
type Written = Record<string, unknown> & {
  name: string
  version?: string
  command?: string | string[]
  port?: number | boolean
  check?: string
  env?: Record<string, string>
  instances?: number | 'all'
  hostnames?: string[]
  place?: { labels?: Record<string, string>; memory?: string; cpu?: number; single?: boolean }
  build?: string | string[]
  setup?: string | string[]
  before?: string | string[]
  update?: { surge?: number; steady?: string; deadline?: string }
  logs?: { size?: string; files?: number; keep?: string }
  uses?: string[]
  sandbox?: boolean
}

/** The parts of the folder that defaults are taken from. */
export interface Surroundings {
  /** The version in package.json. */
  version?: string | undefined
  /** The names of the files beside the app file. */
  files?: readonly string[]
}

export const APP_FILE = 'hyperseaport.app.json'
/** The app file of dispersed-network. */
export const OLD_APP_FILE = 'App.config'
const OLD_FIELDS = ['APP_NAME', 'APP_HOSTNAME']
const MAX_BYTES = 65_536
/** Fields that have no meaning yet. They are refused by name, so that nobody believes that they have one. */
const LATER = ['secrets', 'volumes', 'tasks', 'schedule', 'certificates', 'container', 'image']
/** The files that are run if no command is named. The first that exists is taken. */
const ENTRIES = ['server.js', 'index.js']
const VERSION = '1.0.0'
const INSTANCES = 1
const UPDATE = { surge: 1, steady: '10s', deadline: '120s' }
const LOGS = { size: '10MB', files: 5, keep: '7d' }

/**
 * Reads the app file in a folder: `hyperseaport.app.json`, else `App.config`.
 *
 * @throws BAD_CONFIG
 */
export async function readAppFile(folder: string): Promise<AppFile> {
  const surroundings = await surroundingsOf(folder)
  const { files } = surroundings
  if (files.includes(APP_FILE)) return parseAppFile(await textOf(folder, APP_FILE), surroundings)
  if (files.includes(OLD_APP_FILE)) {
    return parseOldAppFile(await textOf(folder, OLD_APP_FILE), surroundings)
  }
  throw SeaportError.BAD_CONFIG(
    `there is no ${APP_FILE} in ${folder}: \`hyperseaport app create\` writes one`
  )
}

/**
 * Reads the text of a `hyperseaport.app.json`.
 *
 * @throws BAD_CONFIG
 */
export function parseAppFile(text: string, surroundings: Surroundings = {}): AppFile {
  try {
    const written = JSON.parse(text)
    for (const field of LATER) {
      if (Object.hasOwn(Object(written), field)) throw new Error(`${field} is not supported yet`)
    }
    const found = fault(APP_SCHEMA, written)
    if (found) throw new Error(found)
    return complete(written, surroundings)
  } catch (error) {
    throw badFile(APP_FILE, error)
  }
}

/**
 * Reads an `App.config`: lines of `APP_NAME name` and `APP_HOSTNAME hostname`.
 *
 * @throws BAD_CONFIG
 */
export function parseOldAppFile(text: string, surroundings: Surroundings = {}): AppFile {
  try {
    const names: string[] = []
    const hostnames: string[] = []
    for (const line of text.split('\n').map((line) => line.trim())) {
      const [, field, value] = /^(\S+)(?:\s+(\S.*))?$/.exec(line) ?? []
      if (field === undefined || field.startsWith('#')) continue
      if (!OLD_FIELDS.includes(field)) {
        throw new Error(`${JSON.stringify(field)} is not a field${nearest(field, OLD_FIELDS)}`)
      }
      if (value === undefined) throw new Error(`${field} has no value`)
      if (field === 'APP_NAME') names.push(value)
      else hostnames.push(value.toLowerCase())
    }
    if (names.length !== 1) throw new Error(`it has ${names.length} lines APP_NAME, and needs one`)
    const written = { name: names[0] as string, hostnames }
    const found = fault(APP_SCHEMA, written)
    if (found) throw new Error(found)
    return complete(written, surroundings)
  } catch (error) {
    throw badFile(OLD_APP_FILE, error)
  }
}

function complete(written: Written, { version = VERSION, files = [] }: Surroundings): AppFile {
  const { place = {}, update = {}, logs = {}, port = true, uses = [] } = written
  usedRoles(uses)
  const { instances = INSTANCES } = written
  const single = place.single ?? false
  if (single && instances !== 1) {
    throw new Error('place.single needs instances to be 1: two of it must never run at once')
  }
  const check = written.check ?? (port === false ? 'none' : 'tcp')
  if (port === false && check !== 'none') throw new Error('check needs a port')
  return {
    name: written.name,
    version: parseServiceRole(`${written.name}@${written.version ?? version}`).version,
    command: argumentsOf(written.command) ?? defaultCommand(files),
    port: port === true ? 0 : port === false ? null : port,
    check,
    env: written.env ?? {},
    instances,
    hostnames: [...new Set(written.hostnames)],
    place: {
      labels: Object.entries(place.labels ?? {})
        .map((label) => label.join('='))
        .sort(),
      memory: place.memory === undefined ? 0 : parseSize(place.memory),
      cpu: place.cpu ?? null,
      single
    },
    build: argumentsOf(written.build),
    setup: argumentsOf(written.setup),
    before: argumentsOf(written.before),
    update: {
      surge: update.surge ?? UPDATE.surge,
      steady: parseDuration(update.steady ?? UPDATE.steady),
      deadline: parseDuration(update.deadline ?? UPDATE.deadline)
    },
    logs: {
      size: parseSize(logs.size ?? LOGS.size),
      files: logs.files ?? LOGS.files,
      keep: parseDuration(logs.keep ?? LOGS.keep)
    },
    uses,
    sandbox: written.sandbox ?? false
  }
}

/** The program and arguments of a command. A text is run by the shell. */
function argumentsOf(command: string | string[] | undefined): string[] | null {
  if (command === undefined) return null
  return typeof command === 'string' ? ['/bin/sh', '-c', command] : command
}

function defaultCommand(files: readonly string[]): string[] {
  const entry = ENTRIES.find((name) => files.includes(name))
  if (entry) return ['node', entry]
  throw new Error(`command is missing, and there is neither ${ENTRIES.join(' nor ')}`)
}

async function surroundingsOf(folder: string) {
  const files = await readdir(folder).catch((error) => {
    throw badFile(folder, error)
  })
  const text = files.includes('package.json') ? await textOf(folder, 'package.json') : '{}'
  return { files, version: versionIn(text) }
}

/**
 * The version in a package.json. A file that cannot be read, or has no exact version, is no error, because it is not
 * ours.
 */
function versionIn(manifest: string): string | undefined {
  try {
    const { version } = Object(JSON.parse(manifest))
    return isExactVersion(version) ? version : undefined
  } catch {
    return undefined
  }
}

async function textOf(folder: string, name: string): Promise<string> {
  const text = await readFile(join(folder, name), 'utf8').catch((error) => {
    throw badFile(name, error)
  })
  if (text.length <= MAX_BYTES || name === 'package.json') return text
  throw badFile(name, new Error(`it is longer than ${MAX_BYTES} characters`))
}

function badFile(name: string, error: unknown): SeaportError {
  const text = error instanceof SeaportError ? error.text : (error as Error).message
  return SeaportError.BAD_CONFIG(`${name}: ${text.replaceAll('\n', ' ')}`, error)
}
