import {
  type AppStatement,
  driverOf,
  type Judgement,
  type Verdict,
  wantedOf
} from '../registry/trust/signed.js'
import { misfitOf, refusalOf } from './eligibility.js'
import type { AppNeeds, HostView } from './placement-view.js'
import type { Ranks } from './ranks.js'

export interface CountingTerms {
  app: AppStatement
  /** The listed hosts, and their order for the app. */
  hosts: readonly HostView[]
  ranks: Ranks
  /** Ms since 1970. */
  now: number
}

/** So much more than `instances` may run while some are replaced, as far as verdicts go. */
const SURGE = 1
/** How long another host that could try a release is waited for at least, in ms, whatever a single one says. */
const PATIENCE_MS = 60_000

/**
 * What counts of verdicts. That a release failed counts only from a host that placement chooses for the app, so no other
 * host can take a release back. That there was no other host to try it counts only if none is seen here either, or
 * after a minute. The verdict of a host that is gone still counts.
 */
export function countedVerdicts(verdicts: readonly Verdict[], terms: CountingTerms): Verdict[] {
  const { app, hosts } = terms
  const releases = new Map([wantedOf(app), ...app.kept].map((one) => [one.release, one]))
  const needsOf = ({ release }: Judgement): AppNeeds => {
    const driver = driverOf(releases.get(release) ?? wantedOf(app))
    return { app: app.app, ...app.place, driver, platforms: app.place.platforms ?? null }
  }
  const fit = verdicts.map((verdict) => {
    const listed = hosts.find((one) => one.host === verdict.host)
    const isFit = (one: Judgement) =>
      !listed || misfitOf({ ...listed, isDraining: false }, needsOf(one)) === null
    return { ...verdict, judged: verdict.judged.filter(isFit) }
  })
  return fit.map((verdict) => {
    const judged = verdict.judged.flatMap((one) => {
      if (!isFailure(one)) return [one]
      const needs = needsOf(one)
      const failedOn = hostsWhere(fit, one.release)
      if (!isChosen(verdict.host, needs, failedOn.size, terms)) return []
      return [{ ...one, isLast: one.isLast && isCredible(one, { ...needs, failedOn }, terms) }]
    })
    return { ...verdict, judged }
  })
}

/** Whether placement may have chosen a host: fewer hosts that are surely open come before it than it has to choose. */
function isChosen(
  host: string,
  needs: AppNeeds,
  failures: number,
  { app: { instances }, hosts, ranks }: CountingTerms
): boolean {
  const places = instances === 'all' ? Infinity : instances + SURGE + failures
  if (hosts.length <= places) return true
  const order = ranks.of(needs.app).map((one) => one.host)
  const place = order.indexOf(host)
  if (place === -1) return true
  const open = new Set(hosts.filter((one) => isOpen(one, needs)).map((one) => one.host))
  return order.slice(0, place).filter((one) => open.has(one)).length < places
}

/** A host dates its verdicts itself. But it cannot have judged what nobody had asked for yet. */
function isCredible(
  { at, release }: Judgement,
  needs: AppNeeds,
  { app, hosts, now }: CountingTerms
): boolean {
  const since = release === app.release ? Math.max(at, app.issuedAt) : at
  return now - since >= PATIENCE_MS || !hosts.some((one) => isOpen(one, needs))
}

/** Whether a host surely takes the app. What memory it has left is not known here. */
function isOpen(host: HostView, needs: AppNeeds): boolean {
  const isNeverFull = needs.memory === 0 || host.memory === Number.POSITIVE_INFINITY
  return isNeverFull && refusalOf(host, needs) === null
}

function isFailure({ outcome }: Judgement): boolean {
  return outcome === 'failed' || outcome === 'unprepared'
}

function hostsWhere(verdicts: readonly Verdict[], release: string): Set<string> {
  const failed = verdicts.filter(({ judged }) =>
    judged.some((one) => one.release === release && isFailure(one))
  )
  return new Set(failed.map(({ host }) => host))
}
