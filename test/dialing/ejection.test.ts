import t from 'tap'
import { Ejection } from '../../lib/dialing/ejection.js'
import { Load } from '../../lib/dialing/load.js'

t.test('failures in a row eject, and a success in between does not let them add up', async (t) => {
  const { ejection, fail } = make()
  fail()
  fail()
  ejection.begin()
  ejection.succeeded()
  fail()
  fail()
  t.notOk(ejection.isEjected)
  fail()
  t.ok(ejection.isEjected)
})

t.test('it is ejected for 1 s, and twice as long each time, up to 30 s', async (t) => {
  const { clock, ejection, fail } = make()
  for (let i = 0; i < 3; i++) fail()
  const times = [1, 2, 4, 8, 16, 30, 30].map((s) => s * 1000)
  for (const time of times) {
    clock.now += time - 1
    t.ok(ejection.isEjected)
    clock.now += 1
    t.notOk(ejection.isEjected)
    fail()
    t.ok(ejection.isEjected)
  }
})

t.test('the times are not the same for all', async (t) => {
  const { clock, ejection, fail } = make({ random: () => 0 })
  for (let i = 0; i < 3; i++) fail()
  clock.now += 800
  t.notOk(ejection.isEjected)
})

t.test('one tries it when its time is over, and brings it back', async (t) => {
  const { clock, ejection, fail } = make()
  for (let i = 0; i < 3; i++) fail()
  clock.now += 1000
  ejection.begin()
  t.ok(ejection.isEjected, 'for all others')
  ejection.abandoned()
  t.notOk(ejection.isEjected, 'until somebody finishes')
  ejection.begin()
  ejection.succeeded()
  t.notOk(ejection.isEjected)
  fail()
  t.notOk(ejection.isEjected, 'and starts anew')
})

t.test('attempts that fail after it was ejected are the same trouble', async (t) => {
  const { clock, ejection, fail } = make()
  for (let i = 0; i < 20; i++) fail()
  clock.now += 1000
  t.notOk(ejection.isEjected)
})

t.test('a latency counts at once if it is worse, and fades', async (t) => {
  const clock = { now: 0 }
  const load = new Load({ now: () => clock.now })
  t.equal(load.latency, null)
  load.measured(10)
  load.measured(100)
  t.equal(load.latency, 100)
  clock.now = 60_000
  t.ok((load.latency ?? 1) < 0.01)
  load.measured(10)
  t.equal(Math.round(load.latency ?? 0), 10)
  for (let i = 0; i < 100; i++) {
    clock.now += 100
    load.measured(5)
  }
  t.ok((load.latency ?? 0) < 6)
})

function make({ random = () => 0.5 }: { random?: () => number } = {}) {
  const clock = { now: 0 }
  const ejection = new Ejection({ now: () => clock.now, random })
  const fail = () => {
    ejection.begin()
    ejection.failed()
  }
  return { clock, ejection, fail }
}
