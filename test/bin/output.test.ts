import { once } from 'node:events'
import { Writable } from 'node:stream'
import t from 'tap'
import { Output } from '../../bin/output.js'

const LINE = 'x'.repeat(1024 * 1024 - 1)

t.test('lines beyond 4 MiB that nobody reads are dropped, counted, and told of', async (t) => {
  let read = () => {}
  const lines: string[] = []
  const stalled = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(`${chunk.length}`)
      read = done
    }
  })
  const told: number[] = []
  const output = new Output(stalled, (dropped) => told.push(dropped))
  for (let i = 0; i < 6; i++) output.print(LINE)
  t.equal(output.stats.dropped, 2)
  t.equal(stalled.writableLength, 4 * 1024 * 1024)
  t.same(told, [], 'as long as nobody reads, nobody is told')

  const drained = once(stalled, 'drain')
  while (lines.length < 4) {
    read()
    await new Promise(setImmediate)
  }
  read()
  await drained
  t.same(told, [2])
  output.print('again')
  t.equal(lines.length, 5)
  t.equal(output.stats.dropped, 2)
})
