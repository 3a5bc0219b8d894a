import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { type Statement, signStatement } from './statement.js'
import { badField, checkStatement, isHex, type StatementKind } from './statement-kind.js'

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
/** Largest snapshot's statement, in bytes of JSON. */
const MAX_SNAPSHOT_BYTES = 4096
/** Blocks after a snapshot before the next one, at least, and for each value that it has. */
export const MIN_TAIL = 4096
const TAIL_PER_VALUE = 1 / 2

/** Whoever passes a snapshot on passes on what the registry said of it. */
export const SNAPSHOT: StatementKind<Snapshot> = {
  type: SNAPSHOT_TYPE,
  name: 'snapshot',
  maxBytes: MAX_SNAPSHOT_BYTES,
  kept: 'beside logs',
  verified: 'at once',
  isExported: false,
  checkFields(value) {
    for (const field of ['logKey', 'key']) {
      if (!isHex(value[field], 32)) throw badField('snapshot', field)
    }
    for (const field of ['length', 'blocks', 'values']) {
      const count = value[field]
      if (!Number.isSafeInteger(count) || (count as number) < 0) throw badField('snapshot', field)
    }
  },
  subject: ({ logKey }) => logKey,
  signer: ({ registry }) => registry,
  mayIssue: () => true,
  merge: (known, next) => (next.length > known.length ? next : known)
}

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
  return checkStatement(SNAPSHOT, value, registry)
}

/** How many blocks of a log may stand after a snapshot of so many values before a newer one is worth its while. */
export function maxTail(values: number, minTail: number): number {
  return Math.max(minTail, values * TAIL_PER_VALUE)
}
