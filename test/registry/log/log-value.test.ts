import fc from 'fast-check'
import t from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import { type LogValue, parseLogValue } from '../../../lib/registry/log/log-value.js'
import { signGrant, signRevocation } from '../../../lib/registry/trust/grant.js'
import {
  gone,
  isEntry,
  parseRecord,
  recordOf,
  stale,
  verifyRecord
} from '../../../lib/registry/trust/record.js'
import { type Statement, signStatement } from '../../../lib/registry/trust/statement.js'
import { StatementKinds } from '../../../lib/registry/trust/statement-kinds.js'
import { NOTE, note } from '../notes.js'
import { record, registry } from '../records.js'

const kinds = new StatementKinds([NOTE])
const keyPair = KeyPair()
const terms = { serve: ['api@1.x'], consume: ['*'], admin: false, expiresAt: 0 }
/** What others may sign, and how a registrar reads it and what it makes of it in its log. */
const SIGNED: { statement: Statement; take: (json: string) => LogValue[] }[] = [
  {
    statement: record({}, keyPair),
    take: (json) => {
      const record = parseRecord(json, registry)
      return verifyRecord(record) ? [record, gone(record), stale(record)] : []
    }
  },
  ...[
    signGrant(registry, keyPair, registry, terms),
    signRevocation(registry, keyPair, registry),
    note(registry, keyPair)
  ].map((statement) => ({ statement, take: (json: string) => [kinds.parse(json, registry)] }))
]

/** JSON that reads otherwise when it was read and written again, or that is hard to read. */
const ODD = [
  '[1e20,1e20]',
  '1e400',
  '-0',
  '1E-7',
  '0.10e1',
  '"\\ud800"',
  '"\\u0061"',
  '{"__proto__":1}',
  ...[16, 31, 40, 1500, 7000].map((depth) => '['.repeat(depth) + ']'.repeat(depth))
]
const odd = fc.oneof(
  fc.constantFrom(...ODD),
  fc.json(),
  fc.array(fc.constantFrom('1e20', '1e21', '9e15'), { maxLength: 700 }).map((all) => `[${all}]`)
)

t.test('whatever a registrar takes and writes, a reader takes', async (t) => {
  let taken = 0
  let refused = 0
  fc.assert(
    fc.property(fc.constantFrom(...SIGNED), odd, odd, ({ statement, take }, one, two) => {
      const json = signed(statement, { later: one, 'x"\u2028': two })
      if (json === null) return
      let written: LogValue[]
      try {
        written = take(json)
      } catch (error) {
        if (!/^BAD_/.test((error as { code?: string }).code ?? '')) throw error
        refused++
        return
      }
      taken++
      if (written.length === 0) throw new Error('a good signature was not taken')
      for (const value of written) {
        const read = parseLogValue(JSON.stringify(value), registry, kinds)
        if (read === null) throw new Error('its kind is unknown')
        if (isEntry(read) && !verifyRecord(recordOf(read))) throw new Error('its signature is bad')
      }
    }),
    { numRuns: 500 }
  )
  t.ok(taken > 50 && refused > 5, `${taken} were taken, ${refused} refused`)
})

/** The JSON of a statement that has more fields, with the text of those as it is; null if nobody can sign it. */
function signed(
  { signature: _, ...fields }: Statement,
  extra: { [name: string]: string }
): string | null {
  const values = Object.fromEntries(
    Object.entries(extra).map(([name, text]) => [name, JSON.parse(text)])
  )
  try {
    const { signature } = signStatement({ ...fields, ...values }, keyPair.secretKey)
    const texts = Object.entries(extra).map(([name, text]) => `${JSON.stringify(name)}:${text}`)
    const known = JSON.stringify({ ...fields, signature }).slice(0, -1)
    return `${known},${texts.join(',')}}`
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}
