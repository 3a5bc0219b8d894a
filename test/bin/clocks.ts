const YEAR_MS = 365.25 * 24 * 60 * 60 * 1000

/** Wrong clocks, by how far they are off, in ms. */
export const CLOCKS = { '20 years behind': -20 * YEAR_MS, '10 years ahead': 10 * YEAR_MS }

/** A module that moves the clock of its process, for `node --import`. */
export function clockOf(offset: number): string {
  const code = `const { now } = Date; Date.now = () => now() + ${offset}`
  return `data:text/javascript,${encodeURIComponent(code)}`
}
