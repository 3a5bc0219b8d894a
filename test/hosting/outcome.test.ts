import t from 'tap'
import { outcomeOf, overruledOutcomes, releasesWithOutcomes } from '../../lib/hosting/outcome.js'
import { type AppStatement, hashOf } from '../../lib/registry/trust/app-statement.js'
import { type OverruledChange, overruledChange } from '../../lib/registry/trust/overruled.js'
import type { Judgement, Verdict } from '../../lib/registry/trust/verdict.js'

const [R1, R2, R3] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
const kept = [
  { version: '2.0.0', release: R2 },
  { version: '1.0.0', release: R1 }
]
const place = { labels: [], memory: 0, driver: 'process' }
const app = { app: 'shop', version: '3.0.0', release: R3, kept, place } as unknown as AppStatement

t.test('a release that failed on one of several hosts is tried on the others', async (t) => {
  const { current, failedOn } = outcomeOf(app, [aVerdict('one', failed(R3))])
  t.match(current, { version: '3.0.0', hasFailed: false })
  t.same([...failedOn], ['one'])
})

t.test(
  'one that failed on two, or on the only one that could, gives way to the one before',
  async (t) => {
    const two = [aVerdict('one', failed(R3)), aVerdict('two', failed(R3))]
    t.match(outcomeOf(app, two), { current: { version: '2.0.0' }, wanted: { hasFailed: true } })
    const only = [aVerdict('one', failed(R3, true))]
    t.equal(outcomeOf(app, only).current.version, '2.0.0')
    const both = [aVerdict('one', failed(R3, true), failed(R2, true))]
    t.equal(outcomeOf(app, both).current.version, '1.0.0', 'not to one that failed, too')
    t.same(
      releasesWithOutcomes(app, both).map(({ hasFailed }) => hasFailed),
      [true, true, false]
    )
  }
)

t.test('what was complete once does not go back', async (t) => {
  const verdicts = [aVerdict('one', complete(R3)), aVerdict('two', failed(R3, true))]
  const { current, failedOn } = outcomeOf(app, verdicts)
  t.match(current, { version: '3.0.0', isComplete: true, hasFailed: false })
  t.equal(failedOn.size, 0)
})

t.test('where nothing is left to go back to, the wanted one is tried on', async (t) => {
  const first = { ...app, kept: [] }
  const { current, failedOn } = outcomeOf(first, [aVerdict('one', failed(R3, true))])
  t.match(current, { version: '3.0.0', hasFailed: true })
  t.equal(failedOn.size, 0)
})

t.test(
  'what was overruled is told with its outcome, unless it is what counts after all',
  async (t) => {
    const signed = (mark: string) => ({ ...app, signature: mark.repeat(128) })
    const [counts, lost] = [signed('1'), { ...signed('2'), version: '2.5.0', release: R2 }]
    const change = overruledChange(lost, counts)
    const flipped = { ...change, hash: hashOf(counts) } as OverruledChange
    const verdicts = [aVerdict('one', failed(R2))]
    t.match(overruledOutcomes(counts, verdicts, [change, flipped]), [
      { version: '2.5.0', failures: [{ host: 'one' }], overruled: change }
    ])
    t.equal(overruledOutcomes(counts, verdicts, [change, flipped]).length, 1)
    t.same(overruledOutcomes(counts, verdicts), [])
  }
)

function failed(release: string, isLast = false): Judgement {
  return { release, outcome: 'failed', isLast, at: 1, why: 'it ended' }
}

function complete(release: string): Judgement {
  return { release, outcome: 'complete', isLast: false, at: 1, why: '' }
}

function aVerdict(host: string, ...judged: Judgement[]): Verdict {
  return { app: 'shop', host, judged } as unknown as Verdict
}

t.test('a release with a command before runs once that has ended well somewhere', async (t) => {
  const withBefore = { ...app, before: true } as AppStatement
  t.match(outcomeOf(withBefore, []), { current: { version: '2.0.0' }, isPreparing: true })
  const prepared = [aVerdict('one', { ...complete(R3), outcome: 'prepared', isPrepared: true })]
  t.match(outcomeOf(withBefore, prepared), { current: { version: '3.0.0' }, isPreparing: false })
  const later = [aVerdict('one', { ...failed(R3), isPrepared: true })]
  t.match(outcomeOf(withBefore, later), { current: { version: '3.0.0' }, isPreparing: false })
  const unprepared = [aVerdict('one', { ...failed(R3), outcome: 'unprepared' })]
  t.match(outcomeOf(withBefore, unprepared), {
    current: { version: '2.0.0' },
    wanted: { hasFailed: true, failures: [{ host: 'one' }] },
    isPreparing: false
  })
  const first = { ...withBefore, kept: [] }
  t.match(outcomeOf(first, []), { mayRun: false, isPreparing: true })
  t.match(outcomeOf(first, unprepared), { mayRun: false, isPreparing: false })
})
