import { closest, distance } from 'fastest-levenshtein'

/** A swapped pair of letters counts two, and is the most we take for a slip. */
const MAX_SLIP = 2

/** How a sentence about an unknown name ends: `, did you mean fetch?`, if any is near. */
export function nearest(name: string, names: readonly string[]): string {
  if (names.length === 0) return ''
  const candidate = closest(name, names)
  return distance(name, candidate) <= MAX_SLIP ? `, did you mean ${candidate}?` : ''
}
