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
  /** Whether it covers some version of a role. */
  hasRole(role: string): boolean
  /** Whether it covers a role at an exact version. */
  has(role: string, version: string): boolean
}

/**
 * Reads a pattern; without a range it covers all versions. A range covers prereleases too: whoever writes a
 * pattern says which versions are meant, and that some of them are prereleases is no reason to leave them out.
 *
 * @throws BAD_ROLE
 */
export function parseRolePattern(text: string): RolePattern {
  const { name, range } = split(text)
  const versions = new semver.Range(range, { includePrerelease: true })
  const hasRole = (role: string) =>
    name === '*' || name === role || (name.endsWith('/*') && role.startsWith(name.slice(0, -1)))
  return {
    text,
    isEverything: name === '*' && range === '*',
    hasRole,
    has: (role, version) => hasRole(role) && versions.test(version)
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
