import { type Judgement, MAX_WHY } from '../registry/trust/verdict.js'
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
  /** What this host has said of the release already. */
  said: Judgement | null
  /** Ms since 1970. */
  now: number
}

/** After so many times its deadline, a host that could have tried the release as well is waited for no more. */
const PATIENCE = 2

/**
 * What this host has to say of the release that is to run, if it is neither complete nor said already. It fails here when
 * an instance keeps ending, or does not pass within the deadline. It is complete when as many as wanted pass; the
 * best-ranked host that has one says so.
 */
export function judge(terms: JudgingTerms): Judgement | null {
  const { app, view, attempts, deadline, said, now } = terms
  if (app.isComplete || app.instances === 0) return null
  const all = view.instances.filter((one) => one.app === app.app && one.release === app.release)
  if (isComplete(terms, all)) {
    const outcome = 'complete'
    return said?.outcome === outcome ? null : judged(app, { outcome, isLast: false, at: now })
  }
  const failed = attempts.find(
    ({ release, failingFor, isCrashLooping }) =>
      release === app.release && (isCrashLooping || failingFor >= deadline)
  )
  const outcome = 'failed'
  if (said?.outcome === outcome) {
    const isOverdue =
      now - said.at > PATIENCE * deadline && !all.some(({ state }) => state === 'passing')
    const isLast = isOverdue || isOnlyOne(terms)
    return said.isLast || !isLast ? null : { ...said, isLast }
  }
  if (!failed) return null
  return judged(app, { outcome, isLast: isOnlyOne(terms), at: now, why: failed.why })
}

/** Whether as many as wanted pass for steady, and it is this host that says so. */
function isComplete({ host, app, view }: JudgingTerms, all: readonly InstanceView[]): boolean {
  const passing = all.filter(({ state }) => state === 'passing')
  const refused = refusals({ ...view, instances: [] }, app)
  const wanted = app.instances === 'all' ? view.hosts.length - refused.size : app.instances
  if (passing.length === 0 || passing.length < wanted) return false
  const having = new Ranks(passing.map((one) => one.host)).of(app.app)
  return having[0]?.host === host
}

/** Whether no other host could try it. */
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
