import { once } from 'node:events'
import t from 'tap'
import type { Signal } from '../../lib/core/abort.js'
import { SeaportError } from '../../lib/core/errors.js'
import { OVERTAKEN, Race, type RaceOptions } from '../../lib/core/race.js'

const FOR_EVER_MS = 60_000
const failure = SeaportError.LINK_LOST('no')

t.test('candidates are tried in turn, the next when one has failed', async (t) => {
  const { race, tried, failed } = raceOf(['a', 'b', 'c'], async (name) => {
    if (name === 'a') throw failure
    return name
  })
  t.equal(await race.run(), 'b')
  t.same(tried, ['a', 'b'])
  t.same(failed, ['a'])
})

t.test('one that leaves us waiting is raced with the next, and ended when that wins', async (t) => {
  const reasons: unknown[] = []
  const { race, tried, failed } = raceOf(
    ['slow', 'quick'],
    (name, signal) => (name === 'quick' ? Promise.resolve(name) : endedBy(signal, reasons)),
    { stagger: 1 }
  )
  t.equal(await race.run(), 'quick')
  t.same(tried, ['slow', 'quick'])
  t.same(reasons, [OVERTAKEN])
  t.same(failed, [], 'which is no failure')
})

t.test('when all have failed there is no winner, and with no candidates neither', async (t) => {
  const { race, failed } = raceOf(['a', 'b'], () => Promise.reject(failure))
  t.equal(await race.run(), null)
  t.same(failed, ['a', 'b'])
  t.equal(await raceOf([], () => Promise.reject(failure)).race.run(), null)
})

t.test('what succeeds too late is given back', async (t) => {
  const late: string[] = []
  let finish = (_name: string) => {}
  const { race } = raceOf(
    ['slow', 'quick'],
    (name) =>
      name === 'quick'
        ? Promise.resolve(name)
        : new Promise((resolve) => {
            finish = resolve
          }),
    { stagger: 1, onlate: (name) => late.push(name) }
  )
  t.equal(await race.run(), 'quick')
  finish('slow')
  await new Promise(setImmediate)
  t.same(late, ['slow'])
})

t.test('no further attempt begins when the time is over, but the first always does', async (t) => {
  const { race, tried } = raceOf(['a', 'b'], () => Promise.reject(failure), { timeout: -1 })
  t.equal(await race.run(), null)
  t.same(tried, ['a'])
})

t.test('whoever gives up ends the race and its attempts', async (t) => {
  const reasons: unknown[] = []
  const stop = new AbortController()
  const { race } = raceOf(['a'], (_, signal) => endedBy(signal, reasons), { signal: stop.signal })
  const ran = race.run()
  const aborted = once(stop.signal, 'abort')
  stop.abort(new Error('enough'))
  await aborted
  await t.rejects(ran, { message: 'enough' })
  t.match(reasons, [{ message: 'enough' }])
  await t.rejects(raceOf(['a'], async () => 'a', { signal: stop.signal }).race.run(), {
    message: 'enough'
  })
})

/** Never succeeds; notes why it was ended. */
function endedBy(signal: Signal, reasons: unknown[]): Promise<string> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reasons.push(signal.reason)
      reject(signal.reason)
    })
  })
}

function raceOf(
  candidates: string[],
  attempt: RaceOptions<string, string>['attempt'],
  options: Partial<RaceOptions<string, string>> = {}
) {
  const [tried, failed]: [string[], string[]] = [[], []]
  const race = new Race<string, string>({
    candidates,
    attempt: (name, signal) => {
      tried.push(name)
      return attempt(name, signal)
    },
    stagger: FOR_EVER_MS,
    onfailed: (name) => failed.push(name),
    ...options
  })
  return { race, tried, failed }
}
