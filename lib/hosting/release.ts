import { SeaportError } from '../core/errors.js'
import { isExactVersion, isRoleName } from '../core/role.js'
import type { AppPlace } from '../registry/trust/signed.js'
import type { AppFile } from './app-file.js'
import { hashOf } from './bundle/chunk.js'
import { BUBBLEWRAP, PROCESS } from './driver/driver.js'
import { fault, type JsonSchema } from './json-schema.js'
import { PLACEMENT_VERSION } from './placement.js'

/** How an app is run: the fields of its file that are not in its statement. */
export type RunTerms = Pick<
  AppFile,
  'command' | 'port' | 'check' | 'env' | 'setup' | 'before' | 'update' | 'logs' | 'uses' | 'sandbox'
>

/** One immutable version of an app. It is known by the hash of its JSON, which an app statement signs. */
export interface Release extends RunTerms {
  type: typeof RELEASE_TYPE
  app: string
  version: string
  /** The hash of the list of its bundle's chunks. */
  bundle: string
  /** The platforms that the bundle runs on, as in `linux-x64`; null for all. */
  platforms: string[] | null
  driver: string
  /** The hash of the release before; null for the first. */
  former: string | null
  /** Ms since 1970, by the deployer's clock. */
  madeAt: number
  /** The version of the placement rules by which hosts decide where it runs. */
  placement: number
}

export const MAX_RELEASE_BYTES = 256 * 1024
const RELEASE_TYPE = 'hyperseaport/release/1'
const MAX_TIME = 2 ** 52

const text = (maxLength: number): JsonSchema => ({ title: 'a text', type: 'string', maxLength })
const whole = (minimum: number, maximum: number): JsonSchema => ({
  title: `a number from ${minimum} to ${maximum}`,
  type: 'integer',
  minimum,
  maximum
})
const hash: JsonSchema = { title: 'a hash', type: 'string', pattern: '^[0-9a-f]{64}$' }
const nothing: JsonSchema = { enum: [null] }
const list = (items: JsonSchema, maxItems: number, minItems = 0): JsonSchema => ({
  title: 'a list',
  type: 'array',
  items,
  minItems,
  maxItems
})
const command = list(text(4096), 256, 1)
const time = whole(0, MAX_TIME)

/** The fields that a host accepts from others. Unknown fields are from newer versions, and are ignored. */
const FIELDS: Readonly<Record<keyof Release, JsonSchema>> = {
  type: { title: RELEASE_TYPE, enum: [RELEASE_TYPE] },
  app: text(214),
  version: text(214),
  bundle: hash,
  platforms: { title: 'a list of platforms', anyOf: [nothing, list(text(64), 32, 1)] },
  driver: { title: 'a driver', type: 'string', pattern: '^[a-z0-9-]{1,32}$' },
  former: { title: 'a hash', anyOf: [nothing, hash] },
  madeAt: time,
  placement: whole(1, 1000),
  command,
  port: { title: 'a port', anyOf: [nothing, whole(0, 65_535)] },
  check: { title: 'a check', type: 'string', pattern: '^(tcp|none|http:/.*)$', maxLength: 1024 },
  env: {
    title: 'variables',
    type: 'object',
    propertyNames: { pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' },
    maxProperties: 256,
    additionalProperties: text(32_768)
  },
  setup: { title: 'a command', anyOf: [nothing, command] },
  before: { title: 'a command', anyOf: [nothing, command] },
  update: {
    title: 'terms of an update',
    type: 'object',
    properties: { surge: whole(1, 100), steady: time, deadline: time },
    required: ['surge', 'steady', 'deadline']
  },
  logs: {
    title: 'terms of logs',
    type: 'object',
    properties: { size: whole(1, MAX_TIME), files: whole(1, 100), keep: time },
    required: ['size', 'files', 'keep']
  },
  uses: list(text(214), 16),
  sandbox: { title: 'true or false', type: 'boolean' }
}

/**
 * Makes the release of an app file and its bundle.
 *
 * @param former the hash of the release before
 */
export function releaseOf(
  file: AppFile,
  { list, platforms }: { list: string; platforms: string[] | null },
  { former = null, madeAt = Date.now() }: { former?: string | null; madeAt?: number } = {}
): Release {
  const { name, version, command, port, check, env, setup, before, update, logs, uses } = file
  return {
    type: RELEASE_TYPE,
    app: name,
    version,
    bundle: list,
    platforms,
    driver: driverFor(file),
    former,
    madeAt,
    placement: PLACEMENT_VERSION,
    ...{ command, port, check, env, setup, before, update, logs, uses, sandbox: file.sandbox }
  }
}

/** What an app needs of a host, as its statement says. */
export function placeOf(file: AppFile, { platforms }: { platforms: string[] | null }): AppPlace {
  const { labels, memory, cpu, single } = file.place
  return {
    ...{ labels, memory, driver: driverFor(file) },
    ...(cpu !== null && { cpu }),
    ...(single && { single }),
    ...(platforms && { platforms })
  }
}

/** What runs an app, so that no host takes it that could not shut it in. */
function driverFor({ sandbox }: AppFile): string {
  return sandbox ? BUBBLEWRAP : PROCESS
}

/**
 * Encodes a release, and returns its hash. It is stored and fetched as a document.
 *
 * @throws BAD_BUNDLE if it is too large, as with a large `env`
 */
export function encodeRelease(release: Release): { bytes: Buffer; hash: string } {
  const bytes = Buffer.from(JSON.stringify(release))
  if (bytes.byteLength > MAX_RELEASE_BYTES) throw tooLarge(bytes.byteLength)
  return { bytes, hash: hashOf(bytes) }
}

/**
 * Reads a release that came from others.
 *
 * @throws BAD_BUNDLE
 */
export function decodeRelease(bytes: Buffer): Release {
  if (bytes.byteLength > MAX_RELEASE_BYTES) throw tooLarge(bytes.byteLength)
  const value = Object(parse(bytes)) as Record<string, unknown>
  const fields = Object.entries(FIELDS) as [keyof Release, JsonSchema][]
  const known = fields.map(([name, schema]) => {
    const found = Object.hasOwn(value, name)
      ? fault(schema, value[name], name)
      : `${name} is missing`
    if (found) throw SeaportError.BAD_BUNDLE(`this is no release: ${found}`)
    return [name, value[name]]
  })
  const release: Release = Object.fromEntries(known)
  if (isRoleName(release.app) && isExactVersion(release.version)) return release
  throw SeaportError.BAD_BUNDLE('this is no release: its app or version cannot be one')
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw SeaportError.BAD_BUNDLE('this is no release: it is no JSON', error)
  }
}

function tooLarge(size: number): SeaportError {
  return SeaportError.BAD_BUNDLE(
    `a release has ${size} bytes, at most ${MAX_RELEASE_BYTES} are allowed`
  )
}
