import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { isRoleName } from '../../core/role.js'
import { MAX_KEPT_RELEASES } from './app-statement.js'
import { MAX_APPS } from './max-apps.js'
import { isObject, type Statement, signStatement } from './statement.js'
import {
  badField,
  checkStatement,
  isHex,
  isWhole,
  later,
  type StatementKind
} from './statement-kind.js'

/** What a host says of the releases of an app: whether they came to run. Keys are hex. */
export interface Verdict extends Statement {
  type: typeof VERDICT_TYPE
  app: string
  host: string
  /** Ms since 1970. */
  issuedAt: number
  /** The latest first. */
  judged: Judgement[]
}

/**
 * `prepared`: its command `before` has ended well on this host. `unprepared`: it has not. `complete`: as many instances as
 * wanted have passed. `failed`: one on this host did not in time.
 */
export interface Judgement {
  /** The hash of the release. */
  release: string
  outcome: (typeof OUTCOMES)[number]
  /** Whether this host has said before that it is prepared. */
  isPrepared?: true
  /** Whether the host knew of no other that could try it. */
  isLast: boolean
  /** When it was judged, in ms since 1970. */
  at: number
  /** Why it failed, and the last lines of its output. */
  why: string
}

const OUTCOMES = ['prepared', 'unprepared', 'complete', 'failed'] as const
const VERDICT_TYPE = 'hyperseaport/verdict/1'
const MAX_VERDICT_BYTES = 8192
/** Characters. */
export const MAX_WHY = 600
const MAX_JUDGED = MAX_KEPT_RELEASES + 1
/** Why older ones failed is forgotten, but for so many, so that a verdict stays small. */
const EXPLAINED = 2

/** Only hosts judge, each for itself. What follows of it all hosts compute alike (`hosting/outcome.ts`). */
export const VERDICT: StatementKind<Verdict> = {
  type: VERDICT_TYPE,
  name: 'verdict',
  maxBytes: MAX_VERDICT_BYTES,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields({ app, host, issuedAt, judged }) {
    const bad = (field: string) => badField('verdict', field)
    if (!isRoleName(app)) throw bad('app')
    if (!isHex(host, 32)) throw bad('host')
    if (!isWhole(issuedAt)) throw bad('issuedAt')
    if (!areJudgements(judged)) throw bad('judged')
  },
  subject: ({ app, host }) => `${app} ${host}`,
  signer: ({ host }) => host,
  date: ({ issuedAt }) => issuedAt,
  mayIssue: ({ host }, rights) => rights.allows(host, { kind: 'host' }),
  merge: later,
  checkNext({ host }, known, { list }) {
    if (known || list().filter((one) => one.host === host).length < MAX_APPS) return
    throw SeaportError.LIMIT_REACHED(`a host judges at most ${MAX_APPS} apps`)
  }
}

/**
 * Signs what a host has found of a release.
 *
 * @param before what it said before of the app, null if nothing
 */
export function signVerdict(
  registry: Buffer,
  host: KeyPair,
  app: string,
  judgement: Judgement,
  before: Verdict | null
): Verdict {
  const isSame = ({ release }: Judgement) => release === judgement.release
  const said = before?.judged.find(isSame)
  const isPrepared = judgement.outcome === 'prepared' || said?.isPrepared === true
  const next = isPrepared ? { ...judgement, isPrepared } : judgement
  const others = (before?.judged ?? []).filter((one) => !isSame(one))
  const judged = [next, ...others]
    .slice(0, MAX_JUDGED)
    .map((one, i) => ({ ...one, why: i < EXPLAINED ? one.why.slice(0, MAX_WHY) : '' }))
  const issuedAt = Math.max(judgement.at, (before?.issuedAt ?? 0) + 1)
  const statement = signStatement(
    {
      type: VERDICT_TYPE,
      registry: toHex(registry),
      app,
      host: toHex(host.publicKey),
      issuedAt,
      judged
    } as const,
    host.secretKey
  )
  return checkStatement(VERDICT, statement, registry)
}

function areJudgements(value: unknown): boolean {
  return Array.isArray(value) && value.length <= MAX_JUDGED && value.every(isJudgement)
}

function isJudgement(value: unknown): boolean {
  if (!isObject(value)) return false
  const { release, outcome, isPrepared, isLast, at, why } = value
  return (
    isHex(release, 32) &&
    OUTCOMES.some((one) => one === outcome) &&
    (isPrepared === undefined || isPrepared === true) &&
    typeof isLast === 'boolean' &&
    isWhole(at) &&
    typeof why === 'string' &&
    why.length <= MAX_WHY
  )
}
