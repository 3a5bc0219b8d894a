import { EventEmitter } from 'node:events'
import t from 'tap'
import { forward } from '../../lib/core/forward.js'

t.test('what one emits the other emits too, with all it was told, and nothing else', async (t) => {
  const [from, to] = [new EventEmitter(), new EventEmitter()]
  const told: unknown[] = []
  for (const event of ['notice', 'moved', 'other']) {
    to.on(event, (...args) => told.push([event, ...args]))
  }
  forward(from, to, ['notice', 'moved'])
  from.emit('notice', 'hello')
  from.emit('other', 'unheard')
  from.emit('moved', 1, 2)
  t.strictSame(told, [
    ['notice', 'hello'],
    ['moved', 1, 2]
  ])
})
