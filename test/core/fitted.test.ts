import t from 'tap'
import { fitted } from '../../lib/core/fitted.js'

/** What is left of a text in so many bytes. */
const FITTED: [text: string, maxBytes: number, left: string][] = [
  ['abc', 3, 'abc'],
  ['abcd', 3, 'abc'],
  ['äöü', 6, 'äöü'],
  ['äöü', 5, 'äö'],
  ['äöü', 4, 'äö'],
  ['€€', 5, '€'],
  ['a🚢', 5, 'a🚢'],
  ['a🚢', 4, 'a'],
  ['a🚢', 1, 'a'],
  ['🚢', 3, ''],
  ['', 0, '']
]

t.test('a text is cut where it has no room, and only there, between two characters', async (t) => {
  for (const [text, maxBytes, left] of FITTED) {
    t.equal(fitted(text, maxBytes), left, `${text} in ${maxBytes}`)
  }
  const text = 'x'.repeat(1024)
  t.equal(fitted(text, 1024), text)
})
