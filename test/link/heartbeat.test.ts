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

/** A heartbeat that beats when the test says so: ten intervals are its patience. */
function run(t: Test) {
  let pinged = 0
  let dead = false
  let needed = true
  const heartbeat = new Heartbeat({
    interval: 60_000,
    deadAfter: 600_000,
    isNeeded: () => needed,
    ping: () => pinged++,
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
    setNeeded: (value: boolean) => {
      needed = value
    },
    beats: (count = 1) => {
      for (let i = 0; i < count; i++) heartbeat.beat()
    }
  }
}
