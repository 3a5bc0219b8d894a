import { SeaportError } from './errors.js'

const UNITS_MS = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000
}

/**
 * Reads `500ms`, `2s`, `45m`, `12h`, `30d`, `2w`; a bare number is seconds.
 *
 * @returns ms
 * @throws USAGE
 */
export function parseDuration(text: string): number {
  const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|[smhdw])?$/.exec(text) ?? []
  const duration = Number(digits) * UNITS_MS[unit as keyof typeof UNITS_MS]
  if (duration > 0) return duration
  throw SeaportError.USAGE(
    `must be a time as in 500ms, 2s, 45m, 12h or 30d, not ${JSON.stringify(text)}`
  )
}

/**
 * Reads what `parseDuration` does, and 0.
 *
 * @returns ms
 * @throws USAGE
 */
export function parseDelay(text: string): number {
  return /^0(ms|[smhdw])?$/.test(text) ? 0 : parseDuration(text)
}

/**
 * Reads when something ends: a duration from now, or an ISO date.
 *
 * @returns ms since 1970
 * @throws USAGE also if that is over already
 */
export function parseExpiry(text: string, now = Date.now()): number {
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return Math.round(now + parseDuration(text))
  const date = Date.parse(text)
  if (Number.isNaN(date)) {
    throw SeaportError.USAGE(
      `must be a time as in 30d, or a date as in 2030-12-31, not ${JSON.stringify(text)}`
    )
  }
  if (date <= now) throw SeaportError.USAGE(`is over already: ${text}`)
  return date
}
