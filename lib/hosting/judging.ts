import { type Judgement, MAX_WHY } from '../registry/trust/signed.js'
import { refusals } from './placement.js'
import type { AppView, InstanceView, PlacementView } from './placement-view.js'
import { Ranks } from './ranks.js'

/** An instance of this host, or one that it could not start. */
export interface Attempt {
  release: string
  /** For how long it has not passed, in ms; 0 if it passes. */
  failingFor: number
  isCrashLooping: boolean
  why: string
}

export interface JudgingTerms {
  /** This host's key, hex. */
  host: string
  app: AppView
  view: PlacementView
  attempts: readonly Attempt[]
  /** How long an instance may take until it passes, in ms. */
  deadline: number
  /** The verdict that this host has given on the release already; null if none. */
  said: Judgement | null
  /** Ms since 1970. */
  now: number
}

/**
 * After this many deadlines, and so many ms, another host that could try the release is not waited for any longer: it neither
 * runs it nor says that it failed.
 */
const PATIENCE = 2
const PATIENCE_MS = 60_000

/**
 * The verdict of this host on the release that is to run; null if it has nothing new to say. The release has failed
 * here when an instance keeps ending, or does not pass within the deadline. It is complete when as many instances as
 * are wanted pass; the best-ranked host among theirs says so.
 */
export function judge(terms: JudgingTerms): Judgement | null {
  const { app, view, attempts, deadline, said, now } = terms
  if (app.isComplete || app.instances === 0) return null
  const all = view.instances.filter((one) => one.app === app.app && one.release === app.release)
  if (isComplete(terms, all)) {
    const outcome = 'complete'
    return said?.outcome === outcome ? null : judged(app, { outcome, isLast: false, at: now })
  }
  const failed = attempts.find((one) => one.release === app.release && keepsFailing(one, deadline))
  const outcome = 'failed'
  if (said?.outcome === outcome) {
    const isOverdue =
      now - said.at > Math.max(PATIENCE * deadline, PATIENCE_MS) &&
      !all.some(({ state }) => state === 'passing')
    const isLast = isOverdue || isOnlyOne(terms)
    return said.isLast || !isLast ? null : { ...said, isLast }
  }
  if (!failed) return null
  return judged(app, { outcome, isLast: isOnlyOne(terms), at: now, why: failed.why })
}

/** Whether an instance ends again and again, or has not passed in time. */
export function keepsFailing(
  { failingFor, isCrashLooping }: Pick<Attempt, 'failingFor' | 'isCrashLooping'>,
  deadline: number
): boolean {
  return isCrashLooping || failingFor >= deadline
}

/** Whether as many instances as are wanted pass steadily, and it is this host that has to say so. */
function isComplete({ host, app, view }: JudgingTerms, all: readonly InstanceView[]): boolean {
  const passing = all.filter(({ state }) => state === 'passing')
  const refused = refusals({ ...view, instances: [] }, app)
  const wanted = app.instances === 'all' ? view.hosts.length - refused.size : app.instances
  if (passing.length === 0 || passing.length < wanted) return false
  const having = new Ranks(passing.map((one) => one.host)).of(app.app)
  return having[0]?.host === host
}

/** Whether no other host could try the release. */
function isOnlyOne({ host, app, view }: JudgingTerms): boolean {
  const refused = refusals(view, app)
  return !view.hosts.some((one) => one.host !== host && !refused.has(one.host))
}

function judged(
  { release }: AppView,
  { why = '', ...more }: Omit<Judgement, 'release' | 'why'> & { why?: string }
): Judgement {
  return { release, ...more, why: why.slice(0, MAX_WHY) }
}
