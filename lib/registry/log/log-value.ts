import { SeaportError } from '../../core/errors.js'
import { checkEntry, isEntry, type LogEntry, recordOf } from '../trust/record.js'
import { isObject, parseJson, type Statement } from '../trust/statement.js'
import { checkStatement, placeOf as placeOfStatement } from '../trust/statement-kind.js'
import type { StatementKinds } from '../trust/statement-kinds.js'

/** What stands in a log: what became of an instance's lease, or a statement of another kind. */
export type LogValue = LogEntry | Statement

/**
 * Reads what stands in another's log. Checks everything but signatures of kinds that are verified when they are
 * first used, as records.
 *
 * @returns null for a kind that is unknown here
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function parseLogValue(
  json: string,
  registry: Buffer,
  kinds: StatementKinds
): LogValue | null {
  const value = parseJson(json, 'what a log holds')
  if (!isObject(value) || typeof value.type !== 'string') {
    throw SeaportError.BAD_MESSAGE('what a log holds is a JSON object with a type')
  }
  if (isEntry({ type: value.type })) return checkEntry(value, registry)
  const kind = kinds.get(value.type)
  if (!kind) return null
  if (kind.kept !== 'in logs') throw SeaportError.BAD_MESSAGE(`a ${kind.name} is in no log`)
  return checkStatement(kind, value, registry)
}

/** Takes values of a log apart: the entries, each with the instance's key, and the other statements. */
export function sortOut(values: readonly LogValue[]): {
  entries: [key: string, entry: LogEntry][]
  statements: Statement[]
} {
  const entries: [string, LogEntry][] = []
  const statements: Statement[] = []
  for (const value of values) {
    if (isEntry(value)) entries.push([recordOf(value).key, value])
    else statements.push(value)
  }
  return { entries, statements }
}

/** Its key in the bee. Null for a kind that is unknown here: only the bee says where that stands. */
export function placeOf(value: LogValue, kinds: StatementKinds): string | null {
  if (isEntry(value)) {
    const { role, version, key } = recordOf(value)
    return `instance/${role}/${version}/${key}`
  }
  const kind = kinds.get(value.type)
  return kind && placeOfStatement(kind, value)
}

/** By what it is found in memory: its place, but an instance keeps its entry when its place changes. */
export function idOf(value: LogValue, kinds: StatementKinds): string | null {
  return isEntry(value) ? recordOf(value).key : placeOf(value, kinds)
}
