import type { KeyPair } from '../../core/keys.js'
import { toHex } from '../../core/keys.js'
import { type Statement, signStatement } from './statement.js'
import { badField, checkStatement, type StatementKind } from './statement-kind.js'

/**
 * The registry's word on whether it admits only keys with a grant. Each change has a higher count, so that what others
 * remember of an earlier time counts for nothing. It comes with every certificate, and is remembered apart from them:
 * a certificate that is dropped opens nothing.
 */
export interface Mode extends Statement {
  type: typeof MODE_TYPE
  /** Greater in every later statement, 1 in the first. */
  count: number
  private: boolean
}

const MODE_TYPE = 'hyperseaport/mode/1'
const MAX_MODE_BYTES = 1024
/** Leaves room above, so that no mode is the last one for good. */
const MAX_COUNT = 2 ** 52

/** Every participant remembers the one that counts. */
export const MODE: StatementKind<Mode> = {
  type: MODE_TYPE,
  name: 'mode',
  maxBytes: MAX_MODE_BYTES,
  kept: 'beside logs',
  verified: 'at once',
  isExported: false,
  checkFields(value) {
    const { count } = value
    if (!Number.isSafeInteger(count)) throw badField('mode', 'count')
    if ((count as number) < 1 || (count as number) > MAX_COUNT) throw badField('mode', 'count')
    if (typeof value.private !== 'boolean') throw badField('mode', 'private')
  },
  subject: () => '',
  signer: ({ registry }) => registry,
  mayIssue: () => true,
  merge: (known, next) => (counts(next, known) ? next : known)
}

/** Signs a mode with the registry's key. */
export function signMode(registry: KeyPair, fields: Pick<Mode, 'count' | 'private'>): Mode {
  return signStatement(
    { ...fields, type: MODE_TYPE, registry: toHex(registry.publicKey) } as const,
    registry.secretKey
  )
}

/**
 * Checks a mode from outside, its signature included.
 *
 * @throws BAD_MESSAGE, BAD_SIGNATURE
 */
export function checkMode(value: unknown, registry: Buffer): Mode {
  return checkStatement(MODE, value, registry)
}

/** Whether a mode counts rather than another. Of two with one count the private one does: a mistake opens nothing. */
export function counts(next: Mode, known: Mode | null): boolean {
  if (known === null || next.count !== known.count)
    return known === null || next.count > known.count
  return next.private && !known.private
}
