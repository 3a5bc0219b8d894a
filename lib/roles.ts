/** Roles, ranges and patterns, and where a backend is, as text that somebody typed. */
import semver from 'semver'

export { parseCallPattern } from './core/call-pattern.js'
export { parseRoleRange, parseServiceRole } from './core/role.js'
export { parseRolePattern } from './core/role-pattern.js'
export { parseBackend } from './serving/backend.js'

/** Whether an exact version is in a range. */
export const isInRange = (version: string, range: string): boolean =>
  semver.satisfies(version, range)
