import {
  type AppRelease,
  type AppStatement,
  hashOf,
  type OverruledChange,
  type Verdict,
  wantedOf
} from '../registry/trust/signed.js'

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
  /** Whether its command `before` has ended well, or it has none. */
  isPrepared: boolean
  /**
   * Whether no host tries it any more, because its command `before` failed, or it failed on two hosts or on the only one
   * that could run it.
   */
  hasFailed: boolean
  /**
   * Set for a change that lost against another one, which was written on the other side of a partition: what was wanted,
   * by whom and when, and which counts (`by`). Hosts do not keep its release.
   */
  overruled?: OverruledChange
}

/** What hosts run of an app. */
export interface AppOutcome {
  /** The wanted release, or an earlier one if that has failed or is not prepared yet. */
  current: ReleaseOutcome
  wanted: ReleaseOutcome
  /** Hosts on which the current release failed. Others may still try it. */
  failedOn: ReadonlySet<string>
  /** Whether the current release may run. It may not if it is not prepared, and there is none before it. */
  mayRun: boolean
  /** Whether the command `before` of the wanted release is to run now. */
  isPreparing: boolean
}

/**
 * The outcome of an update, which all hosts compute alike from the same verdicts. A release that failed on two hosts,
 * or on the only one that could run it, is given up. The latest release before it that did not fail runs in its place.
 * If there is none, the wanted one is still tried. The one before also runs until the wanted one is prepared.
 *
 * @param verdicts the verdicts of hosts that may run this app
 */
export function outcomeOf(app: AppStatement, verdicts: readonly Verdict[]): AppOutcome {
  const [wanted, ...kept] = releasesWithOutcomes(app, verdicts)
  if (!wanted) throw new TypeError('an app has a release')
  const isPreparing = !wanted.isPrepared && !wanted.hasFailed
  const current = [wanted, ...kept].find(({ hasFailed, isPrepared }) => isPrepared && !hasFailed)
  if (!current) {
    const { isPrepared: mayRun } = wanted
    return { current: wanted, wanted, failedOn: new Set(), mayRun, isPreparing }
  }
  return { current, wanted, failedOn: failedOn(current), mayRun: true, isPreparing }
}

/** Hosts on which a release failed, and which get no more of it. */
export function failedOn({ isComplete, failures }: ReleaseOutcome): ReadonlySet<string> {
  return new Set(isComplete ? [] : failures.map(({ host }) => host))
}

/** The wanted release and those that are kept, the latest first. */
export function releasesWithOutcomes(
  app: AppStatement,
  verdicts: readonly Verdict[]
): ReleaseOutcome[] {
  return [wantedOf(app), ...app.kept].map((one) => outcomeIn(one, verdicts))
}

/** The changes that lost against others, the latest first. One that counts after all, as rights have changed, is none. */
export function overruledOutcomes(
  app: AppStatement,
  verdicts: readonly Verdict[],
  changes: readonly OverruledChange[] = []
): ReleaseOutcome[] {
  const lost = changes.filter(({ hash }) => hash !== hashOf(app))
  return lost.map((overruled) => {
    const { version, release } = overruled
    return { ...outcomeIn({ version, release }, verdicts), overruled }
  })
}

function outcomeIn(one: AppRelease, verdicts: readonly Verdict[]): ReleaseOutcome {
  const { release, before } = one
  const found = verdicts.flatMap(({ host, judged }) =>
    judged.filter((one) => one.release === release).map((one) => ({ ...one, host }))
  )
  const isComplete = found.some(({ outcome }) => outcome === 'complete')
  const failed = found.filter(({ outcome }) => outcome === 'failed' || outcome === 'unprepared')
  // A command `before` runs once, so no other host tries it.
  const isOver = failed.some(({ outcome, isLast }) => isLast || outcome === 'unprepared')
  const isGivenUp = failed.length > 1 || isOver
  return {
    ...one,
    isComplete,
    isPrepared: !before || isComplete || found.some(({ isPrepared }) => isPrepared),
    failures: failed.map(({ host, at, why }) => ({ host, at, why })),
    hasFailed: !isComplete && isGivenUp
  }
}
