import t from 'tap'
import { isHostReport } from '../../lib/hosting/host-commands.js'
import { areLogLines } from '../../lib/hosting/log-lines.js'

const HASH = 'ab'.repeat(32)
const INSTANCE = {
  app: 'shop',
  slot: 0,
  hash: HASH,
  createdAt: 1_700_000_000_000,
  version: '1.0.0',
  key: HASH,
  state: 'passing',
  reason: null,
  pid: 7,
  restarts: 0
}
const REPORT = { waitsFor: null, instances: [INSTANCE], preparing: ['shop'] }

t.test('a report of a host that could not be shown counts as none', async (t) => {
  t.ok(isHostReport(REPORT))
  t.ok(isHostReport({ waitsFor: null, instances: [] }), 'of an earlier build')
  t.ok(isHostReport({ ...REPORT, instances: [{ ...INSTANCE, key: '', reason: 'it ended' }] }))
  const others = [undefined, null, 5, 'x', [], {}, { ...REPORT, instances: {} }]
  for (const value of others) t.notOk(isHostReport(value), JSON.stringify(value))
  t.notOk(isHostReport({ ...REPORT, preparing: ['\x1b[2J'] }))
  const wrong: Record<string, unknown[]> = {
    app: ['\x1b[2J', 5],
    slot: ['\x1b[2J', 0.5, 1e20],
    hash: ['', 'x'],
    createdAt: ['now', 1e17, null, Number.NaN],
    version: ['\x1b[2J', '1.x'],
    key: ['\x1b[2J', null],
    state: ['\x1b[2J', undefined],
    reason: [5, {}]
  }
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      const instances = [{ ...INSTANCE, [field]: value }]
      t.notOk(isHostReport({ ...REPORT, instances }), `${field} ${JSON.stringify(value)}`)
    }
  }
})

t.test('lines of an instance have its number', async (t) => {
  t.ok(areLogLines({ app: 'shop', slot: 0, lines: [] }))
  for (const value of [null, 5, { slot: '\x1b[2J', lines: [] }, { slot: 0, lines: 'x' }]) {
    t.notOk(areLogLines(value), JSON.stringify(value))
  }
})
