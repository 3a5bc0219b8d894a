import fc from 'fast-check'
import semver from 'semver'
import t from 'tap'
import { KeyPair } from '../../../lib/core/keys.js'
import {
  byMerge,
  Directory,
  type DirectoryChange,
  tierOf
} from '../../../lib/registry/replica/directory.js'
import {
  gone,
  type LogEntry,
  recordOf,
  type Status,
  stale
} from '../../../lib/registry/trust/record.js'
import { RUNS } from '../../runs.js'
import { record } from '../records.js'

function directoryOf(log: string, entries: LogEntry[]): Directory {
  const directory = new Directory()
  directory.apply(
    log,
    entries.map((entry) => [recordOf(entry).key, entry])
  )
  return directory
}

const small = fc.integer({ min: 0, max: 3 })
const prerelease = fc.constantFrom('', '', '', '-alpha', '-alpha.1', '-beta.2', '-rc.1', '-0')
const version = fc
  .tuple(small, small, small, prerelease)
  .map(([a, b, c, pre]) => `${a}.${b}.${c}${pre}`)
const partial = fc.oneof(
  version,
  fc.tuple(small, small).map(([a, b]) => `${a}.${b}`),
  small.map(String),
  fc.tuple(small, fc.constantFrom('x', 'X', '*')).map(([a, x]) => `${a}.${x}`),
  fc.tuple(small, small, fc.constantFrom('x', '*')).map(([a, b, x]) => `${a}.${b}.${x}`)
)
const comparator = fc.oneof(
  partial,
  fc.constantFrom('*', 'x', ''),
  fc
    .tuple(fc.constantFrom('^', '~', '>=', '<=', '<', '>', '=', '>= ', '< '), partial)
    .map(([op, v]) => `${op}${v}`)
)
const simple = fc.oneof(
  comparator,
  fc.tuple(comparator, comparator).map(([a, b]) => `${a} ${b}`),
  fc.tuple(partial, partial).map(([a, b]) => `${a} - ${b}`)
)
const range = fc.oneof(
  simple,
  fc.tuple(simple, simple).map(([a, b]) => `${a} || ${b}`)
)

t.test('a range resolves to exactly the versions that npm says, newest first', (t) => {
  const signed = new Map<string, LogEntry>()
  // Each version is signed once: what is tried here is the choice among them.
  const recordOf = (version: string) => {
    const known = signed.get(version) ?? record({ version }, KeyPair())
    signed.set(version, known)
    return known
  }
  let tried = 0
  fc.assert(
    fc.property(fc.uniqueArray(version, { maxLength: 12 }), range, (versions, range) => {
      fc.pre(semver.validRange(range) !== null)
      tried++
      const directory = directoryOf('log', versions.map(recordOf))
      const resolved = directory.resolve('api', range).map(({ version }) => version)
      const expected = semver.rsort(versions.filter((version) => semver.satisfies(version, range)))
      return resolved.join(' ') === expected.join(' ')
    }),
    { numRuns: RUNS }
  )
  t.ok(tried > 0.75 * RUNS, `${tried} ranges tried`)
  t.end()
})

t.test('what fails or leaves is tried last, however new it is, and is never left out', (t) => {
  const status = fc.constantFrom('passing', 'passing', 'failing', 'draining')
  const instance = fc.record({ version, status, live: fc.boolean() })
  fc.assert(
    fc.property(fc.array(instance, { maxLength: 8 }), (instances) => {
      const directory = new Directory()
      directory.setLive('live', true)
      for (const { version, status, live } of instances) {
        const entry = record({ version, status: status as Status })
        directory.apply(live ? 'live' : 'dead', [[entry.key, entry]])
      }
      const resolved = directory.resolve('api', '>=0.0.0-0')
      const tiers = resolved.map(tierOf)
      const matching = instances.filter(({ version }) => semver.satisfies(version, '>=0.0.0-0'))
      return (
        resolved.length === matching.length &&
        tiers.every((tier, i) => i === 0 || tier >= (tiers[i - 1] ?? 0)) &&
        resolved.every(({ status, live }, i) => status !== 'passing' || tiers[i] === (live ? 0 : 1))
      )
    }),
    { numRuns: 200 }
  )
  t.end()
})

t.test('of two entries of an instance the higher sequence number wins, whatever the logs', (t) => {
  const keyPair = KeyPair()
  const seq = fc.integer({ min: 1, max: 5 })
  const entry = fc
    .tuple(seq, fc.boolean(), fc.boolean())
    .map(([seq, isGone, live]) => ({ entry: isGone ? gone(at(seq)) : at(seq), live, seq, isGone }))
  const records = [1, 2, 3, 4, 5].map((seq) => record({ seq }, keyPair))
  const at = (seq: number) => records[seq - 1] as ReturnType<typeof record>
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1, maxLength: 6 }), (entries) => {
      const [winner] = [...entries].sort(byMerge)
      const highest = Math.max(...entries.map(({ seq }) => seq))
      const top = entries.filter(({ seq }) => seq === highest)
      const expectGone = top.some(({ live, isGone }) => live && !isGone)
        ? false
        : top.some(({ live, isGone }) => live && isGone) || top.every(({ isGone }) => isGone)
      return winner?.seq === highest && winner.isGone === expectGone
    }),
    { numRuns: RUNS }
  )
  t.end()
})

t.test(
  'gone in a live log hides what only a dead log lists, but not what another live log holds',
  (t) => {
    const one = record()
    const directory = new Directory()
    directory.apply('dead', [[one.key, one]])
    t.equal(directory.size, 1, 'known only from a dead registrar is better than nothing')
    t.equal(directory.list()[0]?.live, false)
    directory.apply('live', [[one.key, gone(one)]])
    directory.setLive('live', true)
    t.equal(directory.size, 0)
    directory.setLive('dead', true)
    t.equal(directory.size, 1, 'its registrar came back and holds the lease')
    t.end()
  }
)

t.test('stale comes after what a live log says for sure, and before what a dead log says', (t) => {
  const one = record()
  const entries = [
    { entry: one, live: true },
    { entry: gone(one), live: true },
    { entry: stale(one), live: true },
    { entry: one, live: false },
    { entry: stale(one), live: false },
    { entry: gone(one), live: false }
  ]
  t.strictSame([...entries].reverse().sort(byMerge), entries)
  const directory = new Directory()
  directory.setLive('log', true)
  directory.apply('log', [[one.key, one]])
  const told: string[] = []
  directory.watch((change, { status }) => told.push(`${change} ${status}`))
  directory.apply('log', [[one.key, stale(one)]])
  directory.apply('log', [[one.key, one]])
  directory.apply('log', [[one.key, gone(one)]])
  t.strictSame(told, ['update stale', 'update passing', 'down passing'])
  t.equal(tierOf({ status: 'stale', live: true }), 4, 'the last resort')
  t.end()
})

t.test('a directory that is closed tells no more changes, and still answers', (t) => {
  const one = record()
  const directory = directoryOf('log', [one])
  directory.setLive('log', true)
  const told: string[] = []
  directory.watch((change) => told.push(change))
  directory.close()
  directory.watch((change) => told.push(change))
  directory.setLive('log', false)
  directory.drop('log')
  t.strictSame(told, [])
  t.equal(directory.size, 0)
  t.end()
})

t.test('instances that only dead logs know are tried last, even if they are newer', (t) => {
  const [old, young] = [record({ version: '1.0.0' }), record({ version: '1.1.0' })]
  const directory = new Directory()
  directory.apply('live', [[old.key, old]])
  directory.apply('dead', [[young.key, young]])
  directory.setLive('live', true)
  t.strictSame(
    directory.resolve('api', '1.x').map(({ version }) => version),
    ['1.0.0', '1.1.0']
  )
  t.end()
})

t.test('an entry that its owner did not sign counts for nothing', (t) => {
  const honest = record()
  const forged = { ...honest, version: '9.9.9', seq: 2 }
  const directory = new Directory()
  directory.apply('bad', [[honest.key, forged]])
  t.strictSame(directory.resolve('api', '*'), [])
  directory.apply('good', [[honest.key, honest]])
  t.match(directory.resolve('api', '*'), [{ version: '1.0.0' }])
  t.end()
})

t.test('an instance that changes its role is found under the new one only', (t) => {
  const keyPair = KeyPair()
  const directory = directoryOf('log', [record({ role: 'old' }, keyPair)])
  const moved = record({ role: 'new', seq: 2 }, keyPair)
  directory.apply('log', [[moved.key, moved]])
  t.strictSame(directory.resolve('old', '*'), [])
  t.equal(directory.resolve('new', '*').length, 1)
  t.end()
})

t.test('a watcher is told each change once, and what was there before is not told', (t) => {
  const told: [DirectoryChange, string][] = []
  const keyPair = KeyPair()
  const one = record({}, keyPair)
  const directory = directoryOf('log', [record({ role: 'known' })])
  const stop = directory.watch((change, { role, version }) =>
    told.push([change, `${role}@${version}`])
  )
  directory.apply('log', [[one.key, one]])
  directory.apply('other', [[one.key, one]])
  const two = record({ version: '2.0.0', seq: 2 }, keyPair)
  directory.apply('log', [[two.key, two]])
  directory.retain('log', new Set([two.key]))
  directory.apply('log', [[two.key, gone(two)]])
  stop()
  directory.drop('log')
  t.strictSame(told, [
    ['up', 'api@1.0.0'],
    ['update', 'api@2.0.0'],
    ['down', 'known@1.0.0'],
    ['down', 'api@2.0.0']
  ])
  t.end()
})

t.test('an instance speaks what its record says, or bytes alone if that says nothing', (t) => {
  const spoken = record({ speaks: ['chunks'] })
  const silent = record()
  const directory = directoryOf('a', [spoken, silent])
  t.same(directory.get(spoken.key)?.speaks, ['chunks'])
  t.same(directory.get(silent.key)?.speaks, [''])
  t.end()
})
