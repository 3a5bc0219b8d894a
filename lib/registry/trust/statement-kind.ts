import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'
import type { Rights } from './rights.js'
import { isObject, type Statement, verifyStatement } from './statement.js'
import { VerifiedOnce } from './verified-once.js'

/**
 * One kind of statement, and all that the registry needs to know of it: logs, snapshots, replicas, registrars,
 * `export` and `import` ask the kind and name none. Its methods get what `checkFields` let pass.
 */
export interface StatementKind<T extends Statement = Statement> {
  /** With a version, as in `hyperseaport/grant/1`: a kind that reads its fields differently has another. */
  readonly type: string
  /** What it is called in errors, as in `grant`. */
  readonly name: string
  /** Largest statement, in bytes of JSON. */
  readonly maxBytes: number
  /**
   * Where it stands. `in logs`: whoever may issue it puts it there, it stays until a later one takes its place, and
   * registrars copy it from each other. `by lease`: in logs too, as long as its owner's lease. `beside logs`:
   * participants tell each other, and no log holds it.
   */
  readonly kept: 'in logs' | 'by lease' | 'beside logs'
  /**
   * When its signature is verified: as soon as it is read, or (where many are read and few are used) by whoever uses
   * it first.
   */
  readonly verified: 'at once' | 'when used'
  /** Whether an export has it, from which `import` brings it back if it is kept in logs. */
  readonly isExported: boolean

  /** Checks each field of a value from outside but type, registry and signature. Throws BAD_MESSAGE. */
  checkFields(value: { [field: string]: unknown }): void
  /** What it is about. Of two statements of one kind and subject one counts. */
  subject(statement: T): string
  /** The key that has to have signed it, hex. */
  signer(statement: T): string
  /** When it was made, by its signer's clock, in ms since 1970, if that says which of two counts. */
  date?(statement: T): number
  /** Whether its signer has the right to issue it now. A registrar asks before it writes. */
  mayIssue(statement: T, rights: Rights): boolean
  /**
   * Which of two statements of one subject counts. Everybody has to come to the same answer, in whatever order the
   * two were read: logs of registrars that did not see each other may hold one each.
   */
  merge(known: T, next: T, rights: Rights): T
  /**
   * What a registrar refuses, which knows this one of the subject, if any. Throws a coded error, as CONFLICT for one
   * that does not follow on what is known. Without it nothing is refused; the older of two changes nothing.
   */
  checkNext?(next: T, known: T | null, all: Known<T>): void
}

/** What else a registrar knows, when it decides. */
export interface Known<T extends Statement> {
  /** The statements of the kind that count, one for each subject. */
  list: () => T[]
  /** Ms since 1970. */
  now: number
  /** How many apps there may be. */
  maxApps: number
}

/** Largest statement of any kind, in bytes of JSON. */
export const MAX_STATEMENT_BYTES = 16 * 1024
/** Largest number in a statement; below the safe maximum, so a later one can always be larger. */
const MAX_WHOLE = 2 ** 52

/**
 * Lists and objects within each other, in fields of later versions too. How deep V8 can go to sign, verify or write one
 * depends on how deep its call stack is, and so a registrar could take what a reader cannot read.
 */
const MAX_DEPTH = 32

/**
 * Peers pass on the same few statements again and again. Only for kinds verified at once; the others are too many to
 * remember.
 */
const VERIFIED = new VerifiedOnce()

const registryHex = new WeakMap<Buffer, string>()

/**
 * Checks a statement of a known kind from outside; its signature too, if that is verified at once.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkStatement<T extends Statement>(
  kind: StatementKind<T>,
  value: unknown,
  registry: Buffer
): T {
  const { type, name } = kind
  if (!isObject(value) || value.type !== type || typeof value.signature !== 'string') {
    throw SeaportError.BAD_MESSAGE(`this is not a ${name}`)
  }
  const ours = hexOf(registry)
  if (value.registry !== ours) {
    throw SeaportError.BAD_MESSAGE(`the ${name} is of another registry`)
  }
  kind.checkFields(value)
  if (isDeeperThan(MAX_DEPTH, value)) throw badField(name, 'depth')
  const json = JSON.stringify(value)
  if (Buffer.byteLength(json) > kind.maxBytes) throw badField(name, 'size')
  const statement = value as unknown as T
  // Each statement came with strings of its own; what all have in common is kept once.
  statement.type = type
  statement.registry = ours
  if (kind.verified === 'at once' && !VERIFIED.holds(json, () => isSigned(kind, statement))) {
    throw SeaportError.BAD_SIGNATURE(`the ${name} was not signed by who has to sign it`)
  }
  return statement
}

/** Whether its signer signed it. Takes about 50 µs. */
export function isSigned<T extends Statement>(kind: StatementKind<T>, statement: T): boolean {
  return verifyStatement(statement, Buffer.from(kind.signer(statement), 'hex'))
}

/** Its key in a log. */
export function placeOf<T extends Statement>(kind: StatementKind<T>, statement: T): string {
  return `${kind.type}/${kind.subject(statement)}`
}

/** What `checkFields` throws. */
export function badField(name: string, field: string): SeaportError {
  return SeaportError.BAD_MESSAGE(`the ${name} has a bad ${field}`)
}

/** Whether a value from outside is so many bytes in hex, as we write it: one key has one name. */
export function isHex(value: unknown, bytes: number): value is string {
  return typeof value === 'string' && value.length === bytes * 2 && /^[0-9a-f]*$/.test(value)
}

function isDeeperThan(depth: number, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((item) => isDeeperThan(depth - 1, item))
}

/** Whether a value from outside is a whole number from 0, as a count or ms since 1970. */
export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_WHOLE
}

/**
 * Of two statements that one signer dated the later counts. Two of one date have to be told apart everywhere alike, in
 * whatever order they came.
 */
export function later<T extends Statement & { issuedAt: number }>(known: T, next: T): T {
  if (next.issuedAt === known.issuedAt) return next.signature > known.signature ? next : known
  return next.issuedAt > known.issuedAt ? next : known
}

/** One and the same string for one and the same key. */
function hexOf(registry: Buffer): string {
  const known = registryHex.get(registry)
  if (known !== undefined) return known
  const hex = toHex(registry)
  registryHex.set(registry, hex)
  return hex
}
