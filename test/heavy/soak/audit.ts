import { createPublicKey, verify } from 'node:crypto'
import { lifeOf, type ServiceProgram } from './service.js'

/**
 * Verifies the records of an export with Node's own cryptography: each is of an owner, of its present
 * life, and as it signed it.
 *
 * @returns those that are not
 */
export function unsigned(lines: readonly string[], owners: readonly ServiceProgram[]): string[] {
  const records = lines.map((line) => JSON.parse(line)).filter(({ type }) => /record/.test(type))
  if (records.length !== owners.length) return [`${records.length} records`]
  return records.flatMap(({ signature, ...record }) => {
    const owner = owners.find(({ key }) => key === record.key)
    const isRight = owner?.role === record.role && owner?.lives === lifeOf(record.tags)
    return isRight && isSigned(record, signature) ? [] : [JSON.stringify(record)]
  })
}

/** What is signed is all other fields, as JSON with sorted keys. */
function isSigned(record: { key: string }, signature: string): boolean {
  const bytes = Buffer.from(JSON.stringify(record, Object.keys(record).sort()))
  const x = Buffer.from(record.key, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return verify(null, bytes, key, Buffer.from(signature, 'hex'))
}
