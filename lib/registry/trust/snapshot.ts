import { SeaportError } from '../../core/errors.js'
import type { KeyPair } from '../../core/keys.js'
import { parseKey, toHex } from '../../core/keys.js'
import { checkRegistryStatement, type Statement, signStatement } from './statement.js'

/**
 * The registry's word that a core holds all that a log said when it had a certain length: who reads that
 * is spared the blocks before. It is passed on by whoever has the core, as its registrar signed it: else
 * any replica could make a newcomer believe that instances are gone.
 */
export interface Snapshot extends Statement {
  type: typeof SNAPSHOT_TYPE
  /** The log's key, hex. */
  logKey: string
  /** Blocks of the log that it stands for. */
  length: number
  /** Key of the core that holds it, hex. */
  key: string
  /** Blocks of that core. */
  blocks: number
  /** Values that are in them. */
  values: number
}

const SNAPSHOT_TYPE = 'hyperseaport/snapshot/1'
/** Blocks after a snapshot before the next one, at least, and for each value that it has. */
export const MIN_TAIL = 4096
const TAIL_PER_VALUE = 1 / 2

/** Signs a snapshot with the registry's key. */
export function signSnapshot(
  registry: KeyPair,
  fields: Pick<Snapshot, 'logKey' | 'length' | 'key' | 'blocks' | 'values'>
): Snapshot {
  return signStatement(
    { ...fields, type: SNAPSHOT_TYPE, registry: toHex(registry.publicKey) } as const,
    registry.secretKey
  )
}

/**
 * Checks a snapshot's statement from outside, its signature included.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkSnapshot(value: unknown, registry: Buffer): Snapshot {
  return checkRegistryStatement(value, registry, {
    type: SNAPSHOT_TYPE,
    name: 'snapshot',
    checkFields
  })
}

/** How many blocks of a log may stand after a snapshot of so many values before a newer one is worth its while. */
export function maxTail(values: number, minTail: number): number {
  return Math.max(minTail, values * TAIL_PER_VALUE)
}

function checkFields(value: { [field: string]: unknown }) {
  for (const field of ['logKey', 'key']) parseKey(value[field] as string, field)
  for (const field of ['length', 'blocks', 'values']) {
    if (!Number.isSafeInteger(value[field]) || (value[field] as number) < 0) {
      throw SeaportError.BAD_MESSAGE(`the snapshot has a bad ${field}`)
    }
  }
}
