import { SeaportError } from './errors.js'

const UNITS = {
  B: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30
}

/**
 * Reads `200MB`, `1.5GiB`, `64KiB`, and `10m`, which is `10MiB`; a bare number is bytes.
 *
 * @returns whole bytes
 * @throws USAGE
 */
export function parseSize(text: string): number {
  const [, digits, unit = 'B'] = /^(\d+(?:\.\d+)?)([a-zA-Z]+)?$/.exec(text) ?? []
  const size = Math.round(Number(digits) * UNITS[unit as keyof typeof UNITS])
  if (size > 0 && Number.isSafeInteger(size)) return size
  throw SeaportError.USAGE(
    `must be a size as in 200MB, 1.5GiB, 64KiB or 10m, not ${JSON.stringify(text)}`
  )
}
