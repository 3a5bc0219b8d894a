import semver from 'semver'
import { SeaportError } from './errors.js'

/** What a service offers: a name and one exact version. */
export interface ServiceRole {
  role: string
  version: string
}

/** What a consumer asks for: a name and an npm semver range. */
export interface RoleRange {
  role: string
  range: string
}

/** Longest `role@version`, in characters. */
export const MAX_ROLE_LENGTH = 214

const NAME = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/i
const SHOWN_LENGTH = 60

/**
 * Reads `name@1.2.3` or `@scope/name@1.2.3`.
 *
 * @throws BAD_ROLE if the name is malformed or the version is not exact
 */
export function parseServiceRole(text: string): ServiceRole {
  const { name, rest } = split(text)
  if (rest === null || rest === '') {
    throw SeaportError.BAD_ROLE(`a service needs an exact version, as in ${show(name)}@1.0.0`)
  }
  const version = semver.valid(rest)
  if (version === null || version !== rest.split('+', 1)[0]) {
    throw SeaportError.BAD_ROLE(
      `a service needs an exact version, as in ${show(name)}@1.0.0, but ${show(rest)} is not one`
    )
  }
  return { role: name, version }
}

/**
 * Reads `name@range` or `@scope/name@range`; without a range every released version matches (`*`).
 *
 * @throws BAD_ROLE if the name or the range is malformed
 */
export function parseRoleRange(text: string): RoleRange {
  const { name, rest } = split(text)
  // Ranges end up in logs, and between their parts semver takes line ends, too.
  const range = rest?.trim().replaceAll(/\s+/g, ' ') || '*'
  if (semver.validRange(range) === null) {
    throw SeaportError.BAD_ROLE(
      `${show(range)} is not a semver range, try ${show(name)}@1.x or ${show(name)}@^1.2.0`
    )
  }
  return { role: name, range }
}

/** Whether a text can be a role's name. */
export function isRoleName(name: unknown): name is string {
  return typeof name === 'string' && name.length <= MAX_ROLE_LENGTH && NAME.test(name)
}

/** Whether a text is one exact version in npm's normal form. */
export function isExactVersion(version: unknown): version is string {
  return (
    typeof version === 'string' &&
    version.length <= MAX_ROLE_LENGTH &&
    semver.valid(version) === version
  )
}

function split(text: string): { name: string; rest: string | null } {
  if (typeof text !== 'string' || text === '') {
    throw SeaportError.BAD_ROLE('a role is missing, it looks like couchdb@3.2.2 or @team/api@1.x')
  }
  const at = text.indexOf('@', 1)
  const name = at === -1 ? text : text.slice(0, at)
  const rest = at === -1 ? null : text.slice(at + 1)
  if (text.length > MAX_ROLE_LENGTH) {
    throw SeaportError.BAD_ROLE(
      `a role has at most ${MAX_ROLE_LENGTH} characters, this has ${text.length}`
    )
  }
  if (!isRoleName(name)) {
    throw SeaportError.BAD_ROLE(
      `${show(name)} is not a role name: letters, digits and . _ ~ - with an optional @scope/, as in couchdb or @team/api`
    )
  }
  return { name, rest }
}

/** Foreign text in an error: quoted, escaped, cut. */
function show(text: string): string {
  const shown = JSON.stringify(
    text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text
  )
  return shown === `"${text}"` ? text : shown
}
