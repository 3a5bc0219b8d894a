import type { AppRelease, AppStatement } from '../registry/trust/app-statement.js'
import type { Verdict } from '../registry/trust/verdict.js'

/** The failure of a release on a host. */
export interface Failure {
  /** The host's key, hex. */
  host: string
  /** Ms since 1970. */
  at: number
  why: string
}

/** A release, with what became of it. */
export interface ReleaseOutcome extends AppRelease {
  /** Whether as many instances as were wanted once passed. After that a failure does not count against the release. */
  isComplete: boolean
  failures: Failure[]
  /** Whether no host tries it any more, because it failed on two hosts or on the only one that could run it. */
  hasFailed: boolean
}

/** What hosts run of an app. */
export interface AppOutcome {
  /** The wanted release, or an earlier one if that has failed. */
  current: ReleaseOutcome
  wanted: ReleaseOutcome
  /** Hosts on which the current release failed. Others may still try it. */
  failedOn: ReadonlySet<string>
}

/**
 * The outcome of an update, which all hosts compute alike from the same verdicts. A release that failed on two hosts,
 * or on the only one that could run it, is given up. The latest release before it that did not fail runs in its place.
 * If there is none, the wanted one is still tried.
 *
 * @param verdicts the verdicts of hosts that may run this app
 */
export function outcomeOf(app: AppStatement, verdicts: readonly Verdict[]): AppOutcome {
  const [wanted, ...kept] = releasesWithOutcomes(app, verdicts)
  if (!wanted) throw new TypeError('an app has a release')
  const current = [wanted, ...kept].find(({ hasFailed }) => !hasFailed)
  if (!current) return { current: wanted, wanted, failedOn: new Set() }
  const failures = current.isComplete ? [] : current.failures
  return { current, wanted, failedOn: new Set(failures.map(({ host }) => host)) }
}

/** The wanted release and those that are kept, the latest first. */
export function releasesWithOutcomes(
  { version, release, kept }: AppStatement,
  verdicts: readonly Verdict[]
): ReleaseOutcome[] {
  return [{ version, release }, ...kept].map((one) => outcomeIn(one, verdicts))
}

function outcomeIn({ version, release }: AppRelease, verdicts: readonly Verdict[]): ReleaseOutcome {
  const found = verdicts.flatMap(({ host, judged }) =>
    judged.filter((one) => one.release === release).map((one) => ({ ...one, host }))
  )
  const isComplete = found.some(({ outcome }) => outcome === 'complete')
  const failed = found.filter(({ outcome }) => outcome === 'failed')
  const isGivenUp = failed.length > 1 || failed.some(({ isLast }) => isLast)
  return {
    version,
    release,
    isComplete,
    failures: failed.map(({ host, at, why }) => ({ host, at, why })),
    hasFailed: !isComplete && isGivenUp
  }
}
