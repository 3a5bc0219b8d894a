import { KeyPair, toHex } from '../../lib/core/keys.js'
import {
  type RecordFields,
  type ServiceRecord,
  signRecord
} from '../../lib/registry/trust/record.js'

/** Whom the records below are for. */
export const registry = KeyPair().publicKey

/** A record that its owner signed. */
export function record(
  fields: Partial<RecordFields> = {},
  keyPair: KeyPair = KeyPair()
): ServiceRecord {
  return signRecord(registry, keyPair, {
    role: 'api',
    version: '1.0.0',
    tags: [],
    status: 'passing',
    direct: [],
    holder: toHex(registry),
    seq: 1,
    ...fields
  })
}
