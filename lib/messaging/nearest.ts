import { closest, distance } from 'fastest-levenshtein'

/** The most edits that count as a typing error. A swapped pair of letters counts as two. */
const MAX_SLIP = 2

/** The end of a sentence about an unknown name: `, did you mean fetch?` if a name is near, or ''. */
export function nearest(name: string, names: readonly string[]): string {
  if (names.length === 0) return ''
  const candidate = closest(name, names)
  return distance(name, candidate) <= MAX_SLIP ? `, did you mean ${candidate}?` : ''
}
