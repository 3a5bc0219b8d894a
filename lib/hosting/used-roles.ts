import { SeaportError } from '../core/errors.js'
import { parseRoleRange, type RoleRange } from '../core/role.js'

/** A role that an app uses. */
export interface UsedRole extends RoleRange {
  /** What the names of its variables begin with: `DB` for db, `TEAM_DB` for @team/db. */
  prefix: string
}

/** Roles of this scope are of the registry's own machinery. */
const OWN_SCOPE = '@hyperseaport/'

/**
 * Reads `uses` of an app file.
 *
 * @throws BAD_ROLE, BAD_CONFIG if two have the same variables, or one is of our own scope
 */
export function usedRoles(uses: readonly string[]): UsedRole[] {
  const found = new Map<string, UsedRole>()
  for (const text of uses) {
    const role = parseRoleRange(text)
    const prefix = prefixOf(role.role)
    const other = found.get(prefix)
    if (other) {
      throw SeaportError.BAD_CONFIG(
        `uses: ${other.role}@${other.range} and ${text} would both be ${prefix}_URL`
      )
    }
    if (role.role.startsWith(OWN_SCOPE)) {
      throw SeaportError.BAD_CONFIG(`uses: no app reaches ${role.role}`)
    }
    found.set(prefix, { ...role, prefix })
  }
  return [...found.values()]
}

/** The variables by which an app finds what it uses at a port of this machine. */
export function variablesOf({ prefix }: UsedRole, host: string, port: number) {
  return {
    [`${prefix}_URL`]: `http://${host}:${port}`,
    [`${prefix}_HOST`]: host,
    [`${prefix}_PORT`]: `${port}`
  }
}

function prefixOf(role: string): string {
  const words = role
    .toUpperCase()
    .replace(/^@/, '')
    .replace(/[^A-Z0-9]/g, '_')
  return /^\d/.test(words) ? `_${words}` : words
}
