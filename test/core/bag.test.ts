import t from 'tap'
import { Bag, type Place } from '../../lib/core/bag.js'
import { randomFrom } from '../random.js'

t.test('a bag holds what was added and not deleted, as a Set does', async (t) => {
  const random = randomFrom(1)
  const bag = new Bag<number>()
  const places = new Map<number, Place<number>>()
  for (let i = 0; i < 2000; i++) {
    if (random() < 0.5) places.set(i, bag.add(i))
    else {
      const [value, place] = [...places][Math.floor(random() * places.size)] ?? []
      if (value === undefined || !place) continue
      bag.delete(place)
      places.delete(value)
    }
    if (i % 50 > 0) continue
    t.equal(bag.size, places.size)
    t.strictSame(bag.values().sort(), [...places.keys()].sort())
  }
})

t.test('what is deleted from a bag twice takes nothing else with it', async (t) => {
  const bag = new Bag<string>()
  const first = bag.add('first')
  bag.add('second')
  bag.delete(first)
  bag.delete(first)
  t.strictSame(bag.values(), ['second'])
})
