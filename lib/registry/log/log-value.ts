import { SeaportError } from '../../core/errors.js'
import {
  checkGrantStatement,
  type GrantStatement,
  isGrantStatement,
  isRevocation
} from '../trust/grant.js'
import { checkEntry, type LogEntry, recordOf } from '../trust/record.js'
import { isObject, parseJson } from '../trust/statement.js'

/** What stands in a log. */
export type LogValue = LogEntry | GrantStatement

/**
 * Reads what stands in another's log. Checks everything but the signature of a record, which is verified
 * when it is first used.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function parseLogValue(json: string, registry: Buffer): LogValue {
  const value = parseJson(json, 'what a log holds')
  if (!isObject(value)) throw SeaportError.BAD_MESSAGE('what a log holds is a JSON object')
  const isGrant = isGrantStatement({ type: String(value.type) })
  return isGrant ? checkGrantStatement(value, registry) : checkEntry(value, registry)
}

/** Takes values of a log apart: the entries, each with the instance's key, and the grants. */
export function sortOut(values: readonly LogValue[]): {
  entries: [key: string, entry: LogEntry][]
  grants: GrantStatement[]
} {
  const entries: [string, LogEntry][] = []
  const grants: GrantStatement[] = []
  for (const value of values) {
    if (isGrantStatement(value)) grants.push(value)
    else entries.push([recordOf(value).key, value])
  }
  return { entries, grants }
}

/** Its key in the bee. */
export function placeOf(value: LogValue): string {
  if (isGrantStatement(value)) {
    return `${isRevocation(value) ? 'revocation' : 'grant'}/${value.subject}/${value.issuer}`
  }
  const { role, version, key } = recordOf(value)
  return `instance/${role}/${version}/${key}`
}

/** An instance keeps its entry when its place changes. */
export function idOf(value: LogValue): string {
  return isGrantStatement(value) ? placeOf(value) : recordOf(value).key
}
