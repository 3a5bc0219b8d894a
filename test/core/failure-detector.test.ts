import t from 'tap'
import { FailureDetector } from '../../lib/core/failure-detector.js'

const INTERVAL_MS = 1000

/** One who beats in time. */
function listener(interval: number | null) {
  let now = 0
  const detector = new FailureDetector({ now: () => now })
  return {
    detector,
    /** Beats after so many ms. */
    beat(isHeard: boolean, after = INTERVAL_MS) {
      now += after
      return detector.beat(isHeard, interval)
    }
  }
}

for (const [who, interval] of [
  ['who pings', null],
  ['who is pinged', INTERVAL_MS]
] as const) {
  t.test(`the other side is dead for ${who} after three silent beats in a row`, async (t) => {
    const { detector, beat } = listener(interval)
    t.notOk(beat(true))
    t.notOk(detector.isDoubtful)
    t.notOk(beat(false) || beat(false))
    t.ok(detector.isDoubtful)
    t.notOk(beat(true), 'one word is enough')
    t.notOk(beat(false) || beat(false))
    t.ok(beat(false))
  })

  t.test(`a pause of ${who} cuts nobody that is heard after it`, async (t) => {
    const { beat } = listener(interval)
    beat(true)
    t.notOk(beat(false, 60_000))
    for (let i = 0; i < 5; i++) t.notOk(beat(true))
    t.notOk(beat(false) || beat(false), 'and all is as before')
  })
}

t.test('who pings waits after a pause as long as ever', async (t) => {
  const { beat } = listener(null)
  beat(true)
  t.notOk(beat(false, 60_000) || beat(false))
  t.ok(beat(false))
})

t.test(
  'who was away for so long that it was given up, and is not pinged, knows at once',
  async (t) => {
    const { beat } = listener(INTERVAL_MS)
    beat(true)
    t.notOk(beat(false, 4001))
    t.ok(beat(false))
  }
)

t.test('what waited to be read after a pause is no sign of life', async (t) => {
  const { beat } = listener(INTERVAL_MS)
  beat(true)
  t.notOk(beat(false, 60_000) || beat(true))
  t.ok(beat(false))
})

t.test('a pause after which the other side may be patient yet changes nothing', async (t) => {
  const { beat } = listener(INTERVAL_MS)
  beat(true)
  t.notOk(beat(false, 3900) || beat(false))
  t.ok(beat(false))
})

t.test('it is as patient as it is told to be', async (t) => {
  const detector = new FailureDetector({ maxSilentBeats: 2 })
  t.notOk(detector.beat(false, null))
  t.ok(detector.beat(false, null))
})
