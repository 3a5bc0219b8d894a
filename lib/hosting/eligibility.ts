import { BUBBLEWRAP } from './driver/driver.js'
import type { AppNeeds, HostView } from './placement-view.js'

/** Why a host may not take an app, for people to read; null if it may. Its free memory is not considered. */
export function refusalOf(host: HostView, needs: AppNeeds): string | null {
  const misfit = misfitOf(host, needs)
  if (misfit) return misfit
  if (needs.failedOn?.has(host.host)) return 'the release failed there'
  if (host.isStale) return 'its lease was lost in an outage, and it is waited for'
  return host.declines.has(needs.app) ? 'it says that it cannot take this app now' : null
}

/**
 * Why instances of an app have to leave a host; null if they may stay. A host that is stale, or that declines the app,
 * keeps what it has.
 */
export function misfitOf(host: HostView, needs: AppNeeds): string | null {
  if (host.isDraining) return 'it is draining'
  const missing = needs.labels.filter((label) => !host.labels.has(label))
  if (missing.length > 0) return `it is not labelled ${missing.join(', ')}`
  if (needs.platforms && !needs.platforms.includes(host.platform)) {
    return `it is ${host.platform}, and the bundle is for ${needs.platforms.join(', ')}`
  }
  if (host.drivers.has(needs.driver)) return null
  return needs.driver === BUBBLEWRAP
    ? 'it has no bubblewrap, and the app asks for a sandbox'
    : `it has no driver ${needs.driver}`
}
