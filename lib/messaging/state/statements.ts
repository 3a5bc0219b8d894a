import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { isName } from '../names.js'

/** The registry and role of a state. What is signed for one of them does not count in another. */
export interface Scope {
  /** Public key of the registry, in hex. */
  registry: string
  /** Name of the role, without its version. */
  role: string
}

/** An entry of an owner's map, as the owner signed it. Owner and term are those of the head that comes with it. */
export interface SignedEntry {
  name: string
  /** The revision of the map in which it was written. Each change has the next one. */
  rev: number
  /** The value as JSON; null if it was deleted. */
  json: string | null
  signature: string
}

/**
 * What an owner signs about its map as a whole, with each change. By it nobody can hide a name, or pass an older map
 * off as the present one.
 */
export interface Head {
  /** Service key, in hex. */
  owner: string
  /** The term: greater by one with each owner that takes over. */
  term: number
  rev: number
  /** The hash of the map, as `StateMap` computes it. */
  hash: string
  /**
   * Keys, in hex, that may take over, or may sign a claim for another key that does. `serve` stands for all who may
   * serve the role.
   */
  successors: readonly string[]
  signature: string
}

/**
 * A signed word that a key takes over from an owner. It counts if the owner signed it, or a key that the owner named.
 */
export interface Claim {
  /** The key that takes over, in hex. */
  key: string
  /** The owner that it takes over from, in hex. */
  from: string
  signer: string
  signature: string
}

/** The proof of how an owner came to a map that another one had before. */
export interface Succession {
  former: Head
  claim: Claim | null
}

/** An owner's whole map. */
export interface Snapshot {
  head: Head
  entries: readonly SignedEntry[]
  succession: Succession | null
}

/** The largest value as JSON, in bytes. It fits the frame of an event together with its entry and head. */
export const MAX_VALUE_BYTES = 60 * 1024
export const MAX_ENTRIES = 4096
/** The largest size of a whole map as JSON, in bytes. */
export const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024
export const MAX_SUCCESSORS = 8
export const ANY_WHO_MAY_SERVE = 'serve'
/**
 * The largest term or revision that is accepted. It leaves room above, so that nobody can make a head that can never be
 * exceeded.
 */
const MAX_COUNT = 2 ** 52
const ENTRY_TYPE = 'hyperseaport/state/1'
const HEAD_TYPE = 'hyperseaport/state-head/1'
const CLAIM_TYPE = 'hyperseaport/state-claim/1'
const HEX_KEY = /^[0-9a-f]{64}$/
const HEX_SIGNATURE = /^[0-9a-f]{128}$/

type Fields<T> = Omit<T, 'signature'>

/** Signs an entry. This takes about 20 µs, and more for a large value. */
export function signEntry(
  scope: Scope,
  { term }: Pick<Head, 'term'>,
  fields: Fields<SignedEntry>,
  { publicKey, secretKey }: KeyPair
): SignedEntry {
  const bytes = entryBytes(scope, { owner: toHex(publicKey), term }, fields)
  return { ...fields, signature: toHex(crypto.sign(bytes, secretKey)) }
}

export function signHead(
  scope: Scope,
  fields: Omit<Head, 'signature' | 'owner'>,
  { publicKey, secretKey }: KeyPair
): Head {
  const head = { ...fields, owner: toHex(publicKey) }
  return { ...head, signature: toHex(crypto.sign(headBytes(scope, head), secretKey)) }
}

export function signClaim(
  scope: Scope,
  { key, from }: Pick<Claim, 'key' | 'from'>,
  { publicKey, secretKey }: KeyPair
): Claim {
  const claim = { key, from, signer: toHex(publicKey) }
  return { ...claim, signature: toHex(crypto.sign(claimBytes(scope, claim), secretKey)) }
}

/** @throws BAD_SIGNATURE */
export function verifyEntry(scope: Scope, head: Pick<Head, 'owner' | 'term'>, entry: SignedEntry) {
  const bytes = entryBytes(scope, head, entry)
  check(bytes, entry.signature, head.owner, `the entry ${entry.name} of a state`)
}

/** @throws BAD_SIGNATURE */
export function verifyHead(scope: Scope, head: Head) {
  check(headBytes(scope, head), head.signature, head.owner, 'the head of a state')
}

/** @throws BAD_SIGNATURE */
export function verifyClaim(scope: Scope, claim: Claim) {
  check(claimBytes(scope, claim), claim.signature, claim.signer, 'a claim to a state')
}

/**
 * Whether an owner has taken over from the former one in a way that the head of that one allows.
 *
 * @throws BAD_SIGNATURE
 */
export function isRightful(scope: Scope, owner: string, { former, claim }: Succession): boolean {
  verifyHead(scope, former)
  const { successors } = former
  if (successors.includes(owner) || successors.includes(ANY_WHO_MAY_SERVE)) return true
  if (!claim || claim.key !== owner || claim.from !== former.owner) return false
  verifyClaim(scope, claim)
  return claim.signer === former.owner || successors.includes(claim.signer)
}

/** Compares two heads by term, revision and, if these are equal, owner. */
export function compareHeads(
  a: Pick<Head, 'term' | 'rev' | 'owner'>,
  b: Pick<Head, 'term' | 'rev' | 'owner'>
): number {
  return a.term - b.term || a.rev - b.rev || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : 0)
}

/** An entry as JSON, which contains the value unchanged. */
export function entryToJson({ name, rev, json, signature }: SignedEntry): string {
  const value = json === null ? '"deleted":true' : `"value":${json}`
  return `{"name":${JSON.stringify(name)},"rev":${rev},${value},"signature":"${signature}"}`
}

export function snapshotToJson({ head, entries, succession }: Snapshot): string {
  const texts = entries.map(entryToJson)
  return `{"head":${JSON.stringify(head)},"succession":${JSON.stringify(succession)},"entries":[${texts.join(',')}]}`
}

/**
 * Reads an entry from outside. Its signature is not checked here, but by `verifyEntry`.
 *
 * @throws BAD_MESSAGE
 */
export function parseEntry(value: unknown): SignedEntry {
  const fields = objectOf(value, 'an entry')
  const { name, rev, signature } = fields
  if (!isName(name)) throw bad('an entry', 'name')
  if (!isCount(rev, 1)) throw bad('an entry', 'rev')
  if (!isText(signature, HEX_SIGNATURE)) throw bad('an entry', 'signature')
  const isDeleted = fields.deleted === true
  if (isDeleted === (fields.value !== undefined)) throw bad('an entry', 'value')
  const json = isDeleted ? null : JSON.stringify(fields.value)
  if (json !== null && Buffer.byteLength(json) > MAX_VALUE_BYTES) throw bad('an entry', 'value')
  return { name, rev, json, signature }
}

/** @throws BAD_MESSAGE */
export function parseHead(value: unknown): Head {
  const { owner, term, rev, hash, successors, signature } = objectOf(value, 'a head')
  if (!isText(owner, HEX_KEY)) throw bad('a head', 'owner')
  if (!isCount(term, 1)) throw bad('a head', 'term')
  if (!isCount(rev, 0)) throw bad('a head', 'rev')
  if (!isText(hash, HEX_KEY)) throw bad('a head', 'hash')
  if (!areSuccessors(successors)) throw bad('a head', 'successors')
  if (!isText(signature, HEX_SIGNATURE)) throw bad('a head', 'signature')
  return { owner, term, rev, hash, successors, signature }
}

/** @throws BAD_MESSAGE */
export function parseClaim(value: unknown): Claim {
  const { key, from, signer, signature } = objectOf(value, 'a claim')
  if (!isText(key, HEX_KEY)) throw bad('a claim', 'key')
  if (!isText(from, HEX_KEY)) throw bad('a claim', 'from')
  if (!isText(signer, HEX_KEY)) throw bad('a claim', 'signer')
  if (!isText(signature, HEX_SIGNATURE)) throw bad('a claim', 'signature')
  return { key, from, signer, signature }
}

/** @throws BAD_MESSAGE */
export function parseSuccession(value: unknown): Succession | null {
  if (value === null || value === undefined) return null
  const { former, claim } = objectOf(value, 'a succession')
  return { former: parseHead(former), claim: claim ? parseClaim(claim) : null }
}

/** @throws BAD_MESSAGE */
export function parseSnapshot(value: unknown): Snapshot {
  const { head, entries, succession } = objectOf(value, 'a snapshot')
  if (!Array.isArray(entries) || entries.length > MAX_ENTRIES) throw bad('a snapshot', 'entries')
  return {
    head: parseHead(head),
    entries: entries.map(parseEntry),
    succession: parseSuccession(succession)
  }
}

function entryBytes(
  { registry, role }: Scope,
  { owner, term }: Pick<Head, 'owner' | 'term'>,
  { name, rev, json }: Fields<SignedEntry>
): Buffer {
  return bytesOf([ENTRY_TYPE, registry, role, owner, term, name, rev, json])
}

function headBytes({ registry, role }: Scope, head: Fields<Head>): Buffer {
  const { owner, term, rev, hash, successors } = head
  return bytesOf([HEAD_TYPE, registry, role, owner, term, rev, hash, successors])
}

function claimBytes({ registry, role }: Scope, { key, from, signer }: Fields<Claim>): Buffer {
  return bytesOf([CLAIM_TYPE, registry, role, key, from, signer])
}

/**
 * The bytes to sign. The kind of statement comes first, so that what was signed as one kind cannot be used as another.
 */
function bytesOf(fields: readonly unknown[]): Buffer {
  return Buffer.from(JSON.stringify(fields))
}

function check(bytes: Buffer, signature: string, signer: string, what: string) {
  if (crypto.verify(bytes, Buffer.from(signature, 'hex'), Buffer.from(signer, 'hex'))) return
  throw SeaportError.BAD_SIGNATURE(`${what} is not signed by ${signer}`)
}

function objectOf(value: unknown, what: string): { [field: string]: unknown } {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as { [field: string]: unknown }
  }
  throw SeaportError.BAD_MESSAGE(`${what} of a state is a JSON object`)
}

function bad(what: string, field: string): SeaportError {
  return SeaportError.BAD_MESSAGE(`${what} of a state has no valid ${field}`)
}

function isText(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value)
}

function isCount(value: unknown, min: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= MAX_COUNT
}

function areSuccessors(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length <= MAX_SUCCESSORS &&
    value.every((one) => one === ANY_WHO_MAY_SERVE || isText(one, HEX_KEY))
  )
}
