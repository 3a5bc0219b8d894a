import type { AppNeeds, HostView } from './placement-view.js'

/** Why a host has no place for an app, as people read it; null if it has one, as far as its memory reaches. */
export function refusalOf(host: HostView, needs: AppNeeds): string | null {
  const misfit = misfitOf(host, needs)
  if (misfit) return misfit
  if (needs.failedOn?.has(host.host)) return 'the release failed there'
  if (host.isStale) return 'its lease was lost in an outage, and it is waited for'
  return host.declines.has(needs.app) ? 'it says that it cannot take this app now' : null
}

/** Why what runs there has to leave. A host that is stale, or that declines an app, keeps what it has. */
export function misfitOf(host: HostView, needs: AppNeeds): string | null {
  if (host.isDraining) return 'it is draining'
  const missing = needs.labels.filter((label) => !host.labels.has(label))
  if (missing.length > 0) return `it is not labelled ${missing.join(', ')}`
  if (needs.platforms && !needs.platforms.includes(host.platform)) {
    return `it is ${host.platform}, and the bundle is for ${needs.platforms.join(', ')}`
  }
  return host.drivers.has(needs.driver) ? null : `it has no driver ${needs.driver}`
}
