import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { isPrintable, printable } from '../../core/printable.js'
import { arePurposes, isOnlyBytes } from '../../core/purpose.js'
import { isExactVersion, isRoleName } from '../../core/role.js'
import { checkInstanceProof, type InstanceProof, isInstanceProof } from './instance-proof.js'
import type { Right, Rights } from './rights.js'
import { isObject, parseJson, type Statement, signStatement } from './statement.js'
import { badField, checkStatement, isHex, isSigned, type StatementKind } from './statement-kind.js'

/** What the owner says of its instance; `withdrawn` ends it. */
export type Status = 'passing' | 'failing' | 'draining' | 'withdrawn'

/** One instance as its owner signed it. Keys are hex. Fields of later versions pass through unread. */
export interface ServiceRecord extends Statement {
  type: typeof RECORD_TYPE
  /** The service's public key: its address, and the only signer of this record. */
  key: string
  role: string
  version: string
  tags: string[]
  status: Status
  /** What is wrong, where it fails. Of its backend's address it says nothing. */
  reason?: string
  /** Addresses of the direct path, `host:port`. */
  direct: string[]
  /** The purposes of streams that it takes. Absent, it takes bytes for its backend only, as `['']` says. */
  speaks?: string[]
  /** What letters to it are sealed to (X25519). Absent, it is what its key stands for. */
  prekey?: string
  /** The mailboxes that keep letters to it first, while it is away: their keys, at most 3. */
  mailboxes?: string[]
  /** What says that it is an instance of the app of this name, signed by the host where it runs. */
  app?: InstanceProof
  /** Whether it looks for the state of the one before it: who has a copy offers that. */
  joining?: boolean
  /** Apps that this host does not take now. */
  declines?: string[]
  /** Swarm key of the process that may hold the lease: whoever else shows this record gets none. */
  holder: string
  /** Greater in every later record of the same key; usually the ms since 1970 when it was signed. */
  seq: number
}

/** What a log holds for an instance: its record, or what became of its lease (and the record it was for). */
export type LogEntry = ServiceRecord | Gone | Stale

/** A registrar's word that nobody holds the lease of this record any more. */
export interface Gone {
  type: typeof GONE_TYPE
  record: ServiceRecord
}

/** A registrar's word that this lease vanished together with many others: the instance may well be there. */
export interface Stale {
  type: typeof STALE_TYPE
  record: ServiceRecord
}

/** What the owner chooses; the rest follows from its key and the registry. */
export type RecordFields = Pick<
  ServiceRecord,
  | 'role'
  | 'version'
  | 'tags'
  | 'status'
  | 'reason'
  | 'direct'
  | 'speaks'
  | 'joining'
  | 'holder'
  | 'seq'
> & {
  prekey?: string | null | undefined
  mailboxes?: string[] | undefined
  app?: InstanceProof | undefined
  declines?: readonly string[] | undefined
}

/** Largest record, in bytes of JSON. */
export const MAX_RECORD_BYTES = 4096
/** Greatest sequence number taken; leaves room above, so that no owner can lock itself out. */
export const MAX_SEQ = 2 ** 52

/** The role of those that write to each other. Whoever is granted anything may serve it. */
export const PEER = 'peer'

/** Whether the host's signature in a record holds. */
const hosted = new WeakMap<ServiceRecord, boolean>()

const RECORD_TYPE = 'hyperseaport/record/1'
const GONE_TYPE = 'hyperseaport/gone/1'
const STALE_TYPE = 'hyperseaport/stale/1'
const ENTRY_TYPES = new Set([RECORD_TYPE, GONE_TYPE, STALE_TYPE] as string[])
const MAX_TAGS = 16
const MAX_TAG_LENGTH = 64
const MAX_DIRECT = 8
/** How many mailboxes a record names. */
export const MAX_MAILBOXES = 3
const MAX_REASON_LENGTH = 200
/** Names of apps that a host declines, and how long they are together, so that its record stays small. */
const MAX_DECLINES = 16
const MAX_DECLINES_LENGTH = 1000
const STATUSES = new Set<unknown>(['passing', 'failing', 'draining', 'withdrawn'])

/** An instance's record is in a log as long as its lease. What became of the lease is written in its place. */
export const RECORD: StatementKind<ServiceRecord> = {
  type: RECORD_TYPE,
  name: 'record',
  maxBytes: MAX_RECORD_BYTES,
  kept: 'by lease',
  verified: 'when used',
  isExported: true,
  checkFields(value) {
    const bad = (field: string) => badField('record', field)
    if (!isHex(value.key, 32)) throw bad('key')
    if (!isHex(value.signature, 64)) throw bad('signature')
    if (!isRoleName(value.role)) throw bad('role')
    if (!isExactVersion(value.version)) throw bad('version')
    if (!areTags(value.tags)) throw bad('tags')
    if (!STATUSES.has(value.status)) throw bad('status')
    if (value.reason !== undefined && !isReason(value.reason)) throw bad('reason')
    if (!areAddresses(value.direct)) throw bad('direct')
    if (value.speaks !== undefined && !arePurposes(value.speaks)) throw bad('speaks')
    if (value.prekey !== undefined && !isHex(value.prekey, 32)) throw bad('prekey')
    if (value.mailboxes !== undefined && !areMailboxes(value.mailboxes)) throw bad('mailboxes')
    if (value.app !== undefined && !isInstanceProof(value.app)) throw bad('app')
    if (value.joining !== undefined && typeof value.joining !== 'boolean') throw bad('joining')
    if (value.declines !== undefined && !areDeclines(value.declines)) throw bad('declines')
    if (!isHex(value.holder, 32)) throw bad('holder')
    if (!isSeq(value.seq)) throw bad('seq')
  },
  subject: ({ key }) => key,
  signer: ({ key }) => key,
  mayIssue(record, rights) {
    const { key, role, version } = record
    const right: Right = role === PEER ? { kind: 'read' } : { kind: 'serve', role, version }
    return rights.allows(key, right) || isHosted(record, rights)
  },
  merge: (known, next) => (next.seq > known.seq ? next : known)
}

/** Signs a record with the service's own key. */
export function signRecord(
  registry: Buffer,
  keyPair: KeyPair,
  { reason, speaks, prekey, mailboxes = [], joining, app, declines, ...fields }: RecordFields
): ServiceRecord {
  const record = signStatement(
    {
      ...fields,
      ...(reason && { reason: printable(reason).slice(0, MAX_REASON_LENGTH) }),
      ...(speaks && !isOnlyBytes(speaks) && { speaks }),
      ...(prekey && { prekey }),
      ...(mailboxes.length > 0 && { mailboxes }),
      ...(app && { app }),
      ...(joining && { joining }),
      ...(declines?.length && { declines: short(declines) }),
      type: RECORD_TYPE,
      registry: toHex(registry),
      key: toHex(keyPair.publicKey)
    } as const,
    keyPair.secretKey
  )
  return checkStatement(RECORD, record, registry)
}

/** Whether a key that may run apps has signed that this is an instance of one. */
export function isHosted(record: ServiceRecord, rights: Rights): boolean {
  const { app } = record
  if (!app || !rights.allows(app.host, { kind: 'host' })) return false
  const known = hosted.get(record)
  if (known !== undefined) return known
  const isSound = checkInstanceProof(app, record)
  hosted.set(record, isSound)
  return isSound
}

/** Whether the record's own key signed it. Takes about 50 µs. */
export function verifyRecord(record: ServiceRecord): boolean {
  return isSigned(RECORD, record)
}

/** Whether a value of a log is about an instance's lease. */
export function isEntry(value: { type: string }): value is LogEntry {
  return ENTRY_TYPES.has(value.type)
}

/** Marks a record whose lease was lost. */
export function gone(record: ServiceRecord): Gone {
  return { type: GONE_TYPE, record }
}

/** Marks a record whose lease vanished with many others. */
export function stale(record: ServiceRecord): Stale {
  return { type: STALE_TYPE, record }
}

/** Whether an entry says that the instance may be there, though nobody holds its lease just now. */
export function isStale(entry: LogEntry): entry is Stale {
  return entry.type === STALE_TYPE
}

/** Whether an entry says that the instance is not there any more: its owner, or a registrar. */
export function isGone(entry: LogEntry): boolean {
  return !isPresent(entry) && !isStale(entry)
}

/** Whether an entry says that the instance is there. */
export function isPresent(entry: LogEntry): entry is ServiceRecord {
  return entry.type === RECORD_TYPE && entry.status !== 'withdrawn'
}

/** The owner's latest word in an entry. */
export function recordOf(entry: LogEntry): ServiceRecord {
  return entry.type === RECORD_TYPE ? entry : entry.record
}

/**
 * Reads a record from the wire. Checks everything but the signature.
 *
 * @throws BAD_MESSAGE
 */
export function parseRecord(json: string, registry: Buffer): ServiceRecord {
  if (Buffer.byteLength(json) > MAX_RECORD_BYTES) {
    throw SeaportError.BAD_MESSAGE(
      `a record has at most ${MAX_RECORD_BYTES} bytes, shorten its tags`
    )
  }
  return checkStatement(RECORD, parseJson(json, 'a record'), registry)
}

/**
 * Reads an entry of a log. Checks everything but the signature.
 *
 * @throws BAD_MESSAGE
 */
export function checkEntry(value: unknown, registry: Buffer): LogEntry {
  if (isObject(value) && value.type === GONE_TYPE)
    return gone(checkStatement(RECORD, value.record, registry))
  if (isObject(value) && value.type === STALE_TYPE) {
    return stale(checkStatement(RECORD, value.record, registry))
  }
  return checkStatement(RECORD, value, registry)
}

/**
 * Checks tags as a user gives them.
 *
 * @throws USAGE
 */
export function checkTags(tags: readonly string[]): string[] {
  if (!areTags(tags)) {
    throw SeaportError.USAGE(
      `at most ${MAX_TAGS} tags of 1 to ${MAX_TAG_LENGTH} printable characters each`
    )
  }
  return [...tags]
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_SEQ
}

function areTags(value: unknown): value is string[] {
  return isListOf(
    value,
    MAX_TAGS,
    (tag) => tag.length >= 1 && tag.length <= MAX_TAG_LENGTH && isPrintable(tag)
  )
}

function areDeclines(value: unknown): boolean {
  return isListOf(value, MAX_DECLINES, isRoleName)
}

/** As many of the names as there is room for. */
function short(names: readonly string[]): string[] {
  const kept: string[] = []
  for (const name of names.slice(0, MAX_DECLINES)) {
    if (kept.join('').length + name.length <= MAX_DECLINES_LENGTH) kept.push(name)
  }
  return kept
}

function isReason(value: unknown): boolean {
  return typeof value === 'string' && value.length <= MAX_REASON_LENGTH && isPrintable(value)
}

function areAddresses(value: unknown): value is string[] {
  return isListOf(value, MAX_DIRECT, (address) => /^[\w.:[\]-]{1,255}:\d{1,5}$/.test(address))
}

function areMailboxes(value: unknown): boolean {
  return isListOf(value, MAX_MAILBOXES, (key) => isHex(key, 32))
}

function isListOf(
  value: unknown,
  max: number,
  check: (item: string) => boolean
): value is string[] {
  return (
    Array.isArray(value) &&
    value.length <= max &&
    value.every((item) => typeof item === 'string' && check(item))
  )
}
