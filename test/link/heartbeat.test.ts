import t, { type Test } from 'tap'
import { Heartbeat } from '../../lib/link/heartbeat.js'

t.test('a side that is heard is neither pinged nor suspected', async (t) => {
  const { heartbeat, pings, beats } = run(t)
  for (let i = 0; i < 5; i++) {
    heartbeat.heard()
    beats()
  }
  t.equal(pings(), 0)
  t.notOk(heartbeat.isSilent)
})

t.test('a side that falls silent is pinged, suspected, and after a while dead', async (t) => {
  const { heartbeat, pings, beats, isDead } = run(t)
  beats()
  t.equal(pings(), 1)
  t.ok(heartbeat.isSilent)
  heartbeat.heard()
  heartbeat.answered()
  t.notOk(heartbeat.isSilent, 'one word is enough')
  beats()
  t.equal(pings(), 1)
  beats(9)
  t.notOk(isDead())
  beats()
  t.ok(isDead())
})

t.test('nobody is pinged when nobody waits for an answer', async (t) => {
  const { heartbeat, pings, beats, setNeeded, isDead } = run(t)
  setNeeded(false)
  beats(20)
  t.equal(pings(), 0)
  t.notOk(isDead())
  setNeeded(true)
  beats(20)
  t.equal(pings(), 0, 'it does not start by itself')
  heartbeat.start()
  beats()
  t.equal(pings(), 1)
})

t.test('a side that is heard and does not answer is deaf, until it does', async (t) => {
  const { heartbeat, beats, revivals, isDead } = run(t)
  heartbeat.ask()
  t.notOk(heartbeat.isDeaf)
  for (let i = 0; i < 20; i++) {
    heartbeat.heard()
    beats()
    t.ok(heartbeat.isDeaf)
  }
  t.notOk(isDead())
  heartbeat.answered()
  t.notOk(heartbeat.isDeaf)
  t.equal(revivals(), 1)
})

t.test('who is asked within an interval has a whole one to answer', async (t) => {
  const { heartbeat, beats } = run(t)
  heartbeat.heard()
  beats()
  heartbeat.ask()
  beats()
  t.notOk(heartbeat.isDeaf)
  beats()
  t.ok(heartbeat.isDeaf)
})

t.test(
  'whom somebody gives up on is deaf before the interval is over, if it was pinged',
  async (t) => {
    const { heartbeat, beats, pings } = run(t)
    const early = heartbeat.ask()
    heartbeat.missed(early)
    t.notOk(heartbeat.isDeaf, 'only the backend may be slow')
    heartbeat.answered()
    const asked = heartbeat.ask()
    beats()
    t.equal(pings(), 1)
    heartbeat.missed(early)
    t.notOk(heartbeat.isDeaf, 'another one was answered')
    heartbeat.missed(asked)
    t.ok(heartbeat.isDeaf)
  }
)

t.test('who has nothing to say is silent at times, and not deaf', async (t) => {
  const { heartbeat, pings, beats } = run(t)
  for (let i = 0; i < 6; i++) {
    beats()
    t.notOk(heartbeat.isDeaf)
    if (pings() === 0) continue
    heartbeat.heard()
    heartbeat.answered()
  }
  t.ok(pings() > 0)
})

/** A heartbeat that beats when the test says so: ten intervals are its patience. */
function run(t: Test) {
  let pinged = 0
  let dead = false
  let revived = 0
  let needed = true
  const heartbeat = new Heartbeat({
    interval: 60_000,
    deadAfter: 600_000,
    isNeeded: () => needed,
    ping: () => pinged++,
    onrevived: () => revived++,
    ondead: () => {
      dead = true
    }
  })
  heartbeat.start()
  t.teardown(() => heartbeat.stop())
  return {
    heartbeat,
    pings: () => pinged,
    isDead: () => dead,
    revivals: () => revived,
    setNeeded: (value: boolean) => {
      needed = value
    },
    beats: (count = 1) => {
      for (let i = 0; i < count; i++) heartbeat.beat()
    }
  }
}
