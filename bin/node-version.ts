/** The releases that work: 20 from 20.19 on, 22 from 22.12 on, and all later ones. `engines` in package.json says the same. */
const OLDEST_OF_20 = 19
const OLDEST_OF_22 = 12

/**
 * Decides whether this program runs on a version of Node. Our dependency `ini` excludes what lies between
 * the supported ones.
 *
 * @param version as in `process.versions.node`
 * @returns what to print instead of running, or null if the version is supported
 */
export function refusalOf(version: string): string | null {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isSupported =
    major > 22 || (major === 22 && minor >= OLDEST_OF_22) || (major === 20 && minor >= OLDEST_OF_20)
  if (isSupported) return null
  return (
    `NODE_UNSUPPORTED: hyperseaport needs Node 20.19 or a later 20, or Node 22.12 or anything later, ` +
    `and this is Node ${version}: install a supported version from https://nodejs.org`
  )
}
