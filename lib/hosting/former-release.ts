import { SeaportError } from '../core/errors.js'
import type { ReleaseOutcome } from './outcome.js'

/**
 * The release that a rollback goes back to: the one before, or the last one of a version.
 *
 * @param history the kept releases before the wanted one, the latest first, and changes that were overruled
 * @throws CHECK_FAILED if it failed when it was tried, NOT_FOUND
 */
export function formerRelease(
  app: string,
  history: readonly ReleaseOutcome[],
  version?: string
): ReleaseOutcome {
  const former = history.filter(({ overruled }) => !overruled)
  const kept = former.filter(({ hasFailed }) => !hasFailed)
  const found = version === undefined ? kept[0] : kept.find((one) => one.version === version)
  if (found) return found
  const versions = kept.map((one) => one.version).join(', ') || 'none'
  const failed = former.find((one) => one.version === version)
  if (failed) {
    throw SeaportError.CHECK_FAILED(
      `${app}@${version} failed when it was tried (${failed.failures[0]?.why}); push it again to try it anew, or go back to one of ${versions}`
    )
  }
  throw SeaportError.NOT_FOUND(
    `${app} has no ${version ? `release ${version}` : 'release before'}; there are ${versions}`
  )
}
