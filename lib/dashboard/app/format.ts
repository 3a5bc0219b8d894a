const UNITS = ['B', 'KB', 'MB', 'GB', 'TB']

export function bytes(count: number): string {
  let unit = 0
  let value = count
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${short(value)} ${UNITS[unit]}`
}

/** Three digits are enough. */
export function short(value: number): string {
  if (value >= 10_000) return `${short(value / 1000)}k`
  if (value >= 100 || Number.isInteger(value)) return `${Math.round(value)}`
  return value.toFixed(value >= 10 ? 1 : 2).replace(/\.?0+$/, '')
}

export function ms(value: number): string {
  if (value === 0) return '–'
  if (value >= 1000) return `${short(value / 1000)} s`
  // Measured in buckets, so more digits would claim what nobody knows.
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`
}

export function age(since: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - since) / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

export function shortKey(key: string): string {
  return `${key.slice(0, 8)}…`
}
