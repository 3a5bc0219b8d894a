import { SeaportError } from '../../core/errors.js'
import { StateMap } from './map.js'
import {
  entryToJson,
  type Head,
  parseEntry,
  parseHead,
  parseSuccession,
  type Scope,
  type SignedEntry,
  type Succession,
  verifyHead
} from './statements.js'

/** The content of an owner's journal. */
export interface Stored {
  map: StateMap
  head: Head
  succession: Succession | null
  /** The key that the map was handed over to, in hex; null if it was not. */
  over: string | null
}

/** A change as a line of a journal. */
export function changeLine(entry: SignedEntry, head: Head): string {
  return `{"entry":${entryToJson(entry)},"head":${JSON.stringify(head)}}`
}

/** The line that says that another owner has the map from now on. */
export function overLine(over: string): string {
  return JSON.stringify({ over })
}

/** A whole map as the lines of a journal. */
export function* mapLines(
  map: StateMap,
  head: Head,
  succession: Succession | null
): Iterable<string> {
  yield JSON.stringify({ begin: { succession } })
  for (const entry of map.entries()) yield `{"entry":${entryToJson(entry)}}`
  yield JSON.stringify({ head })
}

/**
 * Reads the map out of the lines of a journal.
 *
 * @returns null if they contain none
 * @throws BAD_MESSAGE, BAD_SIGNATURE, LIMIT_REACHED if it was not written by its owner
 */
export function readStored(lines: readonly unknown[], scope: Scope): Stored | null {
  let map = new StateMap()
  let head: Head | null = null
  let succession: Succession | null = null
  let over: string | null = null
  for (const line of lines) {
    const fields = (line ?? {}) as { [field: string]: unknown }
    if (fields.begin) {
      map = new StateMap()
      over = null
      succession = parseSuccession((fields.begin as { succession?: unknown }).succession)
    }
    if (fields.entry) map.put(parseEntry(fields.entry))
    if (fields.head) head = parseHead(fields.head)
    if (typeof fields.over === 'string') over = fields.over
  }
  if (!head) return null
  verifyHead(scope, head)
  if (head.hash !== map.hash()) {
    throw SeaportError.BAD_SIGNATURE('a state is not what its head says')
  }
  return { map, head, succession, over }
}
