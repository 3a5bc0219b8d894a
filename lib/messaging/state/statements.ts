import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { type KeyPair, toHex } from '../../core/keys.js'
import { isName } from '../names.js'

/** Whose state it is: nothing that is signed for one registry and role counts in another. */
export interface Scope {
  /** Public key of the registry, in hex. */
  registry: string
  /** Name of the role, without its version. */
  role: string
}

/** One entry of an owner's map, as the owner signed it. Owner and term are those of the head that it comes with. */
export interface SignedEntry {
  name: string
  /** Of the map when it was written: each change has the next one. */
  rev: number
  /** The value as JSON; null if it was deleted. */
  json: string | null
  signature: string
}

/** What an owner says of its map as a whole, with each change: nobody can hide a name, or pass off an older map. */
export interface Head {
  /** Service key, in hex. */
  owner: string
  /** Greater by one with each owner that takes over. */
  term: number
  rev: number
  /** Of the map, as `StateMap` makes it. */
  hash: string
  /** Keys, in hex, that may take over; or whose owner may say who does. `serve` stands for all who may serve the role. */
  successors: readonly string[]
  signature: string
}

/** Somebody's word that a key takes over from an owner: of the owner itself, or of one that it named. */
export interface Claim {
  /** Who takes over, in hex. */
  key: string
  /** From whom. */
  from: string
  signer: string
  signature: string
}

/** How an owner came to a map that was another's before. */
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

/** Of a value as JSON: with its entry and head it fits the frame of an event. */
export const MAX_VALUE_BYTES = 60 * 1024
export const MAX_ENTRIES = 4096
/** A whole map as JSON is never larger. */
export const MAX_SNAPSHOT_BYTES = 4 * 1024 * 1024
export const MAX_SUCCESSORS = 8
export const ANY_WHO_MAY_SERVE = 'serve'
/** Leaves room above, so that nobody has the last word for good. */
const MAX_COUNT = 2 ** 52
const ENTRY_TYPE = 'hyperseaport/state/1'
const HEAD_TYPE = 'hyperseaport/state-head/1'
const CLAIM_TYPE = 'hyperseaport/state-claim/1'
const HEX_KEY = /^[0-9a-f]{64}$/
const HEX_SIGNATURE = /^[0-9a-f]{128}$/

type Fields<T> = Omit<T, 'signature'>

/** Signs an entry. Takes about 20 µs, and more for a large value. */
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
 * Whether a key took over from an owner as that one's head lets it.
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

/** Which of two heads is the later one; the owner decides where both are as late. */
export function compareHeads(
  a: Pick<Head, 'term' | 'rev' | 'owner'>,
  b: Pick<Head, 'term' | 'rev' | 'owner'>
): number {
  return a.term - b.term || a.rev - b.rev || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : 0)
}

/** An entry as JSON, its value as it stands. */
export function entryToJson({ name, rev, json, signature }: SignedEntry): string {
  const value = json === null ? '"deleted":true' : `"value":${json}`
  return `{"name":${JSON.stringify(name)},"rev":${rev},${value},"signature":"${signature}"}`
}

export function snapshotToJson({ head, entries, succession }: Snapshot): string {
  const texts = entries.map(entryToJson)
  return `{"head":${JSON.stringify(head)},"succession":${JSON.stringify(succession)},"entries":[${texts.join(',')}]}`
}

/**
 * Reads an entry from outside. Its signature is for `verifyEntry`.
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

/** The type comes first, so that nothing that was signed as one thing can be read as another. */
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
