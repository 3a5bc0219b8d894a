import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { isDnsName } from '../../core/hostname.js'
import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { parseLabel } from '../../core/label.js'
import { isExactVersion, isRoleName } from '../../core/role.js'
import type { Rights } from './rights.js'
import { isObject, type Statement, signStatement } from './statement.js'
import { badField, checkStatement, isHex, isWhole, type StatementKind } from './statement-kind.js'

/** What is to be of an app: `stopped` keeps its hostnames and its history, `removed` is a name that was used. */
export type AppState = 'running' | 'stopped' | 'removed'

/** What a deployer wants of an app, until somebody who may says otherwise. All else is in its release. Keys are hex. */
export interface AppStatement extends Statement {
  type: typeof APP_TYPE
  /** Its name, which is its role, too. */
  app: string
  /** One more than that of the statement before. */
  seq: number
  /** The hash of the statement before, hex; empty if there was none. */
  after: string
  issuer: string
  /** Ms since 1970. */
  issuedAt: number
  state: AppState
  version: string
  /** The hash of the release, hex. */
  release: string
  /** Whether a command has to run before any instance of the release. */
  before?: true
  /** What it was before, the latest first: hosts keep these releases, and instances of them still count. */
  kept: AppRelease[]
  instances: number | 'all'
  /** The hostnames that it answers for, and since when it claims each, in ms since 1970. */
  hostnames: { [hostname: string]: number }
  place: AppPlace
  /** How often it was asked to start anew. */
  restarts: number
}

/** A version of an app, and the hash of its release. */
export interface AppRelease {
  version: string
  release: string
  /** Whether a command has to run before any instance of it. */
  before?: true
  /** What runs it, if it is not `process`. */
  driver?: string
}

/** What an app needs of a host, as its release says. */
export interface AppPlace {
  /** `region=eu` each. */
  labels: string[]
  /** Bytes that an instance reserves. */
  memory: number
  /** Cores that an instance may use; absent for all. */
  cpu?: number
  /** As in `linux-x64`; absent for everywhere. */
  platforms?: string[]
  driver: string
  /** Whether two must never run at once. */
  single?: true
}

/** What the deployer chooses. */
export type AppFields = Pick<
  AppStatement,
  'app' | 'state' | 'version' | 'release' | 'instances' | 'place' | 'restarts'
> & { before?: true | undefined; hostnames: readonly string[] }

const APP_TYPE = 'hyperseaport/app/1'
const MAX_APP_BYTES = 4096
const MAX_INSTANCES = 1000
const MAX_HOSTNAMES = 16
/** Beside the wanted one. Their hashes leave room for hostnames in 4 KiB. */
export const MAX_KEPT_RELEASES = 10
const MAX_LABELS = 24
const MAX_PLATFORMS = 16
const MAX_CORES = 1024
/** A claim to a hostname is dated so near to the clock of the registrar that writes it, in ms. */
const MAX_CLAIM_SKEW_MS = 60 * 60 * 1000
/** What runs a release that names nothing else. */
const DRIVER = 'process'
const STATES = new Set<unknown>(['running', 'stopped', 'removed'])
const WORD = /^[a-z0-9-]{1,32}$/

/** Apps are deployed by keys that were granted it, in an open registry, too. */
export const APP: StatementKind<AppStatement> = {
  type: APP_TYPE,
  name: 'app statement',
  maxBytes: MAX_APP_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields(value) {
    const bad = (field: string) => badField('app statement', field)
    if (!isRoleName(value.app)) throw bad('app')
    if (!isWhole(value.seq) || value.seq < 1) throw bad('seq')
    if (value.seq === 1 ? value.after !== '' : !isHex(value.after, 32)) throw bad('after')
    if (!isHex(value.issuer, 32)) throw bad('issuer')
    if (!isWhole(value.issuedAt)) throw bad('issuedAt')
    if (!isState(value.state)) throw bad('state')
    if (!isExactVersion(value.version)) throw bad('version')
    if (!isHex(value.release, 32)) throw bad('release')
    if (!isFlag(value.before)) throw bad('before')
    if (!areReleases(value.kept)) throw bad('kept')
    if (!isCount(value.instances)) throw bad('instances')
    if (!areClaims(value.hostnames)) throw bad('hostnames')
    if (!isPlace(value.place)) throw bad('place')
    if (value.place.single && !isOneAtMost(value.instances)) throw bad('instances')
    if (!isWhole(value.restarts)) throw bad('restarts')
  },
  subject: ({ app }) => app,
  signer: ({ issuer }) => issuer,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ issuer, app }, rights) => rights.allows(issuer, { kind: 'deploy', app }),
  merge(known, next, rights) {
    if (next.seq !== known.seq) return next.seq > known.seq ? next : known
    const [ofKnown, ofNext] = [isAuthorized(known, rights), isAuthorized(next, rights)]
    if (ofKnown !== ofNext) return ofNext ? next : known
    return hashOf(next) > hashOf(known) ? next : known
  },
  checkNext(next, known, { list, now, maxApps }) {
    if (known) checkFollows(next, known)
    const others = list().filter(({ app, state }) => app !== next.app && state !== 'removed')
    if (next.state === 'removed') return
    if (!isLive(known) && others.length >= maxApps) {
      throw SeaportError.LIMIT_REACHED(
        `there are ${maxApps} apps, as many as this registry takes (--maxApps); remove one with 'hyperseaport app remove'`
      )
    }
    checkClaims(next, known, others, now)
  }
}

/**
 * Signs what is to be of an app next.
 *
 * @param before the statement that counts now, null if there is none
 */
export function signApp(
  registry: Buffer,
  issuer: KeyPair,
  { hostnames, before: hasBefore, ...fields }: AppFields,
  before: AppStatement | null,
  issuedAt = Date.now()
): AppStatement {
  const claimed = isLive(before) ? before.hostnames : {}
  const claims = hostnames.map((name) => [name, claimed[name] ?? issuedAt] as const)
  const statement = signStatement(
    {
      ...fields,
      ...(hasBefore && { before: hasBefore }),
      kept: isLive(before) ? releasesOf(before, fields.release) : [],
      hostnames: Object.fromEntries(claims),
      type: APP_TYPE,
      registry: toHex(registry),
      issuer: toHex(issuer.publicKey),
      issuedAt,
      seq: before ? before.seq + 1 : 1,
      after: before ? hashOf(before) : ''
    } as const,
    issuer.secretKey
  )
  return checkStatement(APP, statement, registry)
}

/** The releases that a host keeps: the wanted one and those before it, but for one. */
export function releasesOf(statement: AppStatement, but = ''): AppRelease[] {
  return [wantedOf(statement), ...statement.kept]
    .filter((one) => one.release !== but)
    .slice(0, MAX_KEPT_RELEASES)
}

/** The release that a statement asks for. */
export function wantedOf({ version, release, before, place }: AppStatement): AppRelease {
  const driver = place.driver === DRIVER ? undefined : place.driver
  return { version, release, ...(before && { before }), ...(driver && { driver }) }
}

/** What runs a release of an app: the wanted one, or one that is kept. */
export function driverOf({ driver = DRIVER }: Pick<AppRelease, 'driver'>): string {
  return driver
}

/** The hash of a statement, by which the next one names it: BLAKE2b-256 of its signature, hex. */
export function hashOf({ signature }: Statement): string {
  return toHex(crypto.hash(Buffer.from(signature, 'hex')))
}

/**
 * Which app answers for each hostname. Where two claim one, as after a partition, the older claim counts, then the
 * name that sorts first.
 */
export function ownersOf(apps: Iterable<AppStatement>): Map<string, string> {
  const owners = new Map<string, { app: string; since: number }>()
  for (const statement of apps) {
    if (!isLive(statement)) continue
    const { app } = statement
    for (const [hostname, since] of Object.entries(statement.hostnames)) {
      const owner = owners.get(hostname)
      const isOlder = !owner || since < owner.since || (since === owner.since && app < owner.app)
      if (isOlder) owners.set(hostname, { app, since })
    }
  }
  return new Map([...owners].map(([hostname, { app }]) => [hostname, app]))
}

function isAuthorized(statement: AppStatement, rights: Rights): boolean {
  return APP.mayIssue(statement, rights)
}

function isLive(statement: AppStatement | null): statement is AppStatement {
  return statement !== null && statement.state !== 'removed'
}

/** @throws CONFLICT */
function checkFollows(next: AppStatement, known: AppStatement) {
  if (next.seq === known.seq + 1 && next.after === hashOf(known)) return
  const when = new Date(known.issuedAt).toISOString()
  throw SeaportError.CONFLICT(
    `the app ${known.app} was changed meanwhile, by ${known.issuer} at ${when}; look at 'hyperseaport app status ${known.app}', then try again`
  )
}

/** @throws HOSTNAME_TAKEN, BAD_DATE */
function checkClaims(
  next: AppStatement,
  known: AppStatement | null,
  others: AppStatement[],
  now: number
) {
  const owners = ownersOf(others)
  const claimed = isLive(known) ? known.hostnames : {}
  for (const [hostname, since] of Object.entries(next.hostnames)) {
    if (claimed[hostname] === since) continue
    const owner = owners.get(hostname)
    if (owner !== undefined) {
      throw SeaportError.HOSTNAME_TAKEN(
        `${hostname} is the app ${owner}'s; choose another one, or take it from that app first`
      )
    }
    if (known && Math.abs(since - now) > MAX_CLAIM_SKEW_MS) {
      throw SeaportError.BAD_DATE(
        `the claim to ${hostname} is dated more than an hour off; set the clock of whoever signed it, and sign it anew`
      )
    }
  }
}

export function isState(value: unknown): boolean {
  return STATES.has(value)
}

export function isCount(value: unknown): boolean {
  return value === 'all' || (isWhole(value) && value <= MAX_INSTANCES)
}

function areClaims(value: unknown): boolean {
  if (!isObject(value)) return false
  const claims = Object.entries(value)
  return (
    claims.length <= MAX_HOSTNAMES &&
    claims.every(([hostname, since]) => isDnsName(hostname) && isWhole(since))
  )
}

function areReleases(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length <= MAX_KEPT_RELEASES &&
    value.every(
      (one) =>
        isObject(one) &&
        isExactVersion(one.version) &&
        isHex(one.release, 32) &&
        isFlag(one.before) &&
        (one.driver === undefined || isDriver(one.driver))
    )
  )
}

function isFlag(value: unknown): boolean {
  return value === undefined || value === true
}

function isOneAtMost(instances: unknown): boolean {
  return instances === 0 || instances === 1
}

function isPlace(value: unknown): value is AppPlace {
  if (!isObject(value)) return false
  const { labels, memory, cpu, platforms, driver, single } = value
  return (
    areTexts(labels, MAX_LABELS) &&
    labels.every(isLabel) &&
    isWhole(memory) &&
    (cpu === undefined || isCores(cpu)) &&
    (platforms === undefined ||
      (areTexts(platforms, MAX_PLATFORMS) && platforms.every((one) => WORD.test(one)))) &&
    isDriver(driver) &&
    isFlag(single)
  )
}

function isDriver(value: unknown): boolean {
  return typeof value === 'string' && WORD.test(value)
}

function isCores(value: unknown): boolean {
  return typeof value === 'number' && value > 0 && value <= MAX_CORES
}

function areTexts(value: unknown, most: number): value is string[] {
  return (
    Array.isArray(value) && value.length <= most && value.every((one) => typeof one === 'string')
  )
}

function isLabel(text: string): boolean {
  try {
    return parseLabel(text) !== null
  } catch {
    return false
  }
}
