import { SeaportError } from '../../core/errors.js'
import { crypto } from '../../core/holepunch.js'
import { toHex } from '../../core/keys.js'

/**
 * A signed JSON object. The type comes with the signature so that nothing signed as one thing can be
 * read as another, and the registry so that nothing can be replayed in another.
 */
export interface Statement {
  type: string
  registry: string
  signature: string
}

/** Signs all fields of a statement. */
export function signStatement<T extends Omit<Statement, 'signature'>>(
  fields: T,
  secretKey: Buffer
): T & Statement {
  return { ...fields, signature: toHex(crypto.sign(signedBytes(fields), secretKey)) }
}

/** Whether the signature is the signer's, over all other fields. */
export function verifyStatement(statement: Statement, signer: Buffer): boolean {
  const { signature, ...fields } = statement
  if (!SIGNATURE.test(signature)) return false
  return crypto.verify(signedBytes(fields), Buffer.from(signature, 'hex'), signer)
}

/**
 * Reads JSON from outside.
 *
 * @param what what should have come, as in `a record`
 * @throws BAD_MESSAGE
 */
export function parseJson(json: string, what: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw SeaportError.BAD_MESSAGE(`${what} is a JSON object`)
  }
}

/** Whether a value from outside is an object (no array, no null). */
export function isObject(value: unknown): value is { [field: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** To the letter: a signature does not cover itself, and could be padded. */
const SIGNATURE = /^[0-9a-f]{128}$/

function signedBytes(fields: object): Buffer {
  return Buffer.from(canonical(fields))
}

/** JSON with sorted keys, which for the values in our statements is RFC 8785 (JCS). */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value) ?? 'null'
  const fields: string[] = []
  for (const key of Object.keys(value).sort()) {
    if (value[key] !== undefined) fields.push(`${JSON.stringify(key)}:${canonical(value[key])}`)
  }
  return `{${fields.join(',')}}`
}
