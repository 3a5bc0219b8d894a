import { type KeyPair, toHex } from '../../core/keys.js'
import { isExactVersion, isRoleName } from '../../core/role.js'
import {
  type AppState,
  type AppStatement,
  hashOf,
  isCount,
  isState,
  MAX_KEPT_RELEASES
} from './app-statement.js'
import { isObject, type Statement, signStatement } from './statement.js'
import { badField, checkStatement, isHex, isWhole, type StatementKind } from './statement-kind.js'

/** The changes of an app that were written on one side of a partition, and lost against another one. Keys are hex. */
export interface OverruledChanges extends Statement {
  type: typeof OVERRULED_TYPE
  app: string
  /** The latest first. */
  changes: OverruledChange[]
}

/** What an app statement said that does not count. */
export interface OverruledChange {
  /** The hash of the statement. */
  hash: string
  seq: number
  issuer: string
  /** Ms since 1970. */
  issuedAt: number
  state: AppState
  version: string
  /** The hash of the release. */
  release: string
  instances: number | 'all'
  /** The statement that counts in its place. */
  by: { seq: number; issuer: string; issuedAt: number }
}

const OVERRULED_TYPE = 'hyperseaport/overruled/1'
const MAX_OVERRULED_BYTES = 8192
export const MAX_OVERRULED_CHANGES = 8

/**
 * A statement that lost is overwritten in all logs, so the registrars write down what it said, under the registry's key.
 * Two that saw the same write the same. It has no date: a date under that key would be taken for the time.
 */
export const OVERRULED: StatementKind<OverruledChanges> = {
  type: OVERRULED_TYPE,
  name: 'statement of overruled changes',
  maxBytes: MAX_OVERRULED_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields({ app, changes }) {
    if (!isRoleName(app)) throw badField(OVERRULED.name, 'app')
    if (!areChanges(changes)) throw badField(OVERRULED.name, 'changes')
  },
  subject: ({ app }) => app,
  signer: ({ registry }) => registry,
  mayIssue: ({ registry }, rights) => registry === rights.registry,
  // What `overruledIn` makes of two lists comes after both, so that in the end all have the same.
  merge: (known, next) => (compareLists(next.changes, known.changes) > 0 ? next : known)
}

/** Signs which changes of an app are remembered. */
export function signOverruled(registry: KeyPair, app: string, changes: readonly OverruledChange[]) {
  const statement = signStatement(
    {
      type: OVERRULED_TYPE,
      registry: toHex(registry.publicKey),
      app,
      changes: [...changes]
    } as const,
    registry.secretKey
  )
  return checkStatement(OVERRULED, statement, registry.publicKey)
}

/** The changes of two lists, the latest first, as many as are remembered. */
export function overruledIn(
  known: readonly OverruledChange[],
  more: readonly OverruledChange[]
): OverruledChange[] {
  const all = [...known, ...more].sort((a, b) => compare(b, a))
  const isFirst = ({ hash }: OverruledChange, i: number) =>
    all.findIndex((one) => one.hash === hash) === i
  return all.filter(isFirst).slice(0, MAX_OVERRULED_CHANGES)
}

/** What is remembered of a statement that lost against another one. */
export function overruledChange(lost: AppStatement, counts: AppStatement): OverruledChange {
  const { seq, issuer, issuedAt, state, version, release, instances } = lost
  const by = { seq: counts.seq, issuer: counts.issuer, issuedAt: counts.issuedAt }
  return { hash: hashOf(lost), seq, issuer, issuedAt, state, version, release, instances, by }
}

/**
 * Whether a statement of an app does not follow from an earlier one of it, as far as can be told from these two. Of
 * those in between nothing is known but the releases, which are forgotten when an app is removed.
 */
export function isOverruled(lost: AppStatement, counts: AppStatement): boolean {
  const steps = counts.seq - lost.seq
  if (steps <= 0) return true
  if (steps === 1) return counts.after !== hashOf(lost)
  const releases = new Set([counts.release, ...counts.kept.map(({ release }) => release)])
  const hasCommon = lost.kept.some(({ release }) => releases.has(release))
  return steps <= MAX_KEPT_RELEASES && hasCommon && !releases.has(lost.release)
}

function compareLists(one: readonly OverruledChange[], other: readonly OverruledChange[]): number {
  for (const [i, change] of one.entries()) {
    const against = other[i]
    const difference = against ? compare(change, against) : 1
    if (difference !== 0) return difference
  }
  return one.length - other.length
}

/** By time, as far as it is known; of two that tell of one statement, that one comes last which it met first. */
function compare(one: OverruledChange, other: OverruledChange): number {
  return (
    one.seq - other.seq ||
    compareTexts(one.hash, other.hash) ||
    other.by.seq - one.by.seq ||
    other.by.issuedAt - one.by.issuedAt ||
    compareTexts(one.by.issuer, other.by.issuer)
  )
}

function compareTexts(one: string, other: string): number {
  return one === other ? 0 : one > other ? 1 : -1
}

function areChanges(value: unknown): boolean {
  return (
    Array.isArray(value) && value.length <= MAX_OVERRULED_CHANGES && value.every(isOverruledChange)
  )
}

function isOverruledChange(value: unknown): boolean {
  if (!isObject(value) || !isObject(value.by)) return false
  const { hash, seq, issuer, issuedAt, state, version, release, instances, by } = value
  return (
    isHex(hash, 32) &&
    [seq, issuedAt, by.seq, by.issuedAt].every(isWhole) &&
    isHex(issuer, 32) &&
    isHex(by.issuer, 32) &&
    isState(state) &&
    isExactVersion(version) &&
    isHex(release, 32) &&
    isCount(instances)
  )
}
