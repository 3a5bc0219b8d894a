import { createHash, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { SeaportError } from '../core/errors.js'
import { parseRolePattern, type RolePattern } from '../core/role-pattern.js'
import { PasswordChecks } from './password-checks.js'

/** Who sends a request, as far as access rules go. */
export interface Principal {
  name: string
  /** What it follows from: the line of the access file, and the roles that need no credentials. */
  grounds: string
  isAnonymous: boolean
  /** Whether they may reach every role. */
  mayReachAll: boolean
  mayReachNothing: boolean
  mayReachRole(role: string): boolean
  mayReach(role: string, version: string): boolean
}

/** One line of an access file. */
interface Credential {
  kind: 'bearer' | 'basic'
  name: string
  hash: string
  principal: Principal
}

export interface AccessListOptions {
  /** The text of an access file. Null if everybody may reach all. */
  text?: string | null | undefined
  /** Roles that need no credentials. */
  open?: RolePattern[] | undefined
  /** Limits how often and how many passwords are checked. Default: an instance of this list's own. */
  checks?: PasswordChecks | undefined
}

const scryptAsync = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  bytes: number,
  options: { N: number; r: number; p: number }
) => Promise<Buffer>

const TOKEN_BYTES = 32
const SALT_BYTES = 16
const HASH_BYTES = 32
const SCRYPT = { N: 16_384, r: 8, p: 1 }
/**
 * How many outcomes of checks are remembered, of right and of wrong passwords each: scrypt is slow on purpose, and browsers
 * send a password with every request.
 */
const MAX_REMEMBERED = 1024
/** Guesses are counted by this many characters of a name, so that long names cost no memory. */
const MAX_NAME_LENGTH = 64

/**
 * The access rules: who may reach which roles. An access file has a line `kind:name:hash:roles` for each credential.
 * Tokens are random, so SHA-256 is enough for them; passwords are hashed with scrypt.
 */
export class AccessList {
  /** Whether there are no rules, so that everybody may reach all. */
  readonly isOpen: boolean
  readonly #anonymous: Principal
  readonly #bearers = new Map<string, Credential>()
  readonly #people = new Map<string, Credential>()
  /** The grounds of all principals. */
  readonly #grounds = new Set<string>()
  readonly #remembered = new Map<string, Principal>()
  /** Credentials that are wrong here. They may be the service's own, and then they come with each request. */
  readonly #wrong = new Set<string>()
  /** Checks that are under way, by what they check. */
  readonly #underWay = new Map<string, Promise<Principal | null>>()
  readonly #checks: PasswordChecks
  /** The hash that is checked for unknown names, so that the answer takes as long as for known ones. */
  readonly #decoy: string
  /** Hashed together with what is remembered, so that the memory of this process reveals no passwords. */
  readonly #pepper = randomBytes(SALT_BYTES)

  /** @throws BAD_CONFIG */
  constructor({ text = null, open = [], checks = new PasswordChecks() }: AccessListOptions = {}) {
    this.#checks = checks
    this.isOpen = text === null && open.length === 0
    const anybody = this.isOpen ? [parseRolePattern('*')] : open
    this.#anonymous = toPrincipal('anonymous', anybody, textOf(anybody))
    this.#grounds.add(this.#anonymous.grounds)
    for (const credential of parseAccess(text ?? '', open)) {
      this.#grounds.add(credential.principal.grounds)
      if (credential.kind === 'bearer') this.#bearers.set(credential.hash, credential)
      else this.#people.set(credential.name, credential)
    }
    const [person] = this.#people.values()
    this.#decoy = decoyOf(person?.hash ?? '')
  }

  /** The principal of a request without credentials. */
  get anonymous(): Principal {
    return this.#anonymous
  }

  /** Whether a principal, perhaps of an earlier list, has the same credential and the same rights here. */
  isCurrent({ grounds }: Principal): boolean {
    return this.#grounds.has(grounds)
  }

  /**
   * Identifies the principal of an Authorization field. Null means that it is none of ours, and may be meant for the
   * service. A wrong password and an unknown name both give null, and both take as long, so nobody learns which names
   * exist. It returns a promise only where a name and password are checked for the first time.
   *
   * @param client the address that it came from
   * @throws TOO_MANY_GUESSES
   */
  identify(authorization: string, client = ''): Principal | null | Promise<Principal | null> {
    if (this.#bearers.size === 0 && this.#people.size === 0) return null
    const [scheme = '', value = ''] = authorization.split(/ +(.*)/s)
    if (/^bearer$/i.test(scheme)) return this.#bearers.get(hashToken(value))?.principal ?? null
    if (/^basic$/i.test(scheme) && this.#people.size > 0) return this.#identifyPerson(value, client)
    return null
  }

  #identifyPerson(value: string, client: string): Principal | null | Promise<Principal | null> {
    const memory = createHash('sha256').update(this.#pepper).update(value).digest('hex')
    const remembered = this.#remembered.get(memory)
    if (remembered) return remembered
    if (this.#wrong.has(memory)) return null
    // A browser sends many requests at once. Those from the same address share one check.
    const id = `${memory} ${client}`
    const underWay = this.#underWay.get(id)
    if (underWay) return underWay
    const check = this.#check(value, client, memory).finally(() => this.#underWay.delete(id))
    this.#underWay.set(id, check)
    return check
  }

  async #check(value: string, client: string, memory: string): Promise<Principal | null> {
    const [name = '', password = ''] = Buffer.from(value, 'base64').toString().split(/:(.*)/s)
    const person = this.#people.get(name)
    const isRight = await this.#checks.run(name.slice(0, MAX_NAME_LENGTH), client, async () => {
      const isTheirs = await isPassword(password, person?.hash ?? this.#decoy)
      return isTheirs && person !== undefined
    })
    const memories = isRight ? this.#remembered : this.#wrong
    if (memories.size >= MAX_REMEMBERED) memories.clear()
    if (isRight && person) this.#remembered.set(memory, person.principal)
    else this.#wrong.add(memory)
    return isRight && person ? person.principal : null
  }
}

/** The error for a principal who may not reach what they asked for. */
export function denied(principal: Principal, name: string): SeaportError {
  return principal.isAnonymous
    ? SeaportError.UNAUTHORIZED(`${name} needs a token, or a name and password`)
    : SeaportError.FORBIDDEN(`${principal.name} may not reach ${name}`)
}

/** A new token, and the line for it. */
export function makeToken(name: string, roles: string[]): { token: string; line: string } {
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  return { token, line: formatLine('bearer', name, hashToken(token), roles) }
}

/** The line for a person. */
export async function makePerson(name: string, password: string, roles: string[]): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await scryptAsync(password, salt, HASH_BYTES, SCRYPT)
  const parts = [`scrypt-${SCRYPT.N}-${SCRYPT.r}-${SCRYPT.p}`, salt, hash].map((part) =>
    typeof part === 'string' ? part : part.toString('hex')
  )
  return formatLine('basic', name, parts.join('$'), roles)
}

function parseAccess(text: string, open: RolePattern[]): Credential[] {
  const credentials: Credential[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue
    const [, kind, name = '', hash = '', roles = ''] =
      /^(bearer|basic):([^:]+):([^:]+):(.*)$/.exec(line.trim()) ?? []
    if (!kind) {
      throw SeaportError.BAD_CONFIG(
        `line ${index + 1} of the access file is not kind:name:hash:roles`
      )
    }
    const reaches = roles.split(',').filter(Boolean).map(parseRolePattern)
    const grounds = `${line.trim()} ${textOf(open)}`
    const principal = toPrincipal(name, [...open, ...reaches], grounds, false)
    credentials.push({ kind: kind as Credential['kind'], name, hash, principal })
  }
  return credentials
}

function textOf(patterns: RolePattern[]): string {
  return patterns.map(({ text }) => text).join()
}

function toPrincipal(
  name: string,
  reaches: RolePattern[],
  grounds: string,
  isAnonymous = true
): Principal {
  return {
    name,
    grounds,
    isAnonymous,
    mayReachAll: reaches.some(({ isEverything }) => isEverything),
    mayReachNothing: reaches.length === 0,
    mayReachRole: (role) => reaches.some((reach) => reach.hasRole(role)),
    mayReach: (role, version) => reaches.some((reach) => reach.has(role, version))
  }
}

function formatLine(kind: Credential['kind'], name: string, hash: string, roles: string[]): string {
  if (!/^[\w.@+-]+$/.test(name)) {
    throw SeaportError.USAGE(
      `a name has letters, digits and . _ @ + - only, not ${JSON.stringify(name)}`
    )
  }
  for (const role of roles) parseRolePattern(role)
  return `${kind}:${name}:${hash}:${roles.join(',')}`
}

function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** A hash that no password has, and that takes as long to check as the given one. */
function decoyOf(hash: string): string {
  const { N, r, p } = SCRYPT
  const parameters = /^scrypt-\d+-\d+-\d+(?=\$)/.exec(hash)?.[0] ?? `scrypt-${N}-${r}-${p}`
  const random = (bytes: number) => randomBytes(bytes).toString('hex')
  return [parameters, random(SALT_BYTES), random(HASH_BYTES)].join('$')
}

async function isPassword(password: string, stored: string): Promise<boolean> {
  const [, N, r, p, salt = '', hash = ''] =
    /^scrypt-(\d+)-(\d+)-(\d+)\$([0-9a-f]+)\$([0-9a-f]+)$/.exec(stored) ?? []
  const expected = Buffer.from(hash, 'hex')
  if (expected.byteLength === 0) return false
  const options = { N: Number(N), r: Number(r), p: Number(p) }
  const actual = await scryptAsync(password, Buffer.from(salt, 'hex'), expected.byteLength, options)
  return timingSafeEqual(actual, expected)
}
