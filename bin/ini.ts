import { SeaportError } from '../lib/identity.js'

const SKIPPED = /^\s*($|[;#])/
const PAIR = /^\s*([^=\s[][^=]*?)\s*=\s*(.*?)\s*$/
/** A comment may follow a value, after a space, or stand in its place: a # or ; within it is a part of it. */
const COMMENT = /(?:^|\s)[;#].*$/
const QUOTED = /^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:[;#].*)?$/

/**
 * Reads `key=value` lines. Of a key that stands there twice the last counts; `key[]=value` lines make a list.
 *
 * @param path where the text came from, for the error
 * @throws BAD_CONFIG
 */
export function parseIni(text: string, path: string): Record<string, string | string[]> {
  const values = new Map<string, string | string[]>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (SKIPPED.test(line)) continue
    const [, name, rest] = PAIR.exec(line) ?? []
    if (name === undefined || rest === undefined) {
      throw SeaportError.BAD_CONFIG(`${path}: line ${index + 1} is not key=value`)
    }
    const value = read(rest)
    const key = name.replace(/\[\]$/, '')
    const before = values.get(key) ?? []
    const isList = key !== name || Array.isArray(values.get(key))
    values.set(key, isList ? [before, value].flat() : value)
  }
  return Object.fromEntries(values)
}

function read(text: string): string {
  const [, double, single] = QUOTED.exec(text) ?? []
  if (single !== undefined) return single
  if (double !== undefined) return double.replaceAll(/\\(["\\;#])/g, '$1')
  // Files may have `\#` and `\;`, which was the way to write them before.
  return text.replace(COMMENT, '').replaceAll(/\\([\\;#])/g, '$1')
}
