import { SeaportError } from '../../lib/core/errors.js'
import { type KeyPair, toHex } from '../../lib/core/keys.js'
import { type Statement, signStatement } from '../../lib/registry/trust/statement.js'
import { badField, type StatementKind } from '../../lib/registry/trust/statement-kind.js'

/** A kind of statement that no file of lib/ knows: admins pin numbered notes to a board. */
export interface Note extends Statement {
  title: string
  text: string
  seq: number
  issuer: string
}

const TYPE = 'example/note/1'

export const NOTE: StatementKind<Note> = {
  type: TYPE,
  name: 'note',
  maxBytes: 1024,
  kept: 'in logs',
  verified: 'at once',
  isExported: true,
  checkFields(value) {
    for (const field of ['title', 'text', 'issuer']) {
      if (typeof value[field] !== 'string') throw badField('note', field)
    }
    if (!Number.isSafeInteger(value.seq)) throw badField('note', 'seq')
  },
  subject: ({ title }) => title,
  signer: ({ issuer }) => issuer,
  mayIssue: ({ issuer }, rights) => rights.allows(issuer, { kind: 'admin' }),
  // Two of one number were written on both sides of a partition: all have to choose the same.
  merge: (known, next) => (rank(next) > rank(known) ? next : known),
  checkNext(next, known) {
    if (known && next.seq <= known.seq) {
      throw SeaportError.CONFLICT(`there is note ${known.seq} of that title already`)
    }
  }
}

/** A kind that differs in when its signature is verified. */
export const LAZY_NOTE: StatementKind<Note> = { ...NOTE, verified: 'when used' }

export function note(
  registry: Buffer,
  issuer: KeyPair,
  fields: Partial<Pick<Note, 'title' | 'text' | 'seq'>> = {}
): Note {
  return signStatement(
    {
      type: TYPE,
      registry: toHex(registry),
      issuer: toHex(issuer.publicKey),
      title: 'lunch',
      text: 'at noon',
      seq: 1,
      ...fields
    },
    issuer.secretKey
  )
}

function rank({ seq, signature }: Note): string {
  return `${seq.toString().padStart(16, '0')} ${signature}`
}
