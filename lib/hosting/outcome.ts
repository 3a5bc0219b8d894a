import type { AppRelease, AppStatement } from '../registry/trust/app-statement.js'
import type { Verdict } from '../registry/trust/verdict.js'

/** That a release did not come to run on a host. */
export interface Failure {
  /** The host's key, hex. */
  host: string
  /** Ms since 1970. */
  at: number
  why: string
}

/** What has become of a release. */
export interface ReleaseOutcome extends AppRelease {
  /** Whether as many instances as wanted once passed: what fails later fails by itself. */
  isComplete: boolean
  failures: Failure[]
  /** Whether no host tries it any more: it failed on two, or on the only one that could. */
  hasFailed: boolean
}

/** What hosts run of an app. */
export interface AppOutcome {
  /** What is wanted, or the release before where that has failed. */
  current: ReleaseOutcome
  wanted: ReleaseOutcome
  /** Hosts on which the current one failed; others have still to try it. */
  failedOn: ReadonlySet<string>
}

/**
 * What an update came to, which all hosts compute alike from the same verdicts. A release that failed on two hosts, or on
 * the only one that could run it, is given up, and the latest one before it that did not fail runs in its place. Where
 * there is none, the wanted one is tried on.
 *
 * @param verdicts of hosts that may run this app
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
