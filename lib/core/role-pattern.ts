import semver from 'semver'
import { parseRoleRange } from './role.js'

/**
 * Roles that somebody may serve, consume or reach: `couchdb@^3`, `couchdb` for all its versions, `@team/*@2.x` for a
 * scope, `*` for all. Grants and the gateway's rules are written in this one language.
 */
export interface RolePattern {
  /** As it was given. */
  text: string
  /** Whether it covers every version of every role. */
  isEverything: boolean
  /** Whether it covers every version of the roles that it covers. */
  isEveryVersion: boolean
  /** Whether it covers some version of a role. */
  hasRole(role: string): boolean
  /** Whether it covers a role at an exact version. */
  has(role: string, version: string): boolean
}

/**
 * Reads a pattern. Without a range, or with `*`, it covers every version. A range covers a prerelease only where
 * npm's semver says so: `api@<2.0.0` hides 2.0.0-rc.1, and `api@>=2.0.0-rc` covers it.
 *
 * @throws BAD_ROLE
 */
export function parseRolePattern(text: string): RolePattern {
  const { name, range } = split(text)
  const versions = new semver.Range(range)
  const isEveryVersion = versions.range === ''
  const hasRole = (role: string) =>
    name === '*' || name === role || (name.endsWith('/*') && role.startsWith(name.slice(0, -1)))
  return {
    text,
    isEverything: name === '*' && isEveryVersion,
    isEveryVersion,
    hasRole,
    has: (role, version) => hasRole(role) && (isEveryVersion || versions.test(version))
  }
}

/** The name may be `*` or `@scope/*`. */
function split(text: string): { name: string; range: string } {
  const [, name, range = '*'] = /^(\*|@[^/@*]+\/\*)(?:@(.*))?$/.exec(text) ?? []
  if (name === undefined) {
    const { role, range } = parseRoleRange(text)
    return { name: role, range }
  }
  // Some name stands in for the asterisk, so that scopes and ranges are read as in any other role.
  if (name !== '*') parseRoleRange(name.replace('*', 'any'))
  return { name, range: parseRoleRange(`any@${range}`).range }
}
