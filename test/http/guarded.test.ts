import { EventEmitter } from 'node:events'
import t from 'tap'
import { guarded } from '../../lib/http/guarded.js'

t.test('what a handler throws is told to its exchange, and whoever emits goes on', (t) => {
  const told: string[] = []
  const emitter = new EventEmitter()
  const handler = (text: string) => {
    if (text === 'bad') throw new Error(text)
    told.push(text)
  }
  emitter.on(
    'data',
    guarded(handler, ({ message }) => told.push(`failed: ${message}`))
  )
  for (const text of ['good', 'bad', 'good']) emitter.emit('data', text)
  t.strictSame(told, ['good', 'failed: bad', 'good'])
  t.end()
})
