import { createHash } from 'node:crypto'

/** From weak to strong. */
const ALGORITHMS = ['sha256', 'sha384', 'sha512']
const HASH = /^(sha256|sha384|sha512)-([\w+/-]+={0,2})(\?\S*)?$/

/**
 * Whether bytes have one of the hashes that a request names (W3C, Subresource Integrity). Of those, the ones of the
 * strongest algorithm count; where there is none that is known, all bytes are right.
 *
 * @param metadata hashes as in `sha256-<base64>`, separated by spaces
 */
export function hasIntegrity(bytes: Uint8Array, metadata: string): boolean {
  const hashes = metadata.split(/\s+/).flatMap((text) => {
    const [, algorithm = '', value = ''] = HASH.exec(text) ?? []
    return value === '' ? [] : [{ algorithm, value: Buffer.from(value, 'base64') }]
  })
  const strongest = ALGORITHMS.findLast((name) => hashes.some((one) => one.algorithm === name))
  if (strongest === undefined) return true
  const actual = createHash(strongest).update(bytes).digest()
  return hashes.some(({ algorithm, value }) => algorithm === strongest && actual.equals(value))
}
