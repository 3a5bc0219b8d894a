import t from 'tap'
import { parseRecord, verifyRecord } from '../../../lib/registry/trust/record.js'
import { record, registry } from '../records.js'

t.test('what an instance speaks is signed with the rest of its record', (t) => {
  const signed = record({ speaks: ['', 'hyperseaport/commands/1'] })
  const read = parseRecord(JSON.stringify(signed), registry)
  t.same(read.speaks, ['', 'hyperseaport/commands/1'])
  t.ok(verifyRecord(read))
  t.notOk(verifyRecord({ ...read, speaks: [''] }), 'so nobody else can change it')
  t.notOk('speaks' in record(), 'and it may be left out')
  t.end()
})

t.test('a record that says too much of what it speaks is not taken', (t) => {
  const plain = record()
  for (const speaks of [Array(17).fill('a'), ['a b'], ['x'.repeat(65)], 'a', [1], null]) {
    t.throws(() => parseRecord(JSON.stringify({ ...plain, speaks }), registry), {
      code: 'BAD_MESSAGE'
    })
  }
  t.end()
})
