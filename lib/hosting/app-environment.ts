import type { Release } from './release.js'

/** What every program of a release finds in its environment: its own variables, and what it is. */
export function environmentOf(release: Release, hostName: string): Record<string, string> {
  const { app, version, env } = release
  return { ...env, APP_NAME: app, APP_VERSION: version, APP_HOST: hostName }
}
